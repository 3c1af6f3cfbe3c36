"""Reads a vCenter again and again, and labels the consoles by what it says.

A reading that fails is made again after a time that doubles, up to :data:`LONGEST`. After :data:`PATIENCE` of them it
is told as trouble. What was read last counts until then: a vCenter that is away takes no labels away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.base.clock import wall_of
from vmproxy.base.countdown import Countdown
from vmproxy.base.tasks import spawn
from vmproxy.base.troubles import Kind, Troubles
from vmproxy.console.console import Console
from vmproxy.console.info import Facts
from vmproxy.console.registry import ConsoleRegistry, StillThere
from vmproxy.errors import VMProxyError
from vmproxy.vcenter.inventory import VM, Inventory, read_file, write_file
from vmproxy.vcenter.settings import VCenterSettings

AGAIN, LONGEST = 30.0, 1800.0
PATIENCE = 3
PER_TURN = 200
BY = "vcenter"

T = TypeVar("T")
Read = Callable[[VCenterSettings], Sequence[VM]]
"""Reads a vCenter, on a thread; raises a :class:`VMProxyError` if it cannot."""

_log = Logger()


class VCenterFollower:
    """Labels of consoles by a vCenter.

    :ivar inventory: what was read last.
    """

    def __init__(
        self,
        clock: IReactorTime,
        registry: ConsoleRegistry,
        troubles: Troubles,
        record: Callable[..., None],
        path: Path,
        in_thread: Callable[[Callable[[], object]], Deferred[object]],
        read: Read,
    ) -> None:
        """
        :param record: records an event in the audit trail.
        :param path: the file that keeps what was read.
        """
        self._clock = clock
        self._wall = wall_of(clock)
        self._registry = registry
        self._troubles = troubles
        self._record = record
        self._path = path
        self._in_thread = in_thread
        self._read = read
        self._settings = VCenterSettings()
        self._next = Countdown(clock)
        self._reading: Deferred[None] | None = None
        self._failed = 0
        self._is_fresh = False  # whether it was read since the start, or since the settings changed
        self._left: Iterator[Console] = iter(())
        self._next_step = Countdown(clock)
        self.inventory = Inventory()

    def load(self) -> None:
        """Read what was kept; waits for the disk."""
        try:
            self.inventory = read_file(self._path)
        except (OSError, ValueError) as error:
            _log.error("{path} cannot be read: {error}", path=str(self._path), error=str(error))

    def use(self, settings: VCenterSettings) -> None:
        """Take other settings from now on."""
        if settings == self._settings:
            return
        before, self._settings = self._settings, settings
        self.stop()
        if not settings.server or (before.server and before.server != settings.server):
            self.inventory = Inventory()
        self._is_fresh = False
        self._label_all()
        self._failed = 0
        if settings.server:
            self._next.start(0, self._begin)

    def stop(self) -> None:
        """Read no more; a reading under way is not waited for."""
        self._next.stop()
        self._next_step.stop()
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()

    def _begin(self) -> None:
        self._reading = spawn(self._go())
        self._reading.addErrback(self._broken)

    def _broken(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            _log.failure("vCenter could not be read", failure=failure)
            self._wait(LONGEST)

    async def _go(self) -> None:
        settings = self._settings
        try:
            vms = await self._off_reactor(partial(self._read, settings))
        except VMProxyError as error:
            self._has_failed(str(error))
            return
        if self._failed >= PATIENCE:
            _log.info("vCenter {server} is read again", server=settings.server)
        self._failed = 0
        self.inventory = self.inventory.followed_by(vms, self._wall(), self._has_console)
        self._is_fresh = True
        self._label_all()
        kept = self.inventory
        try:
            await self._off_reactor(partial(write_file, self._path, kept))
        except OSError as error:
            self._troubles.tell(Kind.DISK, f"{self._path} cannot be written: {error.strerror}")
        self._wait(settings.every)

    async def _off_reactor(self, call: Callable[[], T]) -> T:
        return await self._in_thread(call)  # type: ignore[return-value]  # of that call

    def _has_failed(self, why: str) -> None:
        self._failed += 1
        if self._failed == 1:
            _log.warn("vCenter: {why}; it is tried again", why=why)
        if self._failed >= PATIENCE:
            self._troubles.tell(Kind.VCENTER, f"labels are not up to date: {why}")
        self._wait(min(LONGEST, AGAIN * 2 ** min(self._failed - 1, 10)))

    def _wait(self, seconds: float) -> None:
        self._reading = None
        self._next.start(seconds, self._begin)

    # Consoles.

    def _has_console(self, uuid: int) -> bool:
        return bool(self._registry.names.ports(UUID(int=uuid)))

    def facts(self, console: Console) -> Facts | None:
        """What is known of a console; None for nothing. On any thread."""
        inventory, rules = self.inventory, self._settings.rules
        uuid = console.uuid.int
        vm = inventory.vms.get(uuid)
        if vm is None and console.known_by:
            vm = inventory.of_bios(uuid)
        if vm is not None:
            given = tuple(pair for pair in vm.labels if pair[0].casefold() in rules)
            return Facts(given, tuple(pair for pair in vm.labels if pair not in given))
        return GONE if uuid in inventory.gone else None

    def _label_all(self) -> None:
        self._registry.use_facts(self.facts if self._settings.server else None)
        self._next_step.stop()
        self._left = iter(list(self._registry))
        self._step()

    def _step(self) -> None:
        some = list(islice(self._left, PER_TURN))
        over = []
        for console in some:
            if not console.forgotten:
                self._registry.relabel(console)
                if self._forget(console) and not self._has_console(console.uuid.int):
                    over.append(console.uuid.int)
        if over:  # all at once: it makes another inventory
            self.inventory = self.inventory.without(over)
        if some:
            self._next_step.start(0, self._step)

    def _forget(self, console: Console) -> bool:
        """Forget a console whose VM is gone for long enough; :returns: whether it was."""
        uuid, span = console.uuid.int, self._settings.forget_gone
        since = self.inventory.gone.get(uuid)
        # By what was kept, one may be gone that has come back while nobody looked.
        if not span or since is None or not self._is_fresh or self._wall() - since < span:
            return False
        if console.watchers or not console.can_be_forgotten:
            return False
        about = {"console": console.title, "uuid": str(console.uuid), "port": console.port, "log": console.log.name}
        try:
            self._registry.forget(console, BY).addErrback(
                lambda failure: _log.failure("a console is forgotten, its log is not closed", failure=failure)
            )
        except StillThere:
            return False
        text = "{console}: forgotten, vCenter has it no more"
        self._registry.process_log.tell("consoles forgotten", text, console=about["console"])
        self._record("forget", who=BY, **about, removed=False)
        return True


GONE = Facts((), (("gone", ""),))
"""What is known of the console of a VM that vCenter has no more."""
