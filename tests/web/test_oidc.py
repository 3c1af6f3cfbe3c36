"""What a provider must show before it is believed; and what becomes of one that lies, or does not answer."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey

from tests.support.cases import each
from vmproxy.base.schema import read
from vmproxy.errors import ConfigError
from vmproxy.web import oidc
from vmproxy.web.oidc import Challenge, NotProven, Provider, ProviderError, usable
from vmproxy.web.settings import OIDCSettings

ISSUER = "https://login.example.com"
BACK = "https://consoles.example.com/login/oidc/done"
KEY = ECKey.generate_key("P-256", parameters={"kid": "one", "alg": "ES256", "use": "sig"})
OTHER = ECKey.generate_key("P-256", parameters={"kid": "two", "alg": "ES256", "use": "sig"})
SETTINGS = OIDCSettings(ISSUER, "vmproxy", scopes=("openid", "profile"))


class Fake(Provider):
    """A provider whose answers are made here."""

    def __init__(self, **document: object) -> None:
        super().__init__(SETTINGS, "s3cret", ssl.create_default_context())
        self.document: dict[str, object] = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/auth",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
            **document,
        }
        self.keys = [KEY]
        self.token = ""
        self.asked: list[tuple[str, Any, Any]] = []

    def _ask(self, address: str, data: Any = None, headers: Any = None) -> dict[str, Any]:
        self.asked.append((address, data, headers))
        if address.endswith("/.well-known/openid-configuration"):
            return self.document
        if address == f"{ISSUER}/keys":
            return dict(KeySet(list(self.keys)).as_dict())
        return {"id_token": self.token, "access_token": "x"}


def signed(challenge: Challenge, key: Any = KEY, header: dict[str, Any] | None = None, **claims: Any) -> str:
    now = int(time.time())
    good = {"iss": ISSUER, "aud": "vmproxy", "iat": now, "exp": now + 300, "nonce": challenge.nonce}
    good |= {"preferred_username": "alice", **claims}
    header = header or {"alg": "ES256", "kid": key.kid}
    return jwt.encode(header, {name: value for name, value in good.items() if value is not None}, key, [header["alg"]])


def test_the_browser_is_sent_with_what_ties_the_answer_to_this_login() -> None:
    provider, challenge = Fake(authorization_endpoint=f"{ISSUER}/auth?tenant=7"), Challenge.make()
    address = urlsplit(provider.login_address(challenge, BACK))
    said = {name: value for name, (value,) in parse_qs(address.query).items()}
    assert address.geturl().startswith(f"{ISSUER}/auth?tenant=7&")
    assert said == {
        "tenant": "7",
        "response_type": "code",
        "client_id": "vmproxy",
        "redirect_uri": BACK,
        "scope": "openid profile",
        "state": challenge.state,
        "nonce": challenge.nonce,
        "code_challenge": challenge.code_challenge,
        "code_challenge_method": "S256",
    }
    assert challenge.verifier not in address.geturl()
    # RFC 7636, appendix B.
    known = Challenge("", "", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert known.code_challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_a_token_that_is_right_names_the_operator() -> None:
    provider, challenge = Fake(), Challenge.make()
    for token in (
        signed(challenge),
        signed(challenge, aud=["vmproxy"]),
        signed(challenge, aud=["vmproxy", "other"], azp="vmproxy"),
    ):
        provider.token = token
        assert provider.who("the code", challenge, BACK) == "alice"
    _, data, headers = next(one for one in provider.asked if one[0] == f"{ISSUER}/token")
    assert {name: value for name, (value,) in parse_qs(data.decode()).items()} == {
        "grant_type": "authorization_code",
        "code": "the code",
        "redirect_uri": BACK,
        "code_verifier": challenge.verifier,
        "client_id": "vmproxy",
    }
    assert headers["Authorization"].startswith("Basic ")
    assert [address for address, _, _ in provider.asked].count(f"{ISSUER}/keys") == 1


FALSE: dict[str, Callable[[Challenge], str]] = {
    "another key": lambda it: signed(it, OTHER),
    "another key of the same name": lambda it: signed(
        it, ECKey.generate_key("P-256", parameters={"kid": "one"}), {"alg": "ES256", "kid": "one"}
    ),
    "a secret that both have": lambda it: signed(it, OctKey.import_key("s3cret" * 8), {"alg": "HS256", "kid": "one"}),
    "no signature": lambda it: signed(it).rpartition(".")[0] + ".",
    "signed by none": lambda it: "eyJhbGciOiJub25lIn0." + signed(it).split(".")[1] + ".",
    "another issuer": lambda it: signed(it, iss="https://evil.example.com"),
    "no issuer": lambda it: signed(it, iss=None),
    "for another": lambda it: signed(it, aud="other"),
    "for several, not saying for whom": lambda it: signed(it, aud=["vmproxy", "other"]),
    "for another among several": lambda it: signed(it, aud=["vmproxy", "other"], azp="other"),
    "over": lambda it: signed(it, exp=int(time.time()) - 3600),
    "without an end": lambda it: signed(it, exp=None),
    "not yet": lambda it: signed(it, iat=int(time.time()) + 3600),
    "of another login": lambda it: signed(it, nonce="other"),
    "without a nonce": lambda it: signed(it, nonce=None),
    "without a name": lambda it: signed(it, preferred_username=None),
    "with a name that is none": lambda it: signed(it, preferred_username=["alice"]),
    "no token": lambda it: "x.y.z",
    "empty": lambda it: "",
}


@each("what", FALSE)
def test_a_token_that_is_not_right_lets_nobody_in(what: str) -> None:
    provider, challenge = Fake(), Challenge.make()
    provider.token = FALSE[what](challenge)
    with pytest.raises(NotProven):
        provider.who("code", challenge, BACK)


def test_other_keys_of_the_provider_are_fetched_but_not_at_every_wrong_token(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("vmproxy.web.oidc.time.monotonic", lambda: now[0])
    provider, challenge = Fake(), Challenge.make()

    def fetched() -> int:
        return [address for address, _, _ in provider.asked].count(f"{ISSUER}/keys")

    provider.token = signed(challenge)
    provider.who("code", challenge, BACK)
    provider.keys, provider.token = [OTHER], signed(challenge, OTHER)
    for _ in range(3):
        with pytest.raises(NotProven):
            provider.who("code", challenge, BACK)
    assert fetched() == 1
    now[0] += oidc.KEYS_AGAIN_SECONDS
    assert provider.who("code", challenge, BACK) == "alice"
    assert fetched() == 2


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example.com"},
        {"token_endpoint": "http://login.example.com/token"},
        {"token_endpoint": None},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "https://a@b/keys"},
    ],
)
def test_a_provider_that_leads_elsewhere_is_not_followed(document: dict[str, object]) -> None:
    provider, challenge = Fake(**document), Challenge.make()
    provider.token = signed(challenge)
    with pytest.raises(ProviderError):
        provider.who("code", challenge, BACK)


class Answers(BaseHTTPRequestHandler):
    """Answers on the network that are wrong in various ways."""

    def do_GET(self) -> None:
        status, headers, body = {
            "/moved": (302, {"Location": "/fine"}, b""),
            "/fine": (200, {}, b'{"a": 1}'),
            "/large": (200, {}, b'{"a": "' + b"x" * oidc.ANSWER_LIMIT + b'"}'),
            "/list": (200, {}, b"[]"),
            "/html": (200, {}, b"<html>"),
            "/error": (500, {}, json.dumps({"error": "no\x1b[2J"}).encode()),
        }[self.path]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Nothing."""


