"""One connection from a host: VMware's Telnet extension on one side, a console on the other.

In the life of a connection it is first unidentified, with a deadline, and what the guest says is kept, bounded. With
a matching DO-PROXY and a VC UUID it claims its console and serves it; or it shows the pair of a pending vMotion with
PEER, and serves the console from COMPLETE on. A connection whose console has moved on is retired: what still comes
from it is recorded, and it is closed if the host does not do so. How bytes become commands and data, and TLS: in
:mod:`vmproxy.vm.telnet`.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from vmproxy.console.console import Console
from vmproxy.vm.comport import PortControl
from vmproxy.vm.extension import Conversation
from vmproxy.vm.frontend import Hub
from vmproxy.vm.keepalive import is_dead
from vmproxy.vm.sockets import socket_of, unread
from vmproxy.vm.telnet import EARLY, LOG, HostLine, host_of
from vmproxy.vm.tls import failure_of

EARLY_LIMIT = 256 * 1024
EARLY_IN_ALL = 64 * 1024 * 1024  # thousands of those that have not said which VM they are may be nobody's
EARLY_LEAST = 4 * 1024  # of each of them, whatever the others have
DRAIN_READS = 16
QUIET_SECONDS = 0.25  # longer than TCP waits before it sends a lost segment again (200 ms on Linux, RFC 6298)


class VMConnection(HostLine):
    """A connection from a host.

    :ivar ready: whether the VM takes data now.
    :ivar console: the console that it serves, or served until another connection took over.
    """

    def __init__(self, hub: Hub, address: IAddress) -> None:
        super().__init__(hub, address)
        self._port = PortControl(self, hub.signature)
        self._conversation = Conversation(self, hub)
        self.console: Console | None = None
        self._waiting = False  # in service, but the connection before is still being heard
        self._done: Callable[[], None] | None = None  # to be called when a retired connection has been read out
        self._seen = -1
        self._retired = False
        self._early = bytearray()
        self._early_lost = 0
        self._early_counted = 0  # in the hub's sum
        self.ready = True

    def connectionMade(self) -> None:
        """It is there, and has some time to say who it is."""
        hub = self._hub
        hub.connections.add(self)
        hub.counters["connections"] += 1
        hub.unidentified.start(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The connection is gone."""
        if self._close_reason:
            self._leave(self._close_reason)
        elif reason.check(ConnectionDone):
            self._leave(f"closed by {self.peer}")
        elif why := failure_of(reason):
            self.complain("failures of TLS", f"TLS failed: {why}")
            self._leave(f"TLS failed: {why}")
        else:
            self._leave(f"connection lost to {self.peer}: {reason.getErrorMessage().rstrip('.')}")

    def _leave(self, reason: str) -> None:
        # The console must not wait for a socket to be closed; and once is enough.
        hub = self._hub
        if self not in hub.connections:
            return
        if self.console is None:
            self._conversation.identify(late=True)  # it may have waited for nothing but a name
        hub.connections.discard(self)
        hub.admission.leave(self.peer)
        hub.unidentified.discard(self)
        hub.handshakes.discard(self)
        hub.retired.discard(self)
        hub.held.discard(self)
        hub.liveness.discard(self)
        self.ready = False
        console, self.console = self.console, None
        pending = hub.migrations.pending_at(self)
        if pending is not None:
            hub.directory.lost(pending.console, self, reason)
        elif console is None:
            hub.counters["left unidentified"] += 1
        elif not self._retired:
            hub.directory.lost(console, self, reason)
        self._read_out()
        self._discount()

    def _discount(self) -> None:
        self._hub.early -= self._early_counted
        self._early_counted = 0

    def stop(self) -> None:
        """The process is being stopped: take in what has arrived, and part in order."""
        self.drain(None)
        self._leave("the concentrator was stopped")
        # With a producer registered, Twisted would wait for it as long as the host does not read.
        self._tcp.unregisterProducer()
        self._tcp.loseConnection()

    def applicationDataReceived(self, data: bytes) -> None:
        """Serial data from the guest."""
        data = self._decoded(data)
        console = self.console
        if console is not None and not self._waiting:
            console.feed(data)
        elif self._waiting:
            self._early += data
            if len(self._early) > EARLY_LIMIT:
                self._hold(EARLY, True)
        elif self._guard is not None:
            self._hub.counters["bytes in clear forgotten"] += len(data)
        else:
            # Who it is may stand behind this data: reading must go on.
            crowded = self._hub.early >= EARLY_IN_ALL and self in self._hub.unidentified
            room = (EARLY_LEAST if crowded else EARLY_LIMIT) - len(self._early)
            kept = data[: 0 if self._early_lost else max(0, room)]
            self._early += kept
            self._early_lost += len(data) - len(kept)
            self._early_counted += len(kept)
            self._hub.early += len(kept)

    # What it all means.

    def _settle(self) -> None:
        self._conversation.settle()

    def _extension_on(self) -> None:
        self._conversation.tell_list()

    def _extension_received(self, payload: bytes) -> None:
        self._conversation.received(payload)

    def _port_control_on(self, on: bool) -> None:
        self._port.switch(on)

    def _port_control_received(self, payload: bytes) -> bool:
        return self._port.received(payload)

    def _identify_anew(self) -> None:
        # Handshakes are work for us: their time is not counted as the host's.
        if self in self._hub.unidentified:
            self._hub.unidentified.start(self)

    @property
    def in_service(self) -> bool:
        """Whether this is the connection that serves its console now."""
        return self.console is not None and self.console.link is self

    def identify(self, late: bool = False) -> bool:
        """Claim the console, if it is known which: see :meth:`Conversation.identify`."""
        return self._conversation.identify(late)

    # ILink: what the console wants.

    def serve(self, console: Console) -> None:
        """It is our turn: hand on what came early, then everything as it comes."""
        self._carry(console)
        self._waiting = False
        self._discount()
        early, self._early = bytes(self._early), bytearray()
        self._hold(EARLY, False)
        if early:
            console.feed(early)
        if self._early_lost:
            console.log.gap(self._early_lost, "too much before this connection was in service")
        self._early_lost = 0

    def wait(self, console: Console) -> None:
        """Carry a console, but keep its output: the connection before is still being heard."""
        self._carry(console)
        self._waiting = True

    def _carry(self, console: Console) -> None:
        if self not in self._hub.connections:
            return
        self.console = console
        self._hub.unidentified.discard(self)
        if self.in_service:  # else others have come since, and what was told there holds
            self._port.carry(console)
            self._conversation.in_service(console)

    def drain(self, reads: int | None = DRAIN_READS) -> None:
        """Read what the operating system has for us, now. What is wrong with the connection shows in its own time.

        :param reads: how often to read, at most; None for as long as there is something that was there at first.
        """
        log = self.console.log if self.console is not None else None
        if log is not None:
            log.must_take = True  # no more than the system's buffer holds
        try:
            left = self._unread()
            for _ in range(left if reads is None else reads):
                if left <= 0:
                    break
                left -= self._tcp.bufferSize  # small where the host has been slowed down
                self._tcp.doRead()
        finally:
            if log is not None:
                log.must_take = False

    def _unread(self) -> int:
        return unread(self.transport) if self in self._hub.connections else 0

    def retire(self, done: Callable[[], None]) -> None:
        """The console has moved on: read out what is still on its way, and be there no longer than necessary."""
        self._retired = True
        self._done = done
        if self not in self._hub.connections:
            self._read_out()
            return
        self._hub.retired.start(self)
        self.drain()
        if self._unread():
            self._hub.clock.callLater(QUIET_SECONDS, self._check_quiet)
        else:
            self._read_out()

    def _check_quiet(self) -> None:
        if self._done is None or self.console is None:
            return
        # Only we feed the console now: if it has got nothing since, and nothing waits, that was all.
        if self.console.bytes_out == self._seen and not self._unread():
            self._read_out()
        else:
            self._seen = self.console.bytes_out
            self._hub.clock.callLater(QUIET_SECONDS, self._check_quiet)

    def _read_out(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done()

    def release(self) -> int:
        """The console that this was to carry is no longer its business; :returns: the bytes that are forgotten."""
        kept = len(self._early) + self._early_lost
        self.console = None
        self._waiting = False
        self._early.clear()
        self._early_lost = 0
        self._discount()
        self._conversation.released()
        if self in self._hub.connections and not self._hub.stopping:
            self._hub.unidentified.start(self)
        return kept

    def hold_output(self, on: bool) -> None:
        """Stop reading from the host, or go on: its log or its far end is behind, or has caught up."""
        self._hold(LOG, on)
        if not on:
            self._hub.held.discard(self)
        elif self in self._hub.connections:
            self._hub.held.start(self)

    def look_while_held(self) -> None:
        """It is not read from: see whether it is still there. A far end may stand still for ever."""
        handle = socket_of(self.transport)
        if handle is not None and is_dead(handle):
            self._hold(LOG, False)  # the reactor finds it, and ends it in order
        else:
            self._hub.held.start(self)

    def readiness_changed(self) -> None:
        """The transport, or the VM, takes data again, or does not."""
        self.ready = not (self._blocked or self._port.suspended)
        if self.ready and self.in_service and self.console is not None:
            self.console.link_ready()


class VMFactory(Factory[VMConnection]):
    """Listens for hosts."""

    noisy = False

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def buildProtocol(self, address: IAddress | None) -> VMConnection | None:
        """A connection, unless the process is being stopped, or whoever is there may not connect."""
        if address is None or self._hub.stopping or not self._hub.admission.enter(host_of(address)):
            return None
        return VMConnection(self._hub, address)
