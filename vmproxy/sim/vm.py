"""A simulated VM with one serial port: an identity, a guest, and the connection that carries it just now.

The VM finds its way back by itself: a connection that is lost, or never came about, is tried again with growing,
jittered pauses. A VM with several serial ports is several of these with one identity and different service URIs,
which migrate together (see :mod:`vmproxy.sim.fleet`).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.sim.counters import FleetCounters, Outcome
from vmproxy.sim.guest import LinuxGuest
from vmproxy.sim.interfaces import Guest, HostSettings, SimulationError, User, VMIdentity
from vmproxy.sim.link import HostFactory
from vmproxy.sim.migration import AbortPoint, HostMigration
from vmproxy.sim.port import HostPort
from vmproxy.wire.vmware import Sub

_HOLD_LIMIT = 1 << 16
_log = Logger()


class VM:
    """One serial port of one VM.

    :ivar guest: its guest.
    :ivar port: the connection that carries it, or None.
    """

    __slots__ = (
        "_ask_host",
        "_dialling",
        "_endpoint",
        "_failures",
        "_goahead_at",
        "_held",
        "_migration",
        "_powered",
        "_retry",
        "_running",
        "_stopped",
        "_turn",
        "_up",
        "clock",
        "counters",
        "guest",
        "identity",
        "port",
        "rng",
        "settings",
        "uri",
    )

    def __init__(
        self,
        identity: VMIdentity,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        *,
        uri: str = "vmproxy",
        guest: Callable[[VM], Guest] | None = None,
        settings: HostSettings | None = None,
        counters: FleetCounters | None = None,
        rng: Random | None = None,
        turn: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """
        :param guest: makes its guest; a small Linux if None.
        :param turn: how long to wait at least before connecting; VMs that share it share a rate.
        """
        self.identity = identity
        self.clock = clock
        self.uri = uri
        self.settings = settings or HostSettings()
        self.counters = counters if counters is not None else FleetCounters()
        self.rng = rng or Random(identity.vc_uuid.int)  # noqa: S311 - nothing secret is drawn from it
        self._ask_host: Callable[[], object] = self.migrate
        self.port: HostPort | None = None
        self._endpoint = endpoint
        self._turn = turn
        self._dialling: Deferred[IProtocol] | None = None
        self._failures = 0
        self._retry: IDelayedCall | None = None
        self._migration: HostMigration | None = None
        self._running: Deferred[Outcome] | None = None
        self._held = bytearray()  # typed while the guest is stunned
        self._goahead_at: int | None = None
        self._powered = False
        self._up = False
        self._stopped = False
        self.guest: Guest = (guest or linux)(self)

    @property
    def connected(self) -> bool:
        """Whether serial data flows."""
        return self.port is not None and self.port.open

    @property
    def migrating(self) -> bool:
        """Whether a migration is under way."""
        return self._migration is not None

    def start(self) -> None:
        """Connect, and stay connected."""
        self._connect_after(self._turn())

    def stop(self) -> None:
        """Power off, and close whatever is open."""
        self._stopped = True
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        if self._dialling is not None:
            self._dialling.cancel()
        if self._running is not None:
            self._running.cancel()
        self.guest.stop()
        if self.port is not None:
            self.port.close()
            self._set_up(False)

    def write(self, data: bytes) -> None:
        """The guest prints. Without a connection that goes nowhere, as with a cable that is not plugged in."""
        if self.port is not None and self.port.open:
            self.counters.count("sent", len(data))
            self.port.send(data)

    def migrate(self, abort: AbortPoint | None = None) -> Deferred[Outcome]:
        """Move to another host.

        :param abort: abort the migration there; None leaves it to the settings' share.
        :returns: how it ended; it never fails.
        """
        if self._stopped or self.port is None or not self.port.open or self._migration is not None:
            self.counters.ended(Outcome.SKIPPED)
            return succeed(Outcome.SKIPPED)
        if abort is None and self.rng.random() < self.settings.abort_share:
            abort = self.rng.choice((AbortPoint.AFTER_GOAHEAD, AbortPoint.AFTER_PEER_OK))
        self._migration = HostMigration(self, self.port, self.rng.randbytes(4), abort)
        running = Deferred.fromCoroutine(self._migration.run())
        result: Deferred[Outcome] = Deferred()

        def ended(outcome: Outcome | Failure) -> None:
            self._running = None
            if isinstance(outcome, Failure):
                _log.failure("{name}: a fault in a migration", failure=outcome, name=self.identity.name)
                outcome = Outcome.FAILED
            self.counters.ended(outcome)
            result.callback(outcome)

        if not running.called:
            self._running = running
        running.addBoth(ended)
        return result

    # -- for a migration ---------------------------------------------------------------------------------------

    def new_port(self, user: User[HostPort], peer: bytes | None = None) -> HostPort:
        """Make the protocol of a connection."""
        return HostPort(
            self.identity,
            self.uri,
            user,
            self.clock,
            peer=peer,
            grace=self.settings.grace,
            patience=self.settings.patience,
            direction=self.settings.direction,
        )

    def dial(self, port: HostPort) -> Deferred[IProtocol]:
        """Open a connection for a port; fails with a :class:`SimulationError`."""

        def explain(failure: Failure) -> Failure:
            return Failure(SimulationError(f"cannot connect: {failure.getErrorMessage()}"))

        connecting: Deferred[IProtocol] = self._endpoint.connect(HostFactory(port))
        return connecting.addErrback(explain)

    def hold_from_goahead(self) -> None:
        """The proxy has said that all is sent: what the source still gets would be lost on a real host."""
        self._goahead_at = len(self._held)

    def carry_on(self, port: HostPort) -> None:
        """The migration is over, and the guest goes on, on this connection if it is open."""
        moved = port is not self.port
        if moved and self._goahead_at is not None:
            self.counters.count("strays", len(self._held) - self._goahead_at)
            del self._held[self._goahead_at :]
        self._goahead_at = None
        self._migration = None
        self.port = port
        if moved:
            port.work_for(self)
            port.offer_com_port()
        if not port.open:
            self._gone()
        elif port.paused:
            self.guest.pause()
        else:
            self.guest.resume()
        held = bytes(self._held)
        self._held.clear()
        self.guest.unstun()
        if held and not self._stopped:
            self.guest.feed(held)

    def trouble(self, error: SimulationError) -> None:
        """Make a failure known."""
        self.counters.failed(str(error))
        _log.info("{name}: {error}", name=self.identity.name, error=error)

    # -- from the port -----------------------------------------------------------------------------------------

    def port_opened(self, port: HostPort) -> None:
        self._failures = 0
        self.counters.count("opened")
        self._set_up(True)
        if not self._powered:
            self._powered = True
            self.guest.start()

    def port_received(self, port: HostPort, data: bytes) -> None:
        if port is not self.port:
            self.counters.count("strays", len(data))
            return
        self.counters.count("received", len(data))
        if self._migration is None:
            self.guest.feed(data)
        elif len(self._held) + len(data) <= _HOLD_LIMIT:
            self._held += data
        else:
            self.counters.count("overruns", len(data))

    def port_break(self, port: HostPort) -> None:
        if port is self.port and self._migration is None:
            self.guest.break_received()

    def port_answered(self, port: HostPort, code: Sub, parameters: bytes) -> None:
        if self._migration is not None and port is self._migration.source:
            self._migration.answered(code, parameters)

    def port_paused(self, port: HostPort, paused: bool) -> None:
        if port is self.port:
            if paused:
                self.guest.pause()
            else:
                self.guest.resume()

    def port_closed(self, port: HostPort, reason: SimulationError) -> None:
        if port is not self.port or self._stopped:
            return  # the source of a migration that is done
        if self._migration is not None:
            self._migration.source_lost(reason)
        else:
            self.trouble(reason)
            self._gone()

    # -- connecting --------------------------------------------------------------------------------------------

    def _gone(self) -> None:
        """Nothing carries the guest any more."""
        if self._up:
            self.counters.count("lost")
        self._set_up(False)
        self.port = None
        self.guest.resume()  # without a cable nothing pushes back
        self._failures += 1
        longest = min(self.settings.longest_pause, 2.0 ** min(self._failures - 1, 10))
        self._connect_after(max(longest * self.rng.uniform(0.5, 1.0), self._turn()))

    def _connect_after(self, seconds: float) -> None:
        if not self._stopped and (self._retry is None or not self._retry.active()):
            self._retry = self.clock.callLater(seconds, self._connect)

    def _connect(self) -> None:
        self.port = port = self.new_port(self)
        dialling = self.dial(port)

        def connected(_protocol: IProtocol) -> None:
            self._dialling = None

        def failed(failure: Failure) -> None:
            self._dialling = None
            if not self._stopped:
                self.counters.count("unreached")
                self.trouble(SimulationError(failure.getErrorMessage()))
                self._gone()

        self._dialling = None if dialling.called else dialling
        dialling.addCallbacks(connected, failed)

    def _set_up(self, up: bool) -> None:
        if up != self._up:
            self._up = up
            self.counters.count("up", 1 if up else -1)

    def ask_host(self) -> None:
        """The guest wishes for a vMotion."""
        self._ask_host()

    def on_wish(self, ask_host: Callable[[], object]) -> None:
        """Have something else done when the guest wishes for a vMotion."""
        self._ask_host = ask_host


def linux(vm: VM, boot_speed: float = 1.0, chatter: float = 0.0) -> Guest:
    """Make the guest that VMs have unless told otherwise."""
    return LinuxGuest(
        vm.identity.name,
        vm.clock,
        vm.write,
        # Not at once: the guest is in the middle of its shell, and would be stunned in mid-sentence.
        vmotion=lambda: _soon(vm),
        boot_speed=boot_speed,
        chatter=chatter,
        rng=vm.rng,
    )


def _soon(vm: VM) -> None:
    vm.clock.callLater(0, vm.ask_host)
