"""Keepalive of clients: a silent one is asked, and one that does not answer is cut off.

A client that was stopped, or whose network is gone, keeps its TCP connection, and with it write access, for hours. So a
client that was silent for a while is sent a request that every client answers, if only with "unknown"; any bytes reset
the count. This also finds a client that has stopped reading with much under way: a slow one answers between two reads.

All connections share one timer; see :mod:`vmproxy.base.deadlines`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

from twisted.conch.ssh.connection import SSHConnection
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmproxy.base.deadlines import Deadlines

TRIES = 3
REQUEST = b"keepalive@openssh.com"

_log = Logger()


class KeepaliveClient(Hashable, Protocol):
    """A connection, as the keepalive knows it."""

    service: Any

    @property
    def peer(self) -> str:
        """The client's address, for people to read."""

    def abort(self) -> None:
        """Cut the connection."""


class ClientKeepalive:
    """The keepalive of all connections that have logged in."""

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        """:param seconds: of silence between two requests; 0: never ask."""
        self._clock = clock
        self._unanswered: dict[KeepaliveClient, int] = {}
        self._seconds = seconds
        self._silences: Deadlines[KeepaliveClient] = Deadlines(clock, seconds, self._silent)

    @property
    def seconds(self) -> float:
        """Seconds of silence after which a client is asked; 0: never."""
        return self._seconds

    def reconfigure(self, seconds: float) -> None:
        """Use another number of seconds; all silences begin anew."""
        if seconds == self._seconds:
            return
        self._silences.stop()
        self._seconds = seconds
        self._silences = Deadlines(self._clock, seconds, self._silent)
        for transport in self._unanswered:
            self.heard(transport)

    def watch(self, transport: KeepaliveClient) -> None:
        """Add a connection."""
        self._unanswered[transport] = 0
        self.heard(transport)

    def heard(self, transport: KeepaliveClient) -> None:
        """Note that a client has sent something. An unknown connection is ignored."""
        if transport in self._unanswered:
            self._unanswered[transport] = 0
            if self._seconds:
                self._silences.start(transport)

    def discard(self, transport: KeepaliveClient) -> None:
        """Remove a connection. An unknown one is ignored."""
        if self._unanswered.pop(transport, None) is not None:
            self._silences.discard(transport)

    def stop(self) -> None:
        """Remove all connections."""
        self._unanswered.clear()
        self._silences.stop()

    def _silent(self, transport: KeepaliveClient) -> None:
        asked = self._unanswered[transport]
        if asked >= TRIES:
            del self._unanswered[transport]
            _log.info(
                "{peer}: disconnected, nothing came from it for {seconds:.0f} s",
                peer=transport.peer,
                seconds=self._seconds * (TRIES + 1),
            )
            transport.abort()
            return
        self._unanswered[transport] = asked + 1
        self._silences.start(transport)
        service = transport.service
        if isinstance(service, SSHConnection):
            answer = service.sendGlobalRequest(REQUEST, b"", wantReply=1)
            # The answer is that something came; that the request is not known, or the connection lost, is no news.
            answer.addBoth(lambda _: None)
