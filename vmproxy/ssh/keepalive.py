"""Whether clients are still there: who has been silent for long is asked, and who does not answer is cut off.

A client that was stopped, or whose network is gone, keeps its TCP connection, and with it the pen, for hours. So a
client from which nothing came for a while is sent a request to which every client has an answer, if only that it does
not know it; whatever comes resets the count. This also finds the client that has stopped reading with much under way:
one that is only slow answers between two reads.

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
    """A connection, as far as it is asked whether it is still there."""

    service: Any

    @property
    def peer(self) -> str:
        """The client's address, for people to read."""

    def abort(self) -> None:
        """Cut the connection."""


class ClientKeepalive:
    """Watches the connections of all who have logged in."""

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        """:param seconds: of silence, after which a client is asked, and asked again; 0: never."""
        self._clock = clock
        self._unanswered: dict[KeepaliveClient, int] = {}
        self._seconds = seconds
        self._silences: Deadlines[KeepaliveClient] = Deadlines(clock, seconds, self._silent)

    @property
    def seconds(self) -> float:
        """Seconds of silence after which a client is asked; 0: never."""
        return self._seconds

    def reconfigure(self, seconds: float) -> None:
        """Take another number of seconds; it begins anew for everybody."""
        if seconds == self._seconds:
            return
        self._silences.stop()
        self._seconds = seconds
        self._silences = Deadlines(self._clock, seconds, self._silent)
        for transport in self._unanswered:
            self.heard(transport)

    def watch(self, transport: KeepaliveClient) -> None:
        """Somebody has logged in."""
        self._unanswered[transport] = 0
        self.heard(transport)

    def heard(self, transport: KeepaliveClient) -> None:
        """Something came from a client; nothing happens if it is not watched."""
        if transport in self._unanswered:
            self._unanswered[transport] = 0
            if self._seconds:
                self._silences.start(transport)

    def discard(self, transport: KeepaliveClient) -> None:
        """A connection is gone; nothing happens if it is not watched."""
        if self._unanswered.pop(transport, None) is not None:
            self._silences.discard(transport)

    def stop(self) -> None:
        """Watch nobody any more."""
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