def test_answers_that_are_none() -> None:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever)
    thread.start()
    provider = Provider(SETTINGS, "", ssl.create_default_context())
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        assert provider._ask(f"{address}/fine") == {"a": 1}
        for path, problem in {
            "/moved": "status 302",
            "/large": "larger than",
            "/list": "no JSON object",
            "/html": "no JSON object",
            "/error": r"status 500: no\\x1b",
        }.items():
            with pytest.raises(ProviderError, match=problem):
                provider._ask(address + path)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    with pytest.raises(ProviderError, match="refused"):
        provider._ask(address)


def test_settings(tmp_path: Path) -> None:
    def problems(**table: object) -> list[str]:
        found: list[Any] = []
        read(OIDCSettings, table, found)
        return [str(one) for one in found]

    good = {"issuer": ISSUER, "client-id": "vmproxy"}
    assert problems(**good) == []
    assert problems(issuer="http://127.0.0.1:8080/realm", **{"client-id": "x"}) == []
    for issuer in ("http://login.example.com", "login", "https://a@b", "https://b?x=1", "file:///x", "https://[b"):
        assert len(problems(**{**good, "issuer": issuer})) == 1
    assert "client-id" in problems(issuer=ISSUER)[0]
    assert "openid" in problems(**good, scopes=["profile"])[0]
    assert usable(OIDCSettings()) is None
    for given in ({"ca_file": tmp_path / "none"}, {"client_secret_file": tmp_path / "none"}):
        with pytest.raises(ConfigError, match=r"web\.oidc\."):
            usable(OIDCSettings(ISSUER, "vmproxy", **given))  # type: ignore[arg-type]  # one or the other
