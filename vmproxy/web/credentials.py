"""Whose request it is: by the session or token that it shows, or what comes along with its client."""

from __future__ import annotations

from dataclasses import replace

from vmproxy.auth.tokens import Token
from vmproxy.operators.operator import Operator
from vmproxy.web.ambient import Ambient
from vmproxy.web.call import WebServices
from vmproxy.web.credential import Credential
from vmproxy.web.head import Head
from vmproxy.web.repeats import Repeats
from vmproxy.web.sessions import IN_CLEAR, SECURE

LOOK_SECONDS = 2.0


class Credentials:
    """Finds the credentials of requests."""

    def __init__(self, web: WebServices) -> None:
        self._web = web
        self._ambient = Ambient(web)
        self._looked = float("-inf")
        self._repeats = Repeats(web.services.clock)

    async def identify(self, head: Head, origin: str) -> Credential | None:
        """The credential of a request; None if it shows none, or none that counts any more."""
        shown = head.headers.get("authorization", "")
        if shown:
            scheme, _, secret = shown.partition(" ")
            return await self._token(secret.strip(), head.peer) if scheme.lower() == "bearer" else None
        cookie = head.cookie(cookie_name(origin))
        found = await self._session(cookie) if cookie else None
        return found or await self._ambient.find(head)

    async def _session(self, cookie: str) -> Credential | None:
        if self._web.sessions.find(cookie) is None:
            return None
        now = self._web.services.clock.seconds()
        if not 0 <= now - self._looked < LOOK_SECONDS:  # whoever was removed meanwhile is out
            self._looked = now
            await self._web.accounts.look_again()
        session = self._web.sessions.find(cookie)
        if session is None:
            return None
        return Credential(session.operator, "web", lambda: not session.over, session=session)

    async def _token(self, secret: str, peer: str) -> Credential | None:
        web = self._web
        token = await web.tokens.find(secret)
        account = await web.accounts.account(token.operator) if token is not None else None
        if token is None or account is None:
            web.accounts.complain(peer, "a token that is not valid was shown")
            return None
        account = replace(account, restriction=token.restriction)
        operator = web.services.operator(account, account.name, peer, "api")
        self._record(token, operator)

        def counts() -> bool:
            return web.tokens.known(token) and web.accounts.has(token.operator)

        return Credential(operator, "api", counts, token=token)

    def _record(self, token: Token, operator: Operator) -> None:
        """Record the use of a token, from each address once an hour: each request would be too much."""
        if not self._repeats.again(token.token_id, operator.peer):
            operator.audit("token-used", token=token.name)


def cookie_name(origin: str) -> str:
    """The name of the cookie; under TLS browsers hold it to this host by its name."""
    return SECURE if origin.startswith("https:") else IN_CLEAR


def cookie(origin: str, value: str) -> tuple[str, str]:
    """The header that sets the cookie; an empty value removes it."""
    secure = "; Secure" if origin.startswith("https:") else ""
    age = "" if value else "; Max-Age=0"
    return "Set-Cookie", f"{cookie_name(origin)}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}"
