"""``[web]``: what may be written, and what goes with what."""

from __future__ import annotations

import pytest

from tests.support.cases import each
from vmproxy.config.settings import parse_config


def problems(text: str) -> list[str]:
    return parse_config(f"[web]\n{text}\n".encode(), "f", {}).problems


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp:8080:interface=127.0.0.1",
        "tcp:port=8080:interface=127.0.0.1",
        r"tcp6:8080:interface=\:\:1",
        "tcp:8080:interface=localhost",
        "unix:/run/vmproxy/web.sock:mode=660",
        "haproxy:tcp:8080:interface=127.0.0.1",
    ],
)
def test_in_clear_it_listens_where_only_this_machine_comes(endpoint: str) -> None:
    assert problems(f"listen = ['{endpoint}']") == []


@pytest.mark.parametrize(
    "endpoint", ["tcp:8080", "tcp:8080:interface=10.1.2.3", r"tcp6:8080:interface=\:\:", "haproxy:tcp:80"]
)
def test_in_clear_elsewhere_it_needs_a_proxy_that_is_trusted(endpoint: str) -> None:
    (problem,) = problems(f"listen = ['{endpoint}']")
    assert "web.listen" in problem
    assert "in clear" in problem
    assert problems(f"listen = ['{endpoint}']\ntrusted-proxies = ['10.1.0.0/16']") == []


@each(
    ("text", "key"),
    [
        ('tls-listen = ["tcp:8443"]', "tls-listen"),
        ('listen = ["ssl:8443"]', "listen"),
        ('public-url = "consoles.example.org"', "public-url"),
        ('public-url = "https://consoles.example.org/path"', "public-url"),
        ('public-url = "https://user@consoles.example.org"', "public-url"),
        ('public-url = "https://x:99999"', "public-url"),
        ('public-url = "https://[x"', "public-url"),
        ('proxy-user-header = "X-Remote-User"', "proxy-user-header"),
        ('proxy-user-header = "X Remote"', "proxy-user-header"),
        ("session-longest = 0", "session-longest"),
        ('session-idle = "soon"', "session-idle"),
        ("connections = 0", "connections"),
        ('metrics-from = ["10.1.0.1/16"]', "metrics-from"),
        ('colour = "red"', "colour"),
    ],
)
def test_what_makes_no_sense_is_a_problem(text: str, key: str) -> None:
    (problem,) = problems(text)
    assert f"web.{key}" in problem


def test_it_is_off_unless_configured() -> None:
    assert not parse_config(b"", "f", {}).config.web.on
    config = parse_config(b"[web]\npublic-url = 'https://Consoles.example.org/'\nmetrics-listen='tcp:9100'", "f", {})
    assert (config.problems, config.config.web.on) == ([], True)
    assert config.config.web.public_url == "https://consoles.example.org"


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("https://Consoles.example.org/", "https://consoles.example.org"),
        ("https://x:443", "https://x"),
        ("https://[2001:db8::443]", "https://[2001:db8::443]"),
        ("http://x:80", "http://x"),
        ("https://x:80", "https://x:80"),
    ],
)
def test_the_public_address_is_what_browsers_say(written: str, address: str) -> None:
    found = parse_config(f'[web]\npublic-url = "{written}"\n'.encode(), "f", {})
    assert (found.problems, found.config.web.public_url) == ([], address)
