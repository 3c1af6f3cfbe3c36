"""Lists of keys with the options that sshd's manual describes, and under which conditions each key counts."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.keys import Key

from tests.support.fakes import Logged
from tests.support.ssh import authorized_line, ed25519_key, rsa_key
from vmproxy.auth.authorized_keys import (
    AuthorizedKey,
    parse_authorities,
    parse_authorized_keys,
)

ED = ed25519_key()
LINE = authorized_line(ED)
BLOB = ED.public().blob()
OTHER = authorized_line(ed25519_key(1))
OTHER_BLOB = ed25519_key(1).public().blob()
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC).timestamp()
SK_BLOB = NS(b"sk-ssh-ed25519@openssh.com") + NS(BLOB[-32:]) + NS(b"ssh:")
SK_LINE = b"sk-ssh-ed25519@openssh.com " + base64.b64encode(SK_BLOB)


def blobs(keys: list[AuthorizedKey]) -> list[bytes]:
    return [key.blob for key in keys]


def one(options: bytes, line: bytes = LINE) -> AuthorizedKey:
    """The key of a line with options."""
    (key,) = parse_authorized_keys(options + b" " + line, "f")
    return key


# Lines


def test_keys_are_read_with_or_without_a_comment(logged: Logged) -> None:
    ecdsa = Key(ec.generate_private_key(ec.SECP256R1()))
    text = b"\n".join([LINE + b" alice@laptop, two words", authorized_line(rsa_key()), authorized_line(ecdsa), SK_LINE])
    expected = [BLOB, rsa_key().public().blob(), ecdsa.public().blob(), SK_BLOB]
    assert parse_authorized_keys(text, "f") == [AuthorizedKey(blob) for blob in expected]
    assert logged == []


def test_blanks_and_line_ends_of_all_kinds() -> None:
    text = b"\t " + LINE.replace(b" ", b" \t ") + b" \r\nno-pty\t" + OTHER + b"\t\r\n"
    assert blobs(parse_authorized_keys(text, "f")) == [BLOB, OTHER_BLOB]


def test_what_windows_editors_write_is_named(logged: Logged) -> None:
    assert blobs(parse_authorized_keys(b"\xef\xbb\xbf" + LINE + b"\r\n" + OTHER, "f")) == [OTHER_BLOB]
    assert "byte order mark" in logged.pop()
    assert blobs(parse_authorized_keys(b"\xef\xbb\xbf# keys\nno-pty " + LINE, "f")) == [BLOB]
    assert "byte order mark" in logged.pop()
    for text in (LINE.decode().encode("utf-16"), b"\xfe\xff" + LINE.decode().encode("utf-16-be")):
        assert parse_authorized_keys(text, "f") == []
        assert "f: it is UTF-16; save it as UTF-8; no key in it is valid" in logged.pop()
    assert logged == []


@pytest.mark.parametrize(
    ("block", "remedy"),
    [
        (
            b'---- BEGIN SSH2 PUBLIC KEY ----\nComment: "alice: x"\nAAAA\nBBBB\n---- END SSH2 PUBLIC KEY ----',
            "ssh-keygen -i",
        ),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----", "private key"),
        (b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPublic-Lines: 1\nAAAA", "PuTTYgen"),
    ],
)
def test_a_key_in_another_format_is_warned_of_once_with_the_remedy(block: bytes, remedy: str, logged: Logged) -> None:
    assert blobs(parse_authorized_keys(LINE + b"\n" + block + b"\n" + OTHER, "f")) == [BLOB, OTHER_BLOB]
    assert len(logged) == 1
    assert remedy in logged[0]
    assert "line 2: " in logged[0]


def test_empty_lines_and_comments_are_nothing_to_warn_of(logged: Logged) -> None:
    assert parse_authorized_keys(b"\n  \n# " + LINE + b"\r\n\t# x\n\x0b\n \x0c", "f") == []
    assert logged == []


def test_a_key_may_stand_in_several_lines_each_with_its_conditions() -> None:
    keys = parse_authorized_keys(b'from="10.0.0.1" ' + LINE + b'\nfrom="10.0.0.2" ' + LINE, "f")
    assert blobs(keys) == [BLOB, BLOB]
    assert [bool(key.problem("10.0.0.2", NOW)) for key in keys] == [True, False]


MALFORMED = [
    b"garbage",
    b"ssh-ed25519",
    b"ssh-ed25519 ",
    b"ssh-ed25519 !!!!",
    b"ssh-ed25519 AAAA",
    b"ssh-ed25519 " + LINE.split()[1][:-8],
    b"ssh-ed25519 " + base64.b64encode(BLOB + b"\0"),
    b"ssh-rsa " + base64.b64encode(rsa_key().public().blob()[:-30]),  # conch takes it for a shorter key
    b"ssh-rsa " + LINE.split()[1],
    b"ssh-ed25519 \xff\xfe\xff",
    b"ssh-dss AAAAB3NzaC1kc3MAAACBAP",
    b"ssh-ed25519-cert-v01@openssh.com AAAA",
    b"\xef\xbb\xbf" + LINE,  # a byte order mark
    b"\x00" * 50,
    b"-----BEGIN OPENSSH PRIVATE KEY-----",
    b'from="10.0.0.0/8"' + LINE,  # no blank
    b'from="10.0.0.0/8 ' + LINE,  # no end
    b"from=10.0.0.0/8 " + LINE,
    b"from " + LINE,
    b'from="" ' + LINE,
    b'from="10.0.0.1/8" ' + LINE,
    b'from="10.0.0.0/33" ' + LINE,
    b'from="10.0.0.0/" ' + LINE,
    b'from="10.0.0.0/255.0.0.0" ' + LINE,
    b'from="10.0.0.1,,10.0.0.2" ' + LINE,
    b'from="10.0.0.1,!" ' + LINE,
    b'from="10.0.0.1",from="10.0.0.2" ' + LINE,
    b'from="10.0.0.1", ' + LINE,
    b',from="10.0.0.1" ' + LINE,
    b'from="10.0.0.1",,no-pty ' + LINE,
    b'from="10.0.0.1"no-pty ' + LINE,
    b'restrict="yes" ' + LINE,
    b"expiry-time " + LINE,
    b"expiry-time=20300101 " + LINE,
    b'expiry-time="" ' + LINE,
    b'expiry-time="2030" ' + LINE,
    b'expiry-time="20301301" ' + LINE,
    b'expiry-time="20300230" ' + LINE,
    b'expiry-time="203001012460" ' + LINE,
    b'expiry-time="00000101" ' + LINE,
    b'expiry-time="2030010112" ' + LINE,
    b'expiry-time="20300101+1" ' + LINE,
    b'expiry-time="never" ' + LINE,
    'expiry-time="٢٠٣٠٠١٠١" '.encode() + LINE,
    b'no-pty\xff="x" ' + LINE,
    b"no-pty",
    b'no-pty from="10.0.0.1" ' + LINE,
    b"no-pty " + LINE.split()[1],
]


@pytest.mark.parametrize("line", MALFORMED)
def test_a_malformed_line_costs_only_itself_and_is_warned_of(line: bytes, logged: Logged) -> None:
    assert blobs(parse_authorized_keys(line + b"\n" + OTHER, "the-file")) == [OTHER_BLOB]
    assert len(logged) == 1
    assert "the-file, line 1: this key " in logged[0]
    assert "; skipped" in logged[0]
    assert not logged.tracebacks


def test_the_key_of_an_authority_is_none_to_log_in_with(logged: Logged) -> None:
    text = b"cert-authority " + LINE + b'\nCert-Authority,principals="alice" ' + LINE + b"\n" + OTHER
    assert blobs(parse_authorized_keys(text, "f")) == [OTHER_BLOB]
    assert ["signs certificates" in line for line in logged] == [True, True]


# from=


@pytest.mark.parametrize(
    ("patterns", "good", "bad"),
    [
        ("10.1.2.3", ["10.1.2.3", "::ffff:10.1.2.3"], ["10.1.2.4", "10.1.2.33", "::1"]),
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["11.0.0.0", "::a00:1"]),
        ("10.0.0.0/8,192.168.1.7", ["10.1.1.1", "192.168.1.7"], ["192.168.1.8"]),
        ("10.0.0.0/8,!10.6.6.6", ["10.6.6.5"], ["10.6.6.6", "11.0.0.1"]),
        ("!10.6.6.6,10.0.0.0/8", ["10.6.6.5"], ["10.6.6.6"]),
        ("!10.6.0.0/16,*", ["10.7.0.1", "::1"], ["10.6.0.1", "::ffff:10.6.0.1"]),
        ("!::ffff:10.6.0.0/112,*", ["10.7.0.1"], ["10.6.0.1"]),
        ("!10.6.6.6", [], ["10.6.6.6", "10.6.6.7"]),
        ("192.168.?.1*", ["192.168.7.1", "192.168.7.123"], ["192.168.17.1", "192.168.7.2"]),
        ("10.*,!10.*.9", ["10.1.1.1"], ["10.1.1.9"]),
        ("*", ["10.1.2.3", "2001:db8::1"], ["somewhere", ""]),
        ("*.*", ["10.1.2.3"], ["2001:db8::1"]),
        ("2001:db8::/32", ["2001:db8::1", "2001:DB8:ffff::"], ["2001:db9::", "32.1.13.184"]),
        ("2001:DB8:*", ["2001:db8::1"], ["2001:db9::1"]),
        ("fe80::1", ["fe80::1%eth0", "fe80::1"], ["fe80::2%eth0"]),
        ("0.0.0.0/0", ["1.2.3.4"], ["::1"]),
        ("::/0", ["::1"], ["1.2.3.4"]),
    ],
)
def test_from_says_where_one_must_come_from(patterns: str, good: list[str], bad: list[str], logged: Logged) -> None:
    key = one(b'from="%b"' % patterns.encode())
    assert [address for address in good if key.problem(address, NOW)] == []
    assert [address for address in bad if not key.problem(address, NOW)] == []
    assert logged == []


@pytest.mark.parametrize("name", ["*.example.com", "host", "localhost", "cafe", "10.1"])
def test_host_names_in_from_never_match_and_are_warned_of(name: str, logged: Logged) -> None:
    key = one(b'from="%b,10.0.0.1"' % name.encode())
    assert key.problem("10.0.0.1", NOW) == ""
    for address in ("127.0.0.1", "::1", name, "10.0.0.2"):
        assert key.problem(address, NOW)
    told = f"f, line 1: from= takes addresses; host names are not looked up and never match: {name}"
    assert logged == [told]


def test_the_reason_says_the_address_and_the_list() -> None:
    assert (
        one(b'from="10.0.0.0/8"').problem("1.2.3.4", NOW) == 'the key may not be used from 1.2.3.4 (from="10.0.0.0/8")'
    )
    assert "\n" not in one(b'from="10.0.0.0/8"').problem("1.2.3.4\n", NOW)


def test_quotes_inside_of_a_value() -> None:
    # What follows an escaped quote is still inside: no option, and no key.
    assert parse_authorized_keys(b'command="echo \\" ' + LINE + b'"', "f") == []
    (key,) = parse_authorized_keys(b'command="echo \\"a b\\", \\\\ x",from="10.0.0.1" ' + LINE, "f")
    assert key.blob == BLOB
    assert key.problem("10.0.0.2", NOW)


# expiry-time=


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two hours ahead of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX-2")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("20250601", datetime(2025, 5, 31, 22, tzinfo=UTC)),
        ("202506011200", datetime(2025, 6, 1, 10, tzinfo=UTC)),
        ("20250601120030", datetime(2025, 6, 1, 10, 0, 30, tzinfo=UTC)),
        ("20250601Z", datetime(2025, 6, 1, tzinfo=UTC)),
        ("202506011200Z", datetime(2025, 6, 1, 12, tzinfo=UTC)),
        ("20250601120030z", datetime(2025, 6, 1, 12, 0, 30, tzinfo=UTC)),
        ("20240229Z", datetime(2024, 2, 29, tzinfo=UTC)),
        ("99991231Z", datetime(9999, 12, 31, tzinfo=UTC)),
    ],
)
@pytest.mark.usefixtures("elsewhere")
def test_expiry_time_is_the_last_moment_local_unless_it_ends_with_z(written: str, moment: datetime) -> None:
    key = one(b'expiry-time="%b"' % written.encode())
    assert key.expires == moment.timestamp()
    assert key.problem("10.0.0.1", moment.timestamp()) == ""
    assert key.problem("10.0.0.1", moment.timestamp() + 1) == f"the key expired at {moment:%Y-%m-%d %H:%M:%S}Z"


def test_of_two_expiry_times_the_earlier_counts() -> None:
    assert one(b'expiry-time="20300101Z",expiry-time="20290101Z"') == one(b'expiry-time="20290101Z"')
    assert one(b'expiry-time="20290101Z",expiry-time="20300101Z"') == one(b'expiry-time="20290101Z"')


def test_both_conditions_must_hold() -> None:
    key = one(b'from="10.0.0.1",expiry-time="20300101Z"')
    assert key.problem("10.0.0.1", NOW) == ""
    assert key.problem("10.0.0.2", NOW)
    assert key.problem("10.0.0.1", NOW + 9e9)


# Flags


@pytest.mark.parametrize(
    ("options", "pty", "forwarding"),
    [
        ("restrict", False, False),
        ("RESTRICT", False, False),
        ("restrict,pty", True, False),
        ("restrict,port-forwarding", False, True),
        ("pty,restrict", False, False),
        ("no-pty", False, True),
        ("no-port-forwarding", True, False),
        ("no-pty,pty", True, True),
        ("no-X11-forwarding,no-agent-forwarding,no-user-rc", True, True),
        ("X11-forwarding,agent-forwarding,user-rc", True, True),
    ],
)
def test_restrict_and_its_relatives_are_taken_in_order_and_in_silence(
    options: str, pty: bool, forwarding: bool, logged: Logged
) -> None:
    assert one(options.encode()) == AuthorizedKey(BLOB, pty=pty, forwarding=forwarding)
    assert logged == []


@pytest.mark.parametrize(
    ("options", "touch", "verify"),
    [
        ("no-touch-required", False, False),
        ("touch-required", True, False),
        ("verify-required", True, True),
        ("no-touch-required,verify-required", False, True),
        ("no-pty", True, False),
    ],
)
def test_what_a_security_key_must_have_done(options: str, touch: bool, verify: bool) -> None:
    key = one(options.encode(), SK_LINE)
    assert (key.touch_required, key.verify_required) == (touch, verify)


@pytest.mark.parametrize(
    "option",
    [
        'command="/bin/true"',
        'permitopen="web01:0"',
        'permitlisten="8080"',
        'principals="alice"',
        'environment="SECRET=x"',
        'tunnel="0"',
        "zos-key-ring-label",
        'something@example.com="ü"',
    ],
)
def test_options_that_are_not_honoured_are_warned_of_and_the_key_counts(option: str, logged: Logged) -> None:
    assert one(b"no-pty,%b" % option.encode()) == AuthorizedKey(BLOB, pty=False)
    name = option.partition("=")[0]
    assert logged == [f"f, line 1: not honoured, the key is valid without: {name}"]


def test_no_option_that_is_honoured_gets_lost_beside_one_that_is_not() -> None:
    key = one(b'command="a,b from=\\"*\\"",from="10.0.0.1",unknown')
    assert key.problem("10.0.0.1", NOW) == ""
    assert key.problem("10.0.0.2", NOW)


# Authorities


def test_authorities_are_plain_keys_or_marked_ones(logged: Logged) -> None:
    text = b"# ours\n" + LINE + b" ca\ncert-authority " + OTHER + b"\n"
    assert parse_authorities(text, "f") == {BLOB, OTHER_BLOB}
    assert logged == []


@pytest.mark.parametrize(
    "line", [b'cert-authority,principals="x" ' + LINE, b'from="10.0.0.1" ' + LINE, b"no-pty " + LINE, SK_LINE, b"x"]
)
def test_an_authority_with_conditions_or_that_cannot_be_checked_is_left_out(line: bytes, logged: Logged) -> None:
    assert parse_authorities(line + b"\n" + OTHER, "the-file") == {OTHER_BLOB}
    assert len(logged) == 1
    assert "the-file, line 1" in logged[0]


# Anything


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    parse_authorized_keys(data, "f")
    parse_authorities(data, "f")


PIECES = st.sampled_from(
    [
        *(b'from="', b'"', b"\\", b",", b"!", b"*", b"?", b"/", b"10.0.0.0/8", b"::1", b"2030", b'expiry-time="', b"Z"),
        *(b"restrict", b"no-pty", b"cert-authority", b" ", b"\t", b"\n", b"=", LINE, SK_LINE, b"\xff", b"\0", b"-"),
    ]
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PIECES, max_size=25), st.text(max_size=40))
def test_no_options_make_it_raise_and_no_address_makes_a_key_raise(pieces: list[bytes], address: str) -> None:
    for key in parse_authorized_keys(b"".join(pieces), "f"):
        assert isinstance(key.problem(address, NOW), str)
        assert bool(key.problem("10.0.0.1", NOW)) == bool(key.problem("::ffff:10.0.0.1", NOW))


@given(st.lists(st.text("0123456789abcdef:.*?!/", min_size=1, max_size=20), min_size=1, max_size=5))
def test_a_list_of_negations_alone_lets_nobody_in(items: list[str]) -> None:
    text = ",".join("!" + item.lstrip("!") for item in items)
    for key in parse_authorized_keys(b'from="%b" ' % text.encode() + LINE, "f"):
        for address in ("10.0.0.1", "::1", "192.168.255.254"):
            assert key.problem(address, NOW)
