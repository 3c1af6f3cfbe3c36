"""Credentials: by what an operator is known to a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vmproxy.auth.tokens import Token
from vmproxy.operators.operator import Operator
from vmproxy.web.sessions import Session


@dataclass(frozen=True, slots=True)
class Credential:
    """A session, a token, or what comes along with each request of a client.

    :ivar front: ``web`` or ``api``.
    :ivar counts: whether it counts still, as far as that is known without looking at files.
    :ivar session: the session; ``token``: the token; both None for what comes along with the client.
    :ivar until: when it ends, where it is neither, in seconds since the epoch.
    """

    operator: Operator
    front: str
    counts: Callable[[], bool]
    session: Session | None = None
    token: Token | None = None
    until: float = 0.0

    @property
    def ends(self) -> float:
        """When it ends if nothing is done, in seconds since the epoch."""
        if self.session is not None:
            return self.session.ends
        return self.token.expires if self.token is not None else self.until

    def allows(self, scope: str) -> bool:
        """Whether it is enough for a route of a scope; sessions are for all."""
        if self.token is None:
            return True
        return bool(scope) and (self.token.scope == scope or (scope == "read" and self.token.scope == "write"))
