"""The queue of a console's links, where one follows another.

In a vMotion, or when a VM connects anew, the new link carries the input at once. But its output waits until the link
before it has handed on everything that was still on its way: output keeps its order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from vmproxy.console.interfaces import ILink

LINKS_IN_LINE = 8
_LOG, _REMOTE = 1, 2


class HasLink(Protocol):
    """A console, as far as its queue of links looks at it."""

    @property
    def link(self) -> object:
        """The link in service."""


C = TypeVar("C", bound=HasLink)


class LinkQueue(Generic[C]):
    """The links of one console, in the order of their output.

    Invariant: only the first of them feeds the console.
    Bound: :data:`LINKS_IN_LINE`.
    """

    __slots__ = ("_behind", "_console", "_first", "_others")

    def __init__(self, console: C) -> None:
        self._console = console
        self._first: ILink[C] | None = None  # most have this one alone, and no tuple for it
        self._others: tuple[ILink[C], ...] = ()
        self._behind = 0  # _LOG and _REMOTE, where they cannot keep up

    def add(self, link: ILink[C]) -> None:
        """Append a link that carries the console from now on."""
        if self._first is not None:
            self._others += (link,)
            link.wait(self._console)
            return
        self._first = link
        link.hold_output(self._waits(link))
        link.serve(self._console)

    def read_out(self, old: ILink[C], close: bool) -> None:
        """Read out a link after another has taken over.

        :param close: whether to close it then.
        """

        def done() -> None:
            self.gone(old)
            if close:
                old.close("replaced by a new connection of the same VM and port")

        if self._first is old:
            old.hold_output(self._waits(old))
            old.retire(done)
        while len(self._others) >= LINKS_IN_LINE and (first := self._first) is not None:
            first.close("too many connections of the same VM and port one after the other")
            self.gone(first)

    def gone(self, link: ILink[C]) -> None:
        """Take out a link without more output, and let the next one feed the console; others keep their turn."""
        if self._first is not link:
            return
        self._take_next()
        link.hold_output(False)  # its end must be seen
        head = self._first
        if head is not None:
            head.hold_output(self._waits(head))
            head.serve(self._console)
            if head is not self._console.link:
                head.retire(lambda: self.gone(head))

    def _take_next(self) -> None:
        self._first, *others = self._others or (None,)
        self._others = tuple(others)

    def last_words(self, link: ILink[C]) -> None:
        """Take the output that is left of a lost link that never came into service."""
        if self._first is not None:
            self._others += (link,)
            return
        self._first = link
        link.serve(self._console)
        link.retire(lambda: self.gone(link))

    def log_behind(self, on: bool) -> None:
        """Hold the first link while the log is behind."""
        self._set(_LOG, on)

    def remote_behind(self, on: bool) -> None:
        """Hold the link in service while the remote end reads too slowly."""
        self._set(_REMOTE, on)

    def _set(self, who: int, on: bool) -> None:
        self._behind = self._behind | who if on else self._behind & ~who
        if self._first is not None:
            self._first.hold_output(self._waits(self._first))

    def _waits(self, link: ILink[C]) -> bool:
        # A link that is only read out waits for the log, which gives up after a second, but not for the remote end,
        # which may stand still for ever: the rest of its output has to come to an end.
        return bool(self._behind & (_LOG | _REMOTE if link is self._console.link else _LOG))

    @property
    def all(self) -> tuple[ILink[C], ...]:
        """The links, in the order of their output."""
        return () if self._first is None else (self._first, *self._others)

    def restore(self, links: Iterable[ILink[C]], heard: bool) -> None:
        """Take over links.

        :param heard: whether the first of them fed the console already; else it is its turn now.
        """
        self._others = tuple(links)
        self._take_next()
        head = self._first
        if head is None:
            return
        head.hold_output(self._waits(head))
        if not heard:
            head.serve(self._console)
        if head is not self._console.link:
            head.retire(lambda: self.gone(head))
