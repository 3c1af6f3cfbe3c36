"""Any number of simulated VMs: their identities, how fast they connect, and when they migrate.

A machine with several serial ports is several :class:`~vmproxy.sim.vm.VM` objects with one identity; they migrate at
the same moment, as one machine does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from uuid import NAMESPACE_DNS, uuid5

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint

from vmproxy.sim.counters import FleetCounters, Outcome
from vmproxy.sim.interfaces import Guest, HostSettings, VMIdentity
from vmproxy.sim.vm import VM, linux

URI_FORMS = {"word": "{}", "url": "telnet://{}", "url-port": "telnet://{}:13370", "word-port": "{}:13370"}
"""The forms in which hosts send the word of a service URI: as it is, and as the ESXi Host Client has them."""
MIXED = "mixed"
_ROLES = ("web", "db", "mail", "build", "cache", "dns", "git", "log")
_NAMED = 24
_TRY_AGAIN = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a simulation.

    :ivar vms: how many machines.
    :ivar ports: serial ports of each.
    :ivar names: of the first machines; the others get names of their own.
    :ivar seed: the same seed makes the same identities.
    :ivar copies: of how many machines there is a copy of their folder: a machine with their VC UUID, but another BIOS
        UUID and another name.
    :ivar service: the service URI; ports from the second on add ``port=N`` to its query.
    :ivar alike: whether they do not, so that nothing tells the ports of a machine apart.
    :ivar uri_form: how hosts send its word: one of :data:`URI_FORMS`, or all of them in turn.
    :ivar connect_rate: connections opened per second, at most.
    :ivar vmotion_every: how many seconds apart, on average, each machine migrates; 0 is never.
    :ivar boot_speed: 2 boots twice as fast as 1, and 0 at once.
    :ivar chatter: how many seconds apart, on average, an idle machine logs a line; 0 is never.
    """

    vms: int = 4
    ports: int = 1
    names: Sequence[str] = ()
    seed: str = "0"
    copies: int = 0
    service: str = "vmproxy"
    alike: bool = False
    uri_form: str = "word"
    connect_rate: float = 100.0
    vmotion_every: float = 0.0
    boot_speed: float = 1.0
    chatter: float = 0.0
    settings: HostSettings = field(default_factory=HostSettings)


class Pace:
    """Hands out turns at a bounded rate."""

    __slots__ = ("_clock", "_next", "_rate")

    def __init__(self, clock: IReactorTime, rate: float) -> None:
        self._clock = clock
        self._rate = rate
        self._next = clock.seconds()

    def turn(self) -> float:
        """:returns: how many seconds to wait for the next turn, which is the caller's."""
        now = self._clock.seconds()
        mine = max(self._next, now)
        self._next = mine + 1 / self._rate
        return mine - now


def identity(seed: str, index: int, name: str | None = None) -> VMIdentity:
    """Make the identity of a machine: the same for the same seed and index, in every run."""
    vc, bios, location = (uuid5(NAMESPACE_DNS, f"{seed}.{index}.{what}.vm.invalid") for what in ("vc", "bios", "at"))
    if name is None and index < _NAMED:
        name = f"{_ROLES[index % len(_ROLES)]}{index // len(_ROLES) + 1:02}"
    return VMIdentity(vc, name or f"vm-{index:05}", bios, location)


def copy_of(original: VMIdentity, seed: str, index: int) -> VMIdentity:
    """Make the identity of a machine whose folder was copied: a standalone host gives it the same VC UUID."""
    other = identity(f"{seed}.copy", index)
    return replace(original, name=f"{original.name}-copy", bios_uuid=other.bios_uuid, location_uuid=other.location_uuid)


class _Machine:
    """The ports of one machine, and its next migration."""

    __slots__ = ("fleet", "next", "ports")

    def __init__(self, fleet: Fleet, ports: list[VM]) -> None:
        self.fleet = fleet
        self.ports = ports
        self.next: IDelayedCall | None = None
        for port in ports:
            port.on_wish(self.migrate)

    def migrate(self) -> Deferred[list[Outcome]]:
        return gatherResults([port.migrate() for port in self.ports])

    def later(self, seconds: float) -> None:
        self.next = self.fleet.clock.callLater(seconds, self._due)

    def _due(self) -> None:
        self.migrate().addCallback(self._done)

    def _done(self, outcomes: list[Outcome]) -> None:
        if self.fleet.running:
            every = self.fleet.plan.vmotion_every
            if Outcome.NOT_NOW in outcomes:
                every = min(every, _TRY_AGAIN)
            self.later(every * self.fleet.rng.uniform(0.5, 1.5))

    def stop(self) -> None:
        if self.next is not None and self.next.active():
            self.next.cancel()
        for port in self.ports:
            port.stop()


class Fleet:
    """All the machines of one simulation.

    :ivar vms: every serial port of every machine, in order.
    :ivar counters: the numbers so far.
    """

    def __init__(
        self,
        plan: Plan,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        guest: Callable[[VM], Guest] | None = None,
    ) -> None:
        """
        :param guest: makes the guest of a VM; the small Linux, as planned, if None.
        """
        self.plan = plan
        self.clock = clock
        self.rng = Random(plan.seed)  # noqa: S311 - it only spreads things out
        self.counters = FleetCounters()
        self.running = False
        pace = Pace(clock, plan.connect_rate)
        self.vms: list[VM] = []
        self._machines: list[_Machine] = []
        names = plan.names
        machines = [identity(plan.seed, n, names[n] if n < len(names) else None) for n in range(plan.vms)]
        machines += [copy_of(who, plan.seed, n) for n, who in enumerate(machines[: plan.copies])]
        for index, who in enumerate(machines):
            ports = [
                VM(
                    who,
                    endpoint,
                    clock,
                    uri=self._uri(index, number),
                    guest=guest or self._linux,
                    settings=plan.settings,
                    counters=self.counters,
                    rng=self.rng,
                    turn=pace.turn,
                )
                for number in range(1, plan.ports + 1)
            ]
            self.vms += ports
            self._machines.append(_Machine(self, ports))

    def start(self) -> None:
        """Connect every VM, at the planned rate."""
        self.running = True
        for vm in self.vms:
            vm.start()
        if self.plan.vmotion_every > 0:
            for machine in self._machines:
                machine.later(self.plan.vmotion_every * self.rng.uniform(0.2, 1.5))

    def stop(self) -> None:
        """Close every connection."""
        self.running = False
        for machine in self._machines:
            machine.stop()

    def migrate_all(self) -> Deferred[list[Outcome]]:
        """Migrate every machine once, now."""
        every: Deferred[list[list[Outcome]]] = gatherResults([machine.migrate() for machine in self._machines])
        return every.addCallback(lambda machines: [outcome for machine in machines for outcome in machine])

    def summary(self) -> str:
        """:returns: the numbers so far, in one line."""
        return self.counters.summary(len(self.vms))

    def _uri(self, index: int, number: int) -> str:
        plan = self.plan
        word, mark, query = plan.service.partition("?")
        form = list(URI_FORMS)[index % len(URI_FORMS)] if plan.uri_form == MIXED else plan.uri_form
        uri = f"{URI_FORMS[form].format(word)}{mark}{query}"
        return uri if number == 1 or plan.alike else f"{uri}{'&' if mark else '?'}port={number}"

    def _linux(self, vm: VM) -> Guest:
        return linux(vm, self.plan.boot_speed, self.plan.chatter)
