"""Whose request it is: by the token that it shows, or what comes along with its client."""

from __future__ import annotations

from dataclasses import replace

from vmproxy.operators.operator import Operator
from vmproxy.web.ambient import Ambient
from vmproxy.web.call import WebServices
from vmproxy.web.credential import Credential
from vmproxy.web.head import Head

REMEMBERED = 4096
TOLD_SECONDS = 3600.0


class Credentials:
    """Finds the credentials of requests."""

    def __init__(self, web: WebServices) -> None:
        self._web = web
        self._ambient = Ambient(web)
        self._told: dict[tuple[str, str], float] = {}  # by token and address: when its use was recorded

    async def identify(self, head: Head, origin: str) -> Credential | None:
        """The credential of a request; None if it shows none, or none that counts any more."""
        shown = head.headers.get("authorization", "")
        if not shown:
            return await self._ambient.find(head)
        scheme, _, secret = shown.partition(" ")
        return await self._token(secret.strip(), head.peer) if scheme.lower() == "bearer" else None

    async def _token(self, secret: str, peer: str) -> Credential | None:
        web = self._web
        token = await web.tokens.find(secret)
        account = await web.accounts.account(token.operator) if token is not None else None
        if token is None or account is None:
            web.accounts.complain(peer, "a token that is not valid was shown")
            return None
        account = replace(account, restriction=token.restriction)
        operator = web.services.operator(account, account.name, peer, "api")
        self._record(token.token_id, token.name, operator)
        return Credential(operator, "api", token.name, token.expires, token)

    def _record(self, token_id: str, name: str, operator: Operator) -> None:
        """Record the use of a token, from each address once an hour: each request would be too much."""
        now = self._web.services.clock.seconds()
        key = token_id, operator.peer
        before = self._told.pop(key, None)
        fresh = before is not None and now - before < TOLD_SECONDS
        self._told[key] = before if before is not None and fresh else now
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        if not fresh:
            operator.audit("token-used", token=name)
