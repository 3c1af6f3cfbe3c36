"""Input on its way to a VM: written to the link at once, or queued in a vMotion and while the VM takes none."""

from __future__ import annotations

from collections import deque
from typing import Protocol
from uuid import UUID

from vmproxy.access.console_options import ConsoleOptions
from vmproxy.console.interfaces import IReceiver
from vmproxy.console.state import InputState
from vmproxy.console.totals import Totals
from vmproxy.console.viewers import Viewers
from vmproxy.log.store import ConsoleLog

INPUT_HIGH = 64 * 1024
INPUT_LOW = 16 * 1024
INPUT_LIMIT = 1024 * 1024


class Addressee(Protocol):
    """A console, as far as its input looks at it."""

    uuid: UUID
    port: str
    log: ConsoleLog
    options: ConsoleOptions
    migrating: bool

    @property
    def viewers(self) -> Viewers:
        """Its viewers."""

    @property
    def totals(self) -> Totals:
        """What has happened on all consoles."""

    @property
    def title(self) -> str:
        """Its name, for people to read."""

    @property
    def link(self) -> IReceiver | None:
        """The link in service."""


class InputQueue:
    """The input of one console: bytes and breaks, in order.

    Bound: :data:`INPUT_LIMIT` bytes; writers are told to hold theirs above :data:`INPUT_HIGH`, and to go on below
    :data:`INPUT_LOW`.

    :ivar delivered: bytes delivered since the start, breaks not counted.
    :ivar size: bytes queued; a break counts as one.
    :ivar congested: whether writers should hold their input.
    """

    __slots__ = ("_console", "_items", "congested", "delivered", "size")

    def __init__(self, console: Addressee) -> None:
        self._console = console
        self._items: deque[bytes | None] | None = None  # None is a break; made when needed: most VMs take what is typed
        self.size = 0
        self.congested = False
        self.delivered = 0

    def send(self, data: bytes, who: str = "") -> bool:
        """Deliver or queue bytes.

        :param who: whose input it is, where input is recorded.
        :returns: whether they were taken: not so while the console is down, or above the limit.
        """
        if not data:
            return True
        console = self._console
        link = console.link
        if self._items is None and link is not None and link.ready and not console.migrating:
            self.delivered += len(data)
            console.totals.input_delivered(len(data))
            link.write(data)
        elif not self._put(data):
            return False
        if console.options.record_input:
            text = data.decode("utf-8", "backslashreplace")
            console.log.input(console=console.title, uuid=str(console.uuid), port=console.port, who=who, data=text)
        return True

    def send_break(self, who: str, told: bool = True) -> bool:
        """Deliver a break behind the input before it: break and a letter is a command to many guests.

        :param told: whether it is in the trail: not where a program sends one after the other.
        :returns: as :meth:`send`.
        """
        if not self._put(None):
            return False
        if told:
            self._console.log.event("break", who=who)
        self.flow()
        return True

    def _put(self, data: bytes | None) -> bool:
        console = self._console
        if console.link is None and not console.migrating:
            return False
        size = 1 if data is None else len(data)
        if self.size + size > INPUT_LIMIT:
            return False
        if self._items is None:
            self._items = deque()
        self._items.append(data)
        self._grow(size)
        if self.size > INPUT_HIGH and not self.congested:
            self.congested = True
            console.viewers.hold_writers(True)
        return True

    def _grow(self, more: int) -> None:
        self.size += more
        self._console.totals.input_waits(more)

    def flow(self) -> None:
        """Deliver queued input, as far as the link takes it."""
        items, link = self._items, self._console.link
        if items is None or link is None or self._console.migrating:
            return
        while items and link.ready:
            data = items.popleft()
            if data is None:
                self._grow(-1)
                link.send_break()
            else:
                self._grow(-len(data))
                self.delivered += len(data)
                self._console.totals.input_delivered(len(data))
                link.write(data)
        if not items and self._items is items:
            self._items = None
        self.relieve()

    def lose(self) -> int:
        """Forget queued input: nothing will take it any more.

        :returns: how many bytes, breaks not counted.
        """
        items, self._items = self._items, None
        if items is None:
            return 0
        lost = sum(len(data) for data in items if data is not None)
        items.clear()
        self._grow(-self.size)
        return lost

    def relieve(self) -> None:
        """Let the writers go on, once little is queued."""
        if self.congested and self.size <= INPUT_LOW:
            self.congested = False
            self._console.viewers.hold_writers(False)

    def snapshot(self) -> InputState:
        return InputState(tuple(self._items or ()), self.delivered, self.congested)

    def restore(self, state: InputState) -> None:
        """Take over a queue; nothing is told or delivered."""
        self._items = deque(state.items) if state.items else None
        self._grow(sum(1 if data is None else len(data) for data in state.items) - self.size)
        self.delivered = state.delivered
        self.congested = state.congested
