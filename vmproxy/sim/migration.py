"""One vMotion of one VM, as the hosts play it.

The source stuns the guest and says BEGIN; all that the guest had printed is on its way by then. With the proxy's
GOAHEAD a second host connects, says PEER, and waits for PEER-OK. Then the source closes, and just behind that (or just
before, as configured) the destination says COMPLETE and the guest goes on there. Between BEGIN and the end nothing
reaches the guest: what arrives on the source waits at the host.

Whatever goes wrong, the guest goes on where it can: on the source after an ABORT, or, if the source is gone too, with
a connection that is opened from scratch.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.sim.counters import FleetCounters, Outcome
from vmproxy.sim.interfaces import Guest, HostSettings, SimulationError, User, VMIdentity
from vmproxy.sim.port import HostPort
from vmproxy.wire.vmware import Sub

_T = TypeVar("_T")
_log = Logger()


class AbortPoint(Enum):
    """Where a migration that is to be aborted ends."""

    AFTER_GOAHEAD = auto()
    AFTER_PEER_OK = auto()


class Migrating(Protocol):
    """A VM, as far as its migration looks at it."""

    clock: IReactorTime
    counters: FleetCounters
    guest: Guest
    identity: VMIdentity
    settings: HostSettings

    def new_port(self, user: User[HostPort], peer: bytes | None = None) -> HostPort:
        """Make the protocol of a connection."""

    def dial(self, port: HostPort) -> Deferred[IProtocol]:
        """Open a connection for a port."""

    def hold_from_goahead(self) -> None:
        """Note that all input has been sent: what the source still gets would be lost on a real host."""

    def carry_on(self, port: HostPort) -> None:
        """Let the guest go on, on this connection if it is open."""

    def trouble(self, error: SimulationError) -> None:
        """Make a failure known."""


class HostMigration:
    """One attempt. It is the user of the destination's port until the VM is.

    :ivar source: the connection that it began on.
    """

    __slots__ = ("_abort", "_begun", "_destination", "_latest", "_sequence", "_vm", "_waiting", "source")

    def __init__(self, vm: Migrating, source: HostPort, sequence: bytes, abort: AbortPoint | None) -> None:
        self._vm = vm
        self._sequence = sequence
        self._abort = abort
        self._begun = False  # the proxy may hold input back for us: only COMPLETE or ABORT ends that
        self._destination: HostPort | None = None
        self._waiting: Deferred[tuple[Sub, bytes]] | None = None
        self._latest: Deferred[tuple[Sub, bytes]] | None = None
        self.source = source

    async def run(self) -> Outcome:
        """Go through with it.

        :returns: how it ended. The guest runs again by then.
        """
        vm = self._vm
        outcome = Outcome.FAILED
        started = vm.clock.seconds()
        vm.guest.stun()
        try:
            outcome = await self._steps()
        except SimulationError as error:
            vm.trouble(error)
        except CancelledError:
            pass  # the VM has been stopped
        finally:
            self._listen_no_more()
            if outcome is not Outcome.DONE:
                self._back()
            vm.counters.stunned.add(vm.clock.seconds() - started)
        _log.info("{name}: migration {outcome}", name=vm.identity.name, outcome=outcome.value)
        return outcome

    async def _steps(self) -> Outcome:
        vm, clock, settings = self._vm, self._vm.clock, self._vm.settings
        started = clock.seconds()
        waiting = self._wait()
        self._begun = True
        self.source.vmotion(Sub.VMOTION_BEGIN, self._sequence)
        limit = settings.goahead_limit
        code, pair = await _within(waiting, limit, clock, f"no GOAHEAD within {limit:g} s")
        if code is Sub.VMOTION_NOTNOW:
            self._begun = False
            return Outcome.NOT_NOW
        vm.counters.goahead.add(clock.seconds() - started)
        vm.hold_from_goahead()
        if self._abort is AbortPoint.AFTER_GOAHEAD:
            return Outcome.ABORTED

        limit = settings.peer_limit
        waiting = self._wait()
        self._destination = destination = vm.new_port(self, peer=pair)
        dialling = vm.dial(destination)
        await _within(dialling, limit, clock, f"the destination has not connected within {limit:g} s")
        await _within(waiting, limit, clock, f"no PEER-OK within {limit:g} s")
        if settings.switchover > 0:
            await deferLater(clock, settings.switchover)
            if not destination.open:
                raise SimulationError("the destination's connection was lost during the switchover")
        if self._abort is AbortPoint.AFTER_PEER_OK and self.source.open:
            return Outcome.ABORTED

        if not settings.close_after_complete:
            self.source.close()
            if settings.close_gap > 0:
                await deferLater(clock, settings.close_gap)
        if not destination.open:
            raise SimulationError("the destination's connection was lost before COMPLETE")
        destination.vmotion(Sub.VMOTION_COMPLETE, self._sequence)
        self._begun = False
        vm.carry_on(destination)
        if settings.close_after_complete:
            self.source.close()
        return Outcome.DONE

    def _back(self) -> None:
        """The guest goes on where it was."""
        if self._destination is not None:
            self._destination.fail(SimulationError("the migration came to nothing"))
        if self._begun:
            self.source.vmotion(Sub.VMOTION_ABORT)
        self._vm.carry_on(self.source)

    def source_lost(self, reason: SimulationError) -> None:
        """The source's connection ended. Once the proxy has said GOAHEAD that is survived."""
        if self._destination is None:
            self._wake(Failure(reason))

    def _wait(self) -> Deferred[tuple[Sub, bytes]]:
        """From here on wait for something else."""
        self._listen_no_more()
        self._waiting = self._latest = Deferred()
        return self._waiting

    def _listen_no_more(self) -> None:
        if self._latest is not None:
            self._latest.addErrback(lambda _failure: (Sub.VMOTION_ABORT, b""))  # nobody came to hear of it
        self._waiting = self._latest = None

    def _wake(self, result: tuple[Sub, bytes] | Failure) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        if isinstance(result, Failure):
            waiting.errback(result)
        else:
            waiting.callback(result)

    # -- from the source's port, by way of the VM --------------------------------------------------------------

    def answered(self, code: Sub, parameters: bytes) -> None:
        """GOAHEAD or NOTNOW came; one for another sequence is an echo of an attempt given up."""
        if self._destination is None and parameters.startswith(self._sequence):
            self._wake((code, parameters))

    # -- from the destination's port ---------------------------------------------------------------------------

    def port_opened(self, port: HostPort) -> None:
        self._wake((Sub.VMOTION_PEER_OK, b""))

    def port_received(self, port: HostPort, data: bytes) -> None:
        self._vm.counters.count("strays", len(data))  # before COMPLETE there is no UART behind this connection

    def port_break(self, port: HostPort) -> None:
        pass

    def port_answered(self, port: HostPort, code: Sub, parameters: bytes) -> None:
        pass

    def port_paused(self, port: HostPort, paused: bool) -> None:
        pass

    def port_closed(self, port: HostPort, reason: SimulationError) -> None:
        self._wake(Failure(reason))


def _within(waiting: Deferred[_T], limit: float, clock: IReactorTime, otherwise: str) -> Deferred[_T]:
    def late(_result: _T | Failure, _limit: float) -> Failure:
        return Failure(SimulationError(otherwise))

    return waiting.addTimeout(limit, clock, late)
