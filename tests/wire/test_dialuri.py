"""The URIs of direction "client": every scheme, every way of writing a host, and whatever else may come."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.wire.dialuri import URI_LIMIT, DialError, DialURI, is_dialled, parse

SCHEMES = [
    # scheme, family, TLS, Telnet
    ("tcp", 0, False, False),
    ("tcp4", 4, False, False),
    ("tcp6", 6, False, False),
    ("telnet", 0, False, True),
    ("telnets", 0, True, True),
    ("ssl", 0, True, False),
    ("tcp+ssl", 0, True, False),
    ("tcp4+ssl", 4, True, False),
    ("tcp6+ssl", 6, True, False),
]


@each(("scheme", "family", "tls", "telnet"), SCHEMES)
def test_every_scheme(scheme: str, family: int, tls: bool, telnet: bool) -> None:
    for written in (scheme, scheme.upper()):
        uri = parse(f"{written}://Far.Example.COM.:4000")
        assert uri == DialURI(scheme, "far.example.com", 4000)
        assert (uri.family, uri.tls, uri.telnet) == (family, tls, telnet)
        assert str(uri) == uri.place == f"{scheme}://far.example.com:4000"
        assert uri.address is None


@each(
    ("text", "canonical"),
    [
        ("far:4000", "tcp://far:4000"),
        ("10.1.2.3:4000", "tcp://10.1.2.3:4000"),
        ("[2001:DB8::1]:4000", "tcp://[2001:db8::1]:4000"),
        ("tcp6://[2001:0db8:0:0::1]:1", "tcp6://[2001:db8::1]:1"),
        ("tcp://[::ffff:10.1.2.3]:1", "tcp://[::ffff:a01:203]:1"),
        ("tcp://far:00080", "tcp://far:80"),
        ("tcp://far:65535/", "tcp://far:65535"),
        ("telnet://far", "telnet://far:23"),
        ("telnets://far/", "telnets://far:992"),
        ("telnet://[::1]", "telnet://[::1]:23"),
        ("ssl://far:1#verify", "ssl://far:1"),
        ("tcp://far:1?port=2", "tcp://far:1?port=2"),
        ("far:1?port=2&team=blue", "tcp://far:1?port=2&team=blue"),
        ("tcp://a_b-c.x1:1", "tcp://a_b-c.x1:1"),
        ("tcp://1.example:1", "tcp://1.example:1"),
    ],
)
def test_what_is_written_in_other_ways(text: str, canonical: str) -> None:
    assert str(parse(text)) == canonical
    assert parse(canonical) == parse(text)


@each(
    ("text", "why"),
    [
        ("", "names no host"),
        ("tcp://", "names no host"),
        ("tcp://:80", "names no host"),
        ("tcp://.:80", "names no host"),
        ("far", "names no port"),
        ("tcp://far", "names no port"),
        ("ssl://[::1]", "names no port"),
        ("tcp://far:", "a port is"),
        ("tcp://far:0", "a port is"),
        ("tcp://far:65536", "a port is"),
        ("tcp://far:-1", "a port is"),
        ("tcp://far:+1", "a port is"),
        ("tcp://far:1 ", "characters"),
        ("tcp://far:0x50", "a port is"),
        ("tcp://far:999999999999", "a port is"),
        ("tcp://far:\u0661", "characters"),
        ("http://far:80", "there is no scheme http://"),
        ("file:///etc/passwd", "there is no scheme file://"),
        ("tcp5://far:80", "there is no scheme tcp5://"),
        ("telnet+ssl://far:80", "there is no scheme"),
        ("tcp:/far:80", "no path"),
        ("tcp://root@far:80", "user or password"),
        ("tcp://root:secret@far:80", "user or password"),
        ("tcp://far:80@evil:81", "user or password"),
        ("tcp://far:80/path", "no path"),
        ("far:80/", "no path"),
        ("tcp://far:80//", "no path"),
        ("tcp://far\\@evil:80", "characters"),
        ("tcp://far:80#thumbprint=01:02", "nothing is known"),
        ("tcp://far:80?a=<script>", "query"),
        ("tcp://2001:db8::1:80", "in brackets"),
        ("tcp://[2001:db8::1:80", "in brackets"),
        ("tcp://[2001:db8::1]80", "in brackets"),
        ("tcp://[10.1.2.3]:80", "in brackets"),
        ("tcp://[far]:80", "in brackets"),
        ("tcp://[fe80::1%eth0]:80", "in brackets"),
        ("tcp://[fe80::1%25eth0]:80", "in brackets"),
        ("tcp4://[::1]:80", "another kind"),
        ("tcp6+ssl://10.1.2.3:80", "another kind"),
        ("tcp://127.1:80", "looks like an address"),
        ("tcp://2130706433:80", "looks like an address"),
        ("tcp://0x7f.0.0.1:80", "looks like an address"),
        ("tcp://0x7f000001:80", "looks like an address"),
        ("tcp://0177.0.0.1:80", "looks like an address"),
        ("tcp://1.2.3.4.5:80", "looks like an address"),
        ("tcp://10.1.2.256:80", "looks like an address"),
        ("tcp://-far:80", "neither a name"),
        ("tcp://far-:80", "neither a name"),
        ("tcp://a..b:80", "neither a name"),
        ("tcp://*.example.com:80", "neither a name"),
        ("tcp://" + "a" * 64 + ":80", "neither a name"),
        ("tcp://" + "a." * 127 + "a:80", "neither a name"),
        ("tcp://b\u00fccher.example:80", "characters"),
        ("tcp://far\n:80", "characters"),
        ("tcp://far\0.example.com:80", "characters"),
        ("tcp://\x1b[2Jfar:80", "characters"),
        ("tcp://\u202efar:80", "characters"),
        ("tcp://" + "a" * URI_LIMIT, "longer than"),
    ],
)
def test_what_nobody_can_be_connected_to(text: str, why: str) -> None:
    with pytest.raises(DialError, match=why) as caught:
        parse(text)
    said = str(caught.value)
    assert said.isascii()
    assert said.isprintable()
    assert len(said) < 1000


HOSTS = st.one_of(
    st.ip_addresses().map(lambda a: f"[{a}]" if a.version == 6 else str(a)),
    st.from_regex(r"[a-z][a-z0-9]{0,8}(\.[a-z][a-z0-9-]{0,8}[a-z])?", fullmatch=True),
)


@given(st.sampled_from(SCHEMES), HOSTS, st.integers(1, 65535), st.sampled_from(["", "?port=2", "?port=a&team=b"]))
def test_what_is_well_written_comes_out_as_it_went_in(
    scheme: tuple[str, int, bool, bool], host: str, port: int, query: str
) -> None:
    text = f"{scheme[0]}://{host}:{port}{query}"
    address = None
    if host[0] == "[" or host[0].isdecimal():
        address = ipaddress.ip_address(host.strip("[]"))
    if (address is not None and scheme[1] not in (0, address.version)) or "%" in host:
        with pytest.raises(DialError):
            parse(text)
        return
    uri = parse(text)
    assert (uri.scheme, uri.port, uri.query) == (scheme[0], port, query[1:])
    assert uri.address == address
    if address is None:
        assert uri.host == host  # of addresses Pythons have other spellings
    assert parse(str(uri)) == uri
    assert is_dialled(str(uri))


def parsed(text: str) -> tuple[DialURI | None, str]:
    try:
        return parse(text), ""
    except DialError as error:
        return None, str(error)


@given(st.one_of(st.text(), st.text("tcplnes46+:/[]@?#.%0127ax-", max_size=40)))
@example("tcp://[::]:1")
@example("::")
def test_nothing_is_too_strange(text: str) -> None:
    uri, error = parsed(text)
    if uri is None:
        assert error
        assert error.isascii()
        assert error.isprintable()
        return
    assert 1 <= uri.port <= 65535
    assert str(uri).isascii()
    assert str(uri).isprintable()
    assert " " not in str(uri)
    assert "@" not in uri.place
    assert parse(str(uri)) == uri
    # What a resolver would take for an address is one, or no host at all.
    assert uri.address is not None or not uri.host.rpartition(".")[2].isdecimal()


@pytest.mark.parametrize(
    "text", ["vmproxy", "vmproxy?to=tcp://far:1", "vSPC.py", "http://far:1", "", "far:1", "telnet://:13"]
)
def test_the_services_of_direction_server_are_no_destinations(text: str) -> None:
    assert not is_dialled(text)
