"""Which of a console's links is heard, when one follows another.

In a vMotion, or when a VM connects anew, the new link carries the input at once. But what the VM says there waits until
the link before it has handed on everything that was still on its way: output keeps its order. So the links stand in
line, and the first of them feeds the console.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmproxy.console.interfaces import ILink

if TYPE_CHECKING:
    from vmproxy.console.console import Console

LINKS_IN_LINE = 8
_LOG, _FAR_END = 1, 2


class Succession:
    """The links of one console, in the order of their output."""

    __slots__ = ("_behind", "_console", "_line")

    def __init__(self, console: Console) -> None:
        self._console = console
        self._line: list[ILink] = []
        self._behind = 0  # who cannot keep up; one bit each

    def add(self, link: ILink) -> None:
        """A link carries the console from now on; it is heard when its turn comes."""
        self._line.append(link)
        if self._line[0] is link:
            link.hold_output(self._waits(link))
            link.serve(self._console)
        else:
            link.wait(self._console)

    def read_out(self, old: ILink, close: bool) -> None:
        """Another link has taken over: ``old`` hands on what is still on its way, and may be closed then."""

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

    def gone(self, link: ILink) -> None:
        """A link has nothing more to say; what it has kept is still heard when its turn comes."""
        if not self._line or self._line[0] is not link:
            return
        del self._line[0]
        link.hold_output(False)  # its end must be seen
        if self._line:
            head = self._line[0]
            head.hold_output(self._waits(head))
            head.serve(self._console)
            if head is not self._console.link:
                head.retire(lambda: self.gone(head))

    def last_words(self, link: ILink) -> None:
        """A link that never came into service is gone; what it has kept is all that there is."""
        self._line.append(link)
        if self._line[0] is link:
            link.serve(self._console)
            link.retire(lambda: self.gone(link))

    def log_behind(self, on: bool) -> None:
        """The log is behind, and whoever is heard had better wait; or it has caught up."""
        self._set(_LOG, on)

    def far_end_behind(self, on: bool) -> None:
        """What the VM is connected to is behind, or has caught up."""
        self._set(_FAR_END, on)

    def _set(self, who: int, on: bool) -> None:
        self._behind = self._behind | who if on else self._behind & ~who
        if self._line:
            self._line[0].hold_output(self._waits(self._line[0]))

    def _waits(self, link: ILink) -> bool:
        # One that is only read out waits for the log, which gives up after a second, but not for a far end, which may
        # stand still for ever: what was under way when its VM left it has to come to an end.
        return bool(self._behind & (_LOG | _FAR_END if link is self._console.link else _LOG))
