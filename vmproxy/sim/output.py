"""The output of one port: held back while a switch to TLS is under way, counted while nobody reads it.

While the transport's buffer is full, or the proxy has suspended us by COM-PORT, the port's user is told to
pause. All later output adds up, and past a limit the port gives up: a proxy that asks and never reads
must not make the simulator grow.
"""

from __future__ import annotations

from enum import Flag, auto

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vmproxy.sim.interfaces import SimulationError, Wire

BACKLOG_LIMIT = 1 << 20
CLOSE_WITHIN = 5.0


class Stop(Flag):
    """Why sending should stop."""

    TRANSPORT = auto()
    PROXY = auto()


class Output:
    """The way down to the transport.

    :ivar stops: why sending should stop now; empty while it need not.
    """

    __slots__ = ("_backlog", "_deadline", "_held", "_wire", "stops")

    def __init__(self) -> None:
        self._wire: Wire | None = None
        self._held: bytearray | None = None
        self._backlog = 0
        self._deadline: IDelayedCall | None = None
        self.stops = Stop(0)

    def connected(self, wire: Wire) -> None:
        """From here on there is something to write to."""
        self._wire = wire

    def write(self, data: bytes) -> None:
        """Send, or hold back.

        :raises SimulationError: if too much has been written that nobody reads.
        """
        if not data or self._wire is None:
            return
        if self.stops or self._held is not None:
            self._backlog += len(data)
            if self._backlog > BACKLOG_LIMIT:
                raise SimulationError("the proxy does not read what it is sent")
        if self._held is not None:
            self._held += data
        else:
            self._wire.write(data)

    def hold(self) -> None:
        """Hold back all that follows."""
        if self._held is None:
            self._held = bytearray()

    def release(self) -> None:
        """Send the bytes that were held back."""
        held, self._held = self._held, None
        if held and self._wire is not None:
            self._wire.write(bytes(held))

    def start_tls(self) -> None:
        """Go on as TLS client.

        :raises SimulationError: where the transport cannot.
        """
        if self._wire is not None:
            self._wire.start_tls()

    def stop(self, which: Stop, on: bool) -> bool:
        """Take in that sending should stop, or may go on.

        :returns: whether that makes a difference to the writer.
        """
        before = self.stops
        self.stops = before | which if on else before & ~which
        if bool(before) == bool(self.stops):
            return False
        self._backlog = 0
        return True

    def close(self, clock: IReactorTime) -> None:
        """Send buffered bytes and close; at once, if that takes too long."""
        if self._wire is not None and self._deadline is None:
            # A proxy that never reads would keep the connection for ever.
            self._deadline = clock.callLater(CLOSE_WITHIN, self._wire.abort)
            self._wire.close()

    def abort(self) -> None:
        """Close at once."""
        if self._wire is not None:
            self._wire.abort()

    def lost(self) -> None:
        """The connection is gone."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None
        self._wire = None
