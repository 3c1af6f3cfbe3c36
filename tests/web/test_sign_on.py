"""Single sign-on as browsers see it: to the provider and back, with nothing that another browser could use."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.web import HOST, OPERATORS, Got, WebWorld
from vmproxy.web.api.sign_on import COOKIE, PATH
from vmproxy.web.oidc import Challenge, NotProven, Provider, ProviderError
from vmproxy.web.settings import OIDCSettings
from vmproxy.web.single_sign_on import BACK_SECONDS, DONE

SETTINGS = OIDCSettings("https://login.example.com", "vmproxy", label="Example login")


class Fake(Provider):
    """A provider with one answer for each code."""

    def __init__(self) -> None:
        super().__init__(SETTINGS, "", ssl.create_default_context())
        self.names = {"code-of-alice": "alice", "code-of-carol": "carol.c", "code-of-mallory": "mallory"}
        self.error: Exception | None = None
        self.seen: list[Challenge] = []

    def login_address(self, challenge: Challenge, redirect: str) -> str:
        if self.error is not None:
            raise self.error
        return f"https://login.example.com/auth?state={challenge.state}&redirect_uri={redirect}"

    def who(self, code: str, challenge: Challenge, redirect: str) -> str:
        self.seen.append(challenge)
        if code not in self.names:
            raise NotProven("status 400: invalid_grant")
        return self.names[code]


class World(WebWorld):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.provider = Fake()
        self.web.single_sign_on.use(self.provider)

    def begin(self, to: str = "/") -> tuple[str, str]:
        """:returns: the state, and the cookie."""
        got = self.get(f"{PATH}?to={to}")
        assert got.status == 303, got
        (state,) = parse_qs(urlsplit(got.headers["location"]).query)["state"]
        (cookie,) = got.cookies
        for part in ("HttpOnly", "SameSite=Lax", f"Max-Age={BACK_SECONDS}", "Path=/"):
            assert part in cookie
        return state, cookie.partition(";")[0]

    def back(self, state: str, cookie: str, code: str = "code-of-alice", more: str = "") -> Got:
        return self.get(f"{DONE}?state={state}&code={code}{more}", headers=[("Cookie", cookie)])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.stop()


def session_of(got: Got) -> str:
    """The session that an answer begins; empty if it begins none."""
    found = [SimpleCookie(value) for value in got.cookies]
    return "".join(f"vmproxy={one['vmproxy'].value}" for one in found if "vmproxy" in one)


def test_there_and_back_begins_a_session_with_a_page_that_leads_on(world: World) -> None:
    assert world.get("/api/v1/login").json == {"single_sign_on": {"label": "Example login", "path": PATH}}
    state, cookie = world.begin("/c/web01%3F%22%3Cx")
    got = world.back(state, cookie, more="&session_state=x&iss=https%3A%2F%2Flogin.example.com")
    assert (got.status, got.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b'content="0;url=/c/web01?&quot;&lt;x"' in got.body
    assert any(value.startswith(f"{COOKIE}=;") and "Max-Age=0" in value for value in got.cookies)
    assert any("SameSite=Strict" in value for value in got.cookies)
    assert world.get("/api/v1/whoami", cookie=session_of(got)).json["operator"] == "alice"
    (event,) = world.audited("login")
    assert (event["who"], event["method"], event["front"]) == ("alice", "oidc", "web")


def test_the_operators_file_says_who_somebody_is(world: World) -> None:
    world.use_operators(f"{OPERATORS}\n[operators.carol]\noidc-name = 'carol.c'\n")
    world.accounts.load()
    got = world.back(*world.begin(), "code-of-carol")
    assert world.get("/api/v1/whoami", cookie=session_of(got)).json["operator"] == "carol"
    refused = world.back(*world.begin(), "code-of-mallory")
    assert (refused.status, session_of(refused)) == (403, "")
    assert b"mallory" not in refused.body
    (event,) = world.audited("login-failed")
    assert (event["method"], event["reason"]) == ("oidc", "mallory is no operator")


def test_what_another_browser_has_begun_is_of_no_use(world: World) -> None:
    state, cookie = world.begin()
    other_state, other_cookie = world.begin()
    over = world.begin()
    for one, kept in (
        (state, ""),
        (state, other_cookie),
        (other_state, cookie),
        ("", cookie),
        (state, f"{COOKIE}=x"),
        (state, cookie[:-4] + "AAAA"),
    ):
        got = world.back(one, kept)
        assert (got.status, session_of(got)) == (403, ""), (one, kept)
    assert world.provider.seen == [], "the provider is not asked"
    world.clock.advance(BACK_SECONDS + 1)
    assert world.back(*over).status == 403
    assert world.back(*world.begin()).status == 200


def test_a_login_that_failed_at_the_provider(world: World) -> None:
    got = world.back(*world.begin(), "", more="&error=access_denied%1b")
    assert (got.status, session_of(got)) == (403, "")
    assert world.back(*world.begin(), "stolen").status == 403
    reasons = [event["reason"] for event in world.audited("login-failed")]
    assert reasons == ["the provider says: access_denied\\x1b", "status 400: invalid_grant"]
    world.provider.error = ProviderError("login.example.com: refused")
    assert world.get(PATH).problem == "unavailable"
    world.web.single_sign_on.use(None)
    assert world.get(PATH).problem == "not-found"
    assert world.get("/api/v1/login").json == {"single_sign_on": None}


@pytest.mark.parametrize("to", ["//evil.example", "/%5Cevil.example", "https://evil.example", "/a%0d%0ab", "x", ""])
def test_it_leads_to_no_other_server(world: World, to: str) -> None:
    assert world.get(f"{PATH}?to={to}").status in (400, 303)
    if to:
        assert world.get(f"{PATH}?to={to}").problem == "bad-request"


def test_under_tls_the_cookie_is_held_to_this_host(world: World) -> None:
    client = world.client(secure=True)
    got = client.ask("GET", PATH, host=HOST)
    (cookie,) = got.cookies
    assert cookie.startswith(f"__Host-{COOKIE}=")
    assert "; Secure" in cookie
