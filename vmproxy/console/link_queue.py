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

    __slots__ = ("_behind", "_console", "_line")

    def __init__(self, console: C) -> None:
        self._console = console
        self._line: tuple[ILink[C], ...] = ()
        self._behind = 0  # _LOG and _REMOTE, where they cannot keep up

    def add(self, link: ILink[C]) -> None:
        """Append a link that carries the console from now on."""
        self._line = (*self._line, link)
        if self._line[0] is link:
            link.hold_output(self._waits(link))
            link.serve(self._console)
        else:
            link.wait(self._console)

    def read_out(self, old: ILink[C], close: bool) -> None:
        """Read out a link after another has taken over.

        :param close: whether to close it then.
        """

        def done() -> None:
            self.gone(old)
            if close:
                old.close("replaced by a new connection of the same VM and port")

        if self._line[0] is old:
            old.hold_output(self._waits(old))
            old.retire(done)
        while len(self._line) > LINKS_IN_LINE:
            first = self._line[0]
            first.close("too many connections of the same VM and port one after the other")
            self.gone(first)

    def gone(self, link: ILink[C]) -> None:
        """Take out a link without more output, and let the next one feed the console; others keep their turn."""
        if not self._line or self._line[0] is not link:
            return
        self._line = self._line[1:]
        link.hold_output(False)  # its end must be seen
        if self._line:
            head = self._line[0]
            head.hold_output(self._waits(head))
            head.serve(self._console)
            if head is not self._console.link:
                head.retire(lambda: self.gone(head))

    def last_words(self, link: ILink[C]) -> None:
        """Take the output that is left of a lost link that never came into service."""
        self._line = (*self._line, link)
        if self._line[0] is link:
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
        if self._line:
            self._line[0].hold_output(self._waits(self._line[0]))

    def _waits(self, link: ILink[C]) -> bool:
        # A link that is only read out waits for the log, which gives up after a second, but not for the remote end,
        # which may stand still for ever: the rest of its output has to come to an end.
        return bool(self._behind & (_LOG | _REMOTE if link is self._console.link else _LOG))

    @property
    def all(self) -> tuple[ILink[C], ...]:
        """The links, in the order of their output."""
        return self._line

    def restore(self, links: Iterable[ILink[C]], heard: bool) -> None:
        """Take over links.

        :param heard: whether the first of them fed the console already; else it is its turn now.
        """
        self._line = tuple(links)
        if not self._line:
            return
        head = self._line[0]
        head.hold_output(self._waits(head))
        if not heard:
            head.serve(self._console)
        if head is not self._console.link:
            head.retire(lambda: self.gone(head))
