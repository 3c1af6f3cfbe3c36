"""Presence: the operators who are logged in, and their sessions. Fronts register both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from vmproxy.operators.input_router import InputRouter
from vmproxy.operators.operator import Operator


class PresentSession(Protocol):
    """A session as presence knows it."""

    @property
    def operator(self) -> Operator:
        """The operator whose session it is."""

    @property
    def router(self) -> InputRouter:
        """Its activities."""


class Presence:
    """The logins there are. One operator may have several."""

    def __init__(self) -> None:
        self._sessions: dict[Operator, dict[PresentSession, None]] = {}

    def __iter__(self) -> Iterator[tuple[Operator, list[PresentSession]]]:
        return iter([(operator, list(sessions)) for operator, sessions in self._sessions.items()])

    def fronts(self) -> Counter[str]:
        """How many logins there are, by front."""
        return Counter(operator.front for operator in self._sessions)

    def logged_in(self, operator: Operator) -> None:
        """Add a login."""
        self._sessions[operator] = {}

    def logged_out(self, operator: Operator) -> None:
        """Remove a login and its sessions."""
        self._sessions.pop(operator, None)

    def opened(self, session: PresentSession) -> None:
        """Add a session of a login."""
        sessions = self._sessions.get(session.operator)
        if sessions is not None:
            sessions[session] = None

    def closed(self, session: PresentSession) -> None:
        self._sessions.get(session.operator, {}).pop(session, None)
