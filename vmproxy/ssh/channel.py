"""SSH channels with a bound in both directions.

Out: bytes wait in a queue of our own. conch gets only as many as the client's window and its reading allow, so that
conch's own unbounded buffer is never used. The queue has no limit: users look at ``queued`` first, each
with its own policy. In: conch reopens the client's window as data comes in. While input is held, the window stays shut,
and the client can send no more than what is left of it.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import cast

from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.connection import EXTENDED_DATA_STDERR
from twisted.internet.defer import Deferred

from vmproxy.ssh.transport import OperatorTransport

WINDOW = 64 * 1024
PACKET = 32 * 1024
SMALL = 1024


class FlowChannel(SSHChannel):
    """The base of all channels.

    :ivar queued: bytes that wait to be sent.
    :ivar holding: whether the client's window is kept shut.
    """

    def __init__(self, window: int, max_packet: int) -> None:
        """
        :param window: the client's first window, in bytes.
        :param max_packet: the largest packet that the client accepts.
        """
        super().__init__(localWindow=WINDOW, localMaxPacket=PACKET, remoteWindow=window, remoteMaxPacket=max_packet)
        self._queue: deque[tuple[int, bytes]] = deque()
        self.queued = 0
        self.holding = False
        self._status: int | None = None
        self._finished = False
        self._waiting: list[Deferred[bool]] = []

    @property
    def transport(self) -> OperatorTransport:
        """The connection of the channel."""
        assert self.conn is not None
        return cast(OperatorTransport, self.conn.transport)

    @property
    def over(self) -> bool:
        """Whether the channel is closed, or about to be."""
        return self._finished or bool(self.localClosed)

    # Out.

    def send(self, data: bytes) -> None:
        """Send data, as soon as the client takes it."""
        self._enqueue(0, data)

    def send_err(self, data: bytes) -> None:
        """Send data to the client's stderr."""
        self._enqueue(EXTENDED_DATA_STDERR, data)

    def _enqueue(self, stream: int, data: bytes) -> None:
        if data and not self.over:
            last = self._queue[-1] if self._queue else None
            if last is not None and last[0] == stream and len(last[1]) + len(data) <= SMALL:
                self._queue[-1] = (stream, last[1] + data)  # a VM may print byte by byte: the queue must stay small
            elif len(data) <= WINDOW:
                self._queue.append((stream, data))
            else:  # in pieces: what is left of one is copied for each packet
                self._queue.extend((stream, data[at : at + WINDOW]) for at in range(0, len(data), WINDOW))
            self.queued += len(data)
            self.pump()

    def pump(self) -> None:
        """Send as much as the client accepts now."""
        if self.localClosed or self.conn is None:
            return
        transport = self.transport
        share = transport.share
        while self._queue and self.remoteWindowLeft > 0 and transport.flowing:
            if not self.may_switch(self._queue[0][0]):
                return
            if share.left <= 0:
                share.wait(self)
                return
            share.take()
            stream, data = self._queue.popleft()
            size = min(len(data), self.remoteWindowLeft, self.remoteMaxPacket)
            if size < len(data):
                self._queue.appendleft((stream, data[size:]))
                data = data[:size]
            self.queued -= size
            if stream:
                self.writeExtended(stream, data)
            else:
                self.write(data)
        if not self._queue:
            self.drained()
            self._tell_waiting(True)
            if self._finished and not self._queue:
                self._close()

    def may_switch(self, stream: int) -> bool:
        """Whether the next bytes may go to this stream now. If not, call :meth:`pump` when they may."""
        return True

    def drained(self) -> None:
        """Hook: the queue is empty."""

    def when_drained(self) -> Deferred[bool]:
        """Fires when everything is sent, with True; or with False if the channel is closed before."""
        done: Deferred[bool] = Deferred()
        if self.over:
            done.callback(False)
        elif not self._queue:
            done.callback(True)
        else:
            self._waiting.append(done)
        return done

    def _tell_waiting(self, sent: bool) -> None:
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(sent)

    def addWindowBytes(self, data: int) -> None:
        self.remoteWindowLeft += data
        self.pump()

    def finish(self, status: int | None = None) -> None:
        """Close the channel when everything queued is sent.

        :param status: the exit status, where the channel is a session.
        """
        if not self.over:
            self._finished = True
            self._status = status
            self.pump()

    def _close(self) -> None:
        if self.localClosed or self.conn is None:
            return
        if self._status is not None:
            self.conn.sendRequest(self, b"exit-status", struct.pack(">L", self._status))
        self.conn.sendEOF(self)
        self.loseConnection()

    # In.

    def hold(self, on: bool) -> None:
        """Keep the client from sending more, or let it go on."""
        if self.holding and not on and self.conn is not None:
            self.holding = False
            if self.localWindowLeft < self.localWindowSize // 2:
                self.conn.adjustWindow(self, self.localWindowSize - self.localWindowLeft)
        self.holding = on

    def requestReceived(self, requestType: bytes, data: bytes) -> int:
        """Handle a request. An unknown, malformed or late one is refused."""
        handler = getattr(self, "request_" + requestType.decode("ascii", "replace").replace("-", "_"), None)
        if handler is None or self.over:
            return 0
        try:
            return int(handler(data))
        except (struct.error, ValueError, IndexError):
            return 0

    def dataReceived(self, data: bytes) -> None:
        """Drop the input: a subclass may want it."""

    def extReceived(self, dataType: int, data: bytes) -> None:
        """Drop extended data: clients send none."""

    # The end. conch would log each of these.

    def channelOpen(self, specificData: bytes) -> None:
        """Nothing to do."""

    def eofReceived(self) -> None:
        """Nothing to do: the client may still want to read."""

    def closeReceived(self) -> None:
        self.loseConnection()

    def loseConnection(self) -> None:
        """Close now, and drop the queue."""
        self._queue.clear()
        self.queued = 0
        if self.conn is not None:
            self.conn.sendClose(self)

    def closed(self) -> None:
        self._finished = True
        self._queue.clear()
        self.queued = 0
        self._tell_waiting(False)
