"""Credentials: by what an operator is known to a request."""

from __future__ import annotations

from dataclasses import dataclass

from vmproxy.auth.tokens import Token
from vmproxy.operators.operator import Operator


@dataclass(frozen=True, slots=True)
class Credential:
    """A session or a token.

    :ivar front: ``web`` or ``api``.
    :ivar name: for people: of a token its name.
    :ivar ends: when it ends in any case, in seconds since the epoch.
    :ivar token: None for a session.
    """

    operator: Operator
    front: str
    name: str
    ends: float
    token: Token | None = None

    def allows(self, scope: str) -> bool:
        """Whether it is enough for a route of a scope; sessions are for all."""
        if self.token is None:
            return True
        return bool(scope) and (self.token.scope == scope or (scope == "read" and self.token.scope == "write"))
