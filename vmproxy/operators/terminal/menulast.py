"""The last line that each console on the screen has said, read from the ends of their logs.

Read on a thread, one batch at a time for each menu, and only for consoles that have said something since. What is in
the log may lag a moment behind what has been counted, so a console that has fallen silent is looked at once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.log.plaintext import PlainLines
from vmproxy.operators.visible import View

TAIL = 2048  # bytes of a log that are looked at
SHOWN = 256  # characters of a line that are kept
KEPT = 400  # consoles that are remembered


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a console.

    :ivar at: how many bytes it had sent when its log was read.
    :ivar settled: whether it had sent as many the time before, too.
    """

    text: str
    at: int
    settled: bool


class LastLines:
    """The last lines of consoles."""

    def __init__(self, view: View) -> None:
        """:param view: says of which consoles the operator may read what they say."""
        self._view = view
        self._known: dict[Console, _Known] = {}

    def of(self, console: Console) -> str:
        """The last line of a console, fit to be shown; empty if it is not known, or not for this operator to know."""
        known = self._known.get(console)
        return known.text if known is not None and self._view.may(console, Right.SPY) else ""

    def missing(self, consoles: Iterable[Console]) -> bool:
        """Whether there are consoles that were never looked at."""
        return any(console not in self._known for console in consoles)

    def wanted(self, consoles: Iterable[Console]) -> list[Console]:
        """Those of some consoles that are to be looked at now."""
        found = []
        for console in consoles:
            known = self._known.get(console)
            if known is None or not known.settled or known.at != console.bytes_out:
                found.append(console)
        return found

    def reader(self, consoles: Sequence[Console]) -> Callable[[], list[str | None]]:
        """What is to be called on a thread; :meth:`learn` takes what it returns."""
        may = [self._view.may(console, Right.SPY) for console in consoles]
        paths = [console.log.path if allowed else None for console, allowed in zip(consoles, may, strict=True)]
        return lambda: [None if path is None else last_line(path) for path in paths]

    def learn(self, consoles: Sequence[Console], sizes: Sequence[int], lines: Sequence[str | None]) -> None:
        """Take what was read.

        :param sizes: how many bytes each console had sent when reading began.
        :param lines: None where nothing was found: what is known stays.
        """
        for console, size, line in zip(consoles, sizes, lines, strict=True):
            before = self._known.pop(console, None)
            text = line if line is not None else before.text if before is not None else ""
            self._known[console] = _Known(text, size, before is not None and before.at == size)
        while len(self._known) > KEPT:
            del self._known[next(iter(self._known))]


def last_line(path: Path) -> str | None:
    """The last line of a log that is not empty, finished or not, without escape sequences.

    :returns: it, fit to be shown; None if there is none at the log's end, or the log cannot be read: a log that was
        just rotated says nothing yet.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL))
            data = file.read(TAIL)
    except OSError:
        return None
    plain = PlainLines()
    lines = plain.feed(data, 0.0)
    unfinished = plain.flush()
    for line in reversed([*lines, *([unfinished] if unfinished else [])]):
        # Each comes with a time in front of it, which means nothing here.
        text = " ".join(line.decode("utf-8", "replace").partition(" ")[2].split())
        if text:
            return visible(text, SHOWN)
    return None
