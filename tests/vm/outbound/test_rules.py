"""Where VMs may be connected to: rules as they are written, and what they allow."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.vm.outbound.rules import DialRules
from vmproxy.vm.outbound.rules_file import parse_dial
from vmproxy.wire.dialuri import parse


def rules(*tables: dict[str, object]) -> DialRules:
    found, problems = parse_dial(list(tables))
    assert problems == []
    return found


def to(*destinations: str, ports: object = "*") -> DialRules:
    return rules({"to": list(destinations), "ports": ports})


def allows(found: DialRules, uri: str, address: str = "", own: bool = False) -> bool:
    destination = parse(uri)
    return found.judge(destination, ipaddress.ip_address(address or destination.host), own) is not None


def test_without_rules_nothing_is_allowed() -> None:
    assert parse_dial(None) == (DialRules(), [])
    assert not allows(DialRules(), "tcp://10.1.2.3:4000")
    assert not DialRules().could(parse("tcp://far.example.com:4000"))


@each(
    ("rule", "uri", "address", "allowed"),
    [
        ("10.0.0.0/8", "tcp://10.1.2.3:1", "", True),
        ("10.0.0.0/8", "tcp://11.1.2.3:1", "", False),
        ("10.0.0.0/8", "tcp://far:1", "10.1.2.3", True),
        ("10.0.0.0/8", "tcp://far:1", "192.0.2.1", False),
        ("10.1.2.3", "tcp://10.1.2.3:1", "", True),
        ("10.1.2.3", "tcp://10.1.2.4:1", "", False),
        ("10.0.0.0/8", "tcp://[::ffff:10.1.2.3]:1", "", True),
        ("2001:db8::/32", "tcp://[2001:db8::1]:1", "", True),
        ("[2001:db8::1]", "tcp://[2001:db8::1]:1", "", True),
        ("2001:db8::/32", "tcp://[2001:db9::1]:1", "", False),
        ("far.example.com", "tcp://far.example.com:1", "192.0.2.1", True),
        ("FAR.example.com.", "tcp://Far.Example.com.:1", "192.0.2.1", True),
        ("far.example.com", "tcp://other.example.com:1", "192.0.2.1", False),
        ("far.example.com", "tcp://far.example.com.evil.org:1", "192.0.2.1", False),
        ("*.example.com", "tcp://a.b.example.com:1", "192.0.2.1", True),
        ("*.example.com", "tcp://example.com:1", "192.0.2.1", False),
        ("log?.example.com", "tcp://log1.example.com:1", "192.0.2.1", True),
        ("*.example.com", "tcp://192.0.2.1:1", "", False),  # a pattern of names allows no bare address
        ("*", "tcp://192.0.2.1:1", "", True),
        ("*", "tcp://anything:1", "192.0.2.1", True),
    ],
)
def test_hosts_and_networks(rule: str, uri: str, address: str, allowed: bool) -> None:
    assert allows(to(rule), uri, address) is allowed


GENERAL = ["*", "0.0.0.0/0", "::/0", "loca*", "localhost", "128.0.0.0/1"]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.9.10", "169.254.169.254", "::1", "fe80::1", "::ffff:127.0.0.1", "::ffff:169.254.1.1"],
)
def test_loopback_and_the_own_cable_are_never_meant_by_a_general_rule(address: str) -> None:
    written = f"[{address}]" if ":" in address else address
    for rule in (to(*GENERAL), to("0.0.0.0/1"), to("126.0.0.0/7"), to("168.0.0.0/6"), to("fe00::/8")):
        assert not allows(rule, f"tcp://{written}:1")
        assert not allows(rule, "tcp://localhost:1", address)


@pytest.mark.parametrize(
    ("rule", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.0/8", "127.9.9.9"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("::1", "::1"),
        ("fe80::/64", "fe80::1"),
        ("169.254.10.0/24", "169.254.10.1"),
    ],
)
def test_they_can_be_named(rule: str, address: str) -> None:
    assert allows(to(rule), "tcp://localhost:1", address, own=True)
    assert allows(to("*", rule), "tcp://localhost:1", address)
    assert not allows(to(rule), "tcp://localhost:1", "10.1.2.3")


@pytest.mark.parametrize("address", ["0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "255.255.255.255", "ff02::1"])
def test_some_addresses_are_none_that_one_can_connect_to(address: str) -> None:
    prefix = 128 if ":" in address else 32
    assert not allows(to("*", "0.0.0.0/0", "::/0", f"{address}/{prefix}"), "tcp://far:1", address)


def test_this_machine_is_not_meant_by_a_general_rule_under_any_of_its_addresses() -> None:
    assert not allows(to("*", "192.0.2.0/24", "far.example.com"), "tcp://192.0.2.10:13370", own=True)
    assert not allows(to("far.example.com"), "tcp://far.example.com:1", "192.0.2.10", own=True)
    assert allows(to("192.0.2.10"), "tcp://192.0.2.10:1", own=True)
    assert allows(to("192.0.2.0/24"), "tcp://192.0.2.10:1")


@each(
    ("ports", "port", "allowed"),
    [
        (4000, 4000, True),
        ([4000], 4001, False),
        (["4000"], 4000, True),
        (["4000-4010"], 4000, True),
        (["4000-4010"], 4010, True),
        (["4000-4010"], 4011, False),
        ([23, "4000-4010"], 23, True),
        ("*", 65535, True),
    ],
)
def test_ports(ports: object, port: int, allowed: bool) -> None:
    found = to("10.0.0.0/8", "far", ports=ports)
    assert allows(found, f"tcp://10.1.2.3:{port}") is allowed
    assert found.could(parse(f"tcp://far:{port}")) is allowed
    assert found.could(parse(f"tcp://10.1.2.3:{port}")) is allowed


def test_the_first_rule_that_allows_it_counts() -> None:
    found = rules(
        {"to": "10.1.0.0/16", "ports": 1, "verify": False},
        {"to": "10.0.0.0/8", "ports": "*"},
        {"to": "*", "ports": "*", "verify": False},
    )
    judged = [
        found.judge(parse(f"ssl://{host}"), ipaddress.ip_address(host[:-2])) for host in ("10.1.1.1:1", "10.1.1.1:2")
    ]
    assert [rule.number for rule in judged if rule] == [1, 2]
    assert [rule.verify for rule in judged if rule] == [False, True]


def test_names_that_no_rule_could_be_about_are_not_even_looked_up() -> None:
    assert not to("*.example.com").could(parse("tcp://far.evil.org:1"))
    assert to("10.0.0.0/8").could(parse("tcp://far.evil.org:1"))  # it may be there
    assert not to("10.0.0.0/8").could(parse("tcp://11.1.1.1:1"))


def test_of_several_addresses_those_that_are_allowed_remain() -> None:
    found = to("10.0.0.0/8", "2001:db8::/32")
    addresses = [
        ipaddress.ip_address(a) for a in ("127.0.0.1", "10.1.1.1", "2001:db8::1", "::ffff:10.1.1.1", "11.1.1.1")
    ]

    def of(scheme: str) -> list[str]:
        return [str(address) for address, _ in found.allowed(parse(f"{scheme}://far:1"), addresses, ours.__contains__)]

    ours: set[object] = set()
    assert of("tcp") == ["10.1.1.1", "2001:db8::1"]
    assert of("tcp4") == ["10.1.1.1"]
    assert of("tcp6") == ["2001:db8::1"]
    ours.add(addresses[1])
    assert of("tcp") == ["2001:db8::1"]


@each(
    ("table", "problem"),
    [
        ({"ports": 1}, "to: is missing"),
        ({"to": [], "ports": 1}, "to: is empty"),
        ({"to": "far"}, "ports: is missing"),
        ({"to": "far", "ports": []}, "ports: is empty"),
        ({"to": 1, "ports": 1}, "to: 1 is neither"),
        ({"to": "", "ports": 1}, "to: '' is neither"),
        ({"to": "10.1.2.3/8", "ports": 1}, "has host bits set"),
        ({"to": "10.0.0.0/33", "ports": 1}, "is not a network"),
        ({"to": "10.*", "ports": 1}, "write a network"),
        ({"to": "10.1.2.256", "ports": 1}, "write a network"),
        ({"to": "fe80::1%eth0", "ports": 1}, "zone|no network"),
        ({"to": "far:80", "ports": 1}, "is not a network"),
        ({"to": "tcp://far", "ports": 1}, "is not a network"),
        ({"to": "f[ae]r", "ports": 1}, "is neither a name"),
        ({"to": "far away", "ports": 1}, "is neither a name"),
        ({"to": "far", "ports": 0}, "ports: '0' is neither"),
        ({"to": "far", "ports": 65536}, "is neither a port"),
        ({"to": "far", "ports": True}, "is neither a port"),
        ({"to": "far", "ports": "10-5"}, "is neither a port"),
        ({"to": "far", "ports": "1-2-3"}, "is neither a port"),
        ({"to": "far", "ports": "http"}, "is neither a port"),
        ({"to": "far", "ports": 1, "verify": "no"}, "verify: 'no' is neither true nor false"),
        ({"to": "far", "ports": 1, "ca": "/nowhere/at/all.pem"}, "cannot be read .No such file"),
        ({"to": "far", "ports": 1, "ca": ""}, "is not the path of a file"),
        ({"to": "far", "ports": 1, "port": 1}, "port: there is no such setting; did you mean ports"),
        ({"to": ["x"] * 257, "ports": 1}, "at most 256"),
    ],
)
def test_what_is_wrong_is_told(table: dict[str, object], problem: str) -> None:
    _, problems = parse_dial([{"to": "ok", "ports": 1}, table])
    assert len(problems) == 1
    with pytest.raises(AssertionError, match=problem):
        raise AssertionError(str(problems[0]))
    assert str(problems[0]).startswith("dial 2: ")


def test_authorities_mean_nothing_where_nothing_is_verified() -> None:
    _, problems = parse_dial([{"to": "far", "ports": 1, "verify": False, "ca": "/nowhere/at/all.pem"}])
    assert "dial 1: ca: means nothing where verify is false" in map(str, problems)


def test_a_table_that_is_none_is_told() -> None:
    for wrong in ({"to": "far"}, "far", [1]):
        found, (problem,) = parse_dial(wrong)
        assert (found, str(problem)) == (DialRules(), "dial: write [[dial]], in double brackets, for each")


def test_a_file_without_certificates_is_told(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    _, (problem,) = parse_dial([{"to": "far", "ports": 1, "ca": str(file)}])
    assert "holds no certificates in PEM" in problem.text


@given(st.ip_addresses())
def test_a_general_rule_never_means_what_is_near(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    near = mapped or address
    allowed = to(*GENERAL).judge(parse("tcp://localhost:1"), address) is not None
    if near.is_loopback or near.is_link_local or near.is_multicast or near.is_unspecified:
        assert not allowed
    elif near.is_global:
        assert allowed
