"""What a proxy says of who is behind it: believed from a trusted one, and no more of it than is right."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from OpenSSL.crypto import FILETYPE_PEM, load_certificate

from tests.support.cases import each
from tests.support.tls import NOW, write_pem
from tests.support.web import OPERATORS, ORIGIN, WebWorld
from vmproxy.base.addresses import parse_networks
from vmproxy.web.answer import Answer, Empty
from vmproxy.web.call import Call
from vmproxy.web.proxy import Behind, behind
from vmproxy.web.route import Route
from vmproxy.web.table import ROUTES

PROXY, INNER = "10.9.0.1", "10.9.0.2"
TRUSTED = parse_networks("10.9.0.0/24")
HEADER = "x-remote-user"
WHOAMI = "/api/v1/whoami"


@each(
    ("headers", "expected"),
    [
        ([], (PROXY, "")),
        ([("X-Forwarded-For", "192.0.2.7")], ("192.0.2.7", "")),
        ([("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "https")], ("192.0.2.7", "https")),
        # What the client has said stands left of what the proxy has seen.
        ([("X-Forwarded-For", "198.51.100.1, 192.0.2.7")], ("192.0.2.7", "")),
        ([("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-For", "192.0.2.7")], ("192.0.2.7", "")),
        ([("X-Forwarded-For", f"198.51.100.1, 192.0.2.7, {INNER}")], ("192.0.2.7", "")),
        ([("X-Forwarded-For", f"{INNER}, {INNER}")], (INNER, "")),
        ([("X-Forwarded-For", f"192.0.2.7, unknown, {INNER}")], ("unknown", "")),
        ([("X-Forwarded-For", "192.0.2.7:4711")], ("192.0.2.7", "")),
        ([("X-Forwarded-For", "[2001:db8::7]:4711")], ("2001:db8::7", "")),
        ([("X-Forwarded-For", "2001:db8::7")], ("2001:db8::7", "")),
        ([("X-Forwarded-For", "<script>")], ("unknown", "")),
        ([("X-Forwarded-Proto", "https")], (PROXY, "https")),
        ([("X-Forwarded-For", ", ".join(["198.51.100.1"] * 500 + ["192.0.2.7"]))], ("192.0.2.7", "")),
        ([("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "https, http")], ("192.0.2.7", "")),
        ([("X-Forwarded-For", f"192.0.2.7, {INNER}"), ("X-Forwarded-Proto", "https, http")], ("192.0.2.7", "https")),
        ([("Forwarded", "for=192.0.2.7;proto=https;by=203.0.113.43")], ("192.0.2.7", "https")),
        ([("Forwarded", 'For="[2001:db8::7]:4711"; Proto="https"')], ("2001:db8::7", "https")),
        ([("Forwarded", "for=198.51.100.1;proto=https, for=192.0.2.7")], ("192.0.2.7", "")),
        ([("Forwarded", 'for="a,b;for=1.2.3.4", for=192.0.2.7')], ("192.0.2.7", "")),
        ([("Forwarded", "for=_hidden")], ("unknown", "")),
        ([("Forwarded", 'for=;x=", for=192.0.2.7')], ("unknown", "")),
        ([("Forwarded", 'for=192.0.2.7;by="a, for=198.51.100.1')], ("192.0.2.7", "")),
        ([("Forwarded", "for=192.0.2.7"), ("X-Forwarded-Proto", "http")], ("192.0.2.7", "")),
        ([("Forwarded", "for=192.0.2.7;proto=https"), ("X-Forwarded-For", "192.0.2.7")], ("192.0.2.7", "https")),
        # One of them is the client's own, and nobody knows which.
        ([("Forwarded", "for=198.51.100.1"), ("X-Forwarded-For", "192.0.2.7")], ("unknown", "")),
        ([("Forwarded", "for=_hidden"), ("X-Forwarded-For", "192.0.2.7")], ("unknown", "")),
        ([("X-Forwarded-For", "192.0.2.7%<script>")], ("192.0.2.7", "")),
    ],
)
def test_the_first_address_that_is_no_proxys_is_the_clients(
    headers: list[tuple[str, str]], expected: tuple[str, str]
) -> None:
    def values(name: str) -> list[str]:
        return [value for one, value in headers if one.lower() == name]

    address, protocol = expected
    assert behind(values, PROXY, False, TRUSTED, None) == Behind(address, protocol == "https")


@pytest.mark.parametrize("text", ['"' + '\\"' * 7900, "for=x" + " " * 15_000 + "x", "a" * 15_900, 'a="b;' * 3000])
def test_what_a_client_writes_there_is_read_in_time(text: str) -> None:
    before = time.process_time()
    behind(lambda name: [text] if name in ("forwarded", "x-forwarded-for") else [], PROXY, False, TRUSTED, None)
    assert time.process_time() - before < 1  # where each character is looked at again and again, several


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[WebWorld]:
    world = WebWorld(tmp_path, trusted_proxies=TRUSTED, proxy_user_header=HEADER)
    yield world
    world.stop()


def said(world: WebWorld, peer: str, *headers: tuple[str, str]) -> tuple[int, object]:
    got = world.client(peer).ask("GET", WHOAMI, headers=headers)
    return got.status, got.json.get("operator")


def test_a_trusted_proxy_names_the_operator_and_their_address(proxied: WebWorld) -> None:
    headers = (("X-Remote-User", "alice"), ("X-Forwarded-For", "192.0.2.7"))
    for _ in range(3):
        assert said(proxied, PROXY, *headers) == (200, "alice")
    (event,) = proxied.audited("login")
    assert (event["who"], event["from"], event["method"]) == ("alice", "192.0.2.7", "proxy")
    assert said(proxied, PROXY, ("X-Remote-User", "mallory"))[0] == 401
    assert said(proxied, PROXY, ("X-Remote-User", "alice"), ("X-Remote-User", "bob"))[0] == 401
    assert said(proxied, PROXY, ("X-Remote-User", "a" * 100))[0] == 401
    assert said(proxied, PROXY)[0] == 401
    (failed,) = proxied.audited("login-failed")
    assert failed["user"] == "mallory"
    proxied.use_operators(f"{OPERATORS}\n[operators.mallory]\n")
    assert said(proxied, PROXY, ("X-Remote-User", "mallory"))[0] == 200
    assert [event["who"] for event in proxied.audited("login")] == ["alice", "mallory"]


def test_who_comes_to_the_proxy_over_tls_is_told_to_stay_there(proxied: WebWorld) -> None:
    for peer, protocol, told in ((PROXY, "https", True), (PROXY, "http", False), ("192.0.2.7", "https", False)):
        got = proxied.client(peer).ask("GET", "/healthz", headers=[("X-Forwarded-Proto", protocol)])
        assert ("strict-transport-security" in got.headers) == told


def test_nobody_else_does(proxied: WebWorld, logged: list[str]) -> None:
    assert said(proxied, "192.0.2.7", ("X-Remote-User", "alice"), ("X-Forwarded-For", PROXY))[0] == 401
    assert any("is no trusted proxy" in line for line in logged)
    assert not proxied.audited("login")


def test_who_is_named_by_a_proxy_is_protected_from_other_sites(tmp_path: Path) -> None:
    async def change(call: Call) -> Answer:
        return Empty()

    routes = (*ROUTES, Route("POST", "/api/v1/change", change, "", scope="write"))
    world = WebWorld(tmp_path, routes, trusted_proxies=TRUSTED, proxy_user_header=HEADER)
    for origin, status in (("https://evil.example", 403), (ORIGIN, 204)):
        headers = [("X-Remote-User", "alice"), ("Origin", origin), ("Content-Length", "0")]
        assert world.client(PROXY).ask("POST", "/api/v1/change", headers=headers).status == status
    world.stop()


def test_a_certificate_is_whose_the_operators_file_says(web: WebWorld) -> None:
    web.use_operators(f"{OPERATORS}\n[operators.carol]\ncertificate-names = ['carol@example.com', 'CN=Carol']\n")
    operators = web.accounts.load().operators
    for names, owner in (
        (("CN=Somebody", "carol@example.com"), "carol"),
        (("CN=Carol",), "carol"),
        (("CN=carol",), None),
        (("carol",), None),
        (("alice",), None),
        ((), None),
    ):
        found = operators.of_certificate(names)
        assert (found and found.name) == owner


def test_a_certificate_counts_until_it_expires_or_authorities_may_be_others(
    web: WebWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.use_operators(f"{OPERATORS}\n[operators.carol]\ncertificate-names = ['carol.example.com']\n")
    pem = write_pem(tmp_path / "carol.pem", "carol.example.com", days=1)
    clients = [web.client(secure=True) for _ in range(2)]
    for client in clients:
        client.pipe.certificate = load_certificate(FILETYPE_PEM, pem.read_bytes())
        assert client.ask("GET", WHOAMI).json["operator"] == "carol"
    monkeypatch.setattr(web.front, "wall", lambda: (NOW + timedelta(days=2)).timestamp())
    assert clients[0].ask("GET", WHOAMI).status == 401
    other = web.client(secure=True)
    web.front.reconfigure(web.web.settings)
    assert [one.pipe.closed for one in (*clients, other)] == [True, True, False]
