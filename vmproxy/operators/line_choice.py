"""Lines as operators look at them: which are wanted, and how each is shown."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.log.events import timestamp
from vmproxy.log.lines import Lines
from vmproxy.log.pattern import Pattern
from vmproxy.log.shown import LINE_LIMIT, replaced
from vmproxy.log.timing import local_time
from vmproxy.operators.presentation import identity_fields
from vmproxy.operators.terminal.colour import NOTHING_SPECIAL, emphasized, name_colour
from vmproxy.operators.terminal.width import fill

_PRINTABLE = bytes(range(0x20, 0x7F))
_MATCH, _CONTEXT = b" | ", b" - "
ROOM = 2 * 1024 * 1024
LINE_MEMORY = 200  # bytes that a line takes beside its text while it is kept


@dataclass(frozen=True, slots=True)
class LineChoice:
    """Which lines are wanted.

    :ivar match: those that match; None: all.
    :ivar but: but not those that match this, nor as context.
    :ivar context: so many before and after each, too.
    """

    match: Pattern | None = None
    but: Pattern | None = None
    context: int = 0

    def picked(self, block: Lines) -> list[bool | None] | None:
        """Of each line whether it is wanted, or None where it is not even as context; None if all are."""
        if self.match is None and self.but is None:
            return None
        text = replaced(block.text) + b"\n"  # so that a last line that is empty is one
        picked: list[bool | None] = [self.match is None] * block.number
        for row in () if self.match is None else _hits(self.match, text):
            picked[row] = True
        for row in () if self.but is None else _hits(self.but, text):
            picked[row] = None
        return picked


def _hits(pattern: Pattern, text: bytes) -> Iterator[int]:
    row = place = 0
    for match in pattern.lines(text):
        row += text.count(b"\n", place, match.start)
        place = match.start
        yield row


@dataclass(frozen=True, slots=True)
class LineStyle:
    """How lines are shown.

    :ivar end: the end of each.
    :ivar stamps: whether the time is in front.
    :ivar colours: whether what matches stands out.
    :ivar as_json: as objects for scripts.
    """

    end: bytes = b"\n"
    stamps: bool = False
    colours: bool = False
    as_json: bool = False

    def name(self, console: Console, width: int) -> bytes:
        """What tells a console: in front of a line; for JSON, the end of an object."""
        if self.as_json:
            return b", " + json.dumps(identity_fields(console)).encode()[1:] + b"\n"
        title = console.title
        # Not cut: of VMs whose names begin alike, the end says which it is.
        name = fill(title, width).encode("utf-8", "backslashreplace")
        return name_colour(title) + name + NOTHING_SPECIAL if self.colours else name

    def line(
        self, name: bytes, at: float, offset: int | None, row: bytes, choice: LineChoice, is_match: bool = True
    ) -> bytes:
        """A line that is shown.

        :param name: what tells its console, see :meth:`name`; may be empty.
        :param offset: of the line in the console's output, if that is known.
        """
        if self.as_json:
            where = {} if offset is None else {"offset": offset}
            context = {} if is_match else {"context": True}
            fields = {"at": timestamp(at), **where, "text": row.decode("utf-8", "backslashreplace"), **context}
            return json.dumps(fields)[:-1].encode() + name
        text = fit(row)
        if self.colours and is_match and choice.match is not None:
            text = emphasized(text, choice.match.spans(text))
        stamp = local_time(at).encode() + b" " if self.stamps else b""
        between = (_MATCH if is_match else _CONTEXT) if name else b""
        return stamp + name + between + text + self.end


def fit(row: bytes) -> bytes:
    """A line as text that is safe to show."""
    if not row.translate(None, _PRINTABLE):
        return row
    return visible(row.decode("utf-8", "backslashreplace").expandtabs(), LINE_LIMIT).encode("utf-8", "replace")


class LinePicker:
    """Picks the lines of one console, and what stands around them.

    Bound: as many lines are kept as are wanted before a match, and no more than there is room for.
    """

    __slots__ = ("_after", "_before", "_choice", "_size", "_style")

    def __init__(self, choice: LineChoice, style: LineStyle) -> None:
        self._choice = choice
        self._style = style
        self._before: deque[tuple[float, int, bytes]] = deque()  # that were not shown; _size bytes of memory
        self._size = 0
        self._after = 0  # how many more are to be shown

    def feed(self, block: Lines, name: bytes, room: int = ROOM) -> Iterator[bytes]:
        """The lines of a block that are shown.

        :param room: bytes of memory for lines that may stand before a match to come.
        """
        choice, at, show = self._choice, block.at, self._style.line
        picked = choice.picked(block)
        if picked is not None and not choice.context and not any(picked):
            return
        rows = zip(block.offsets(), block.text.split(b"\n"), strict=True)
        if picked is None:
            for offset, row in rows:
                yield show(name, at, offset, row, choice)
            return
        for wanted, (offset, row) in zip(picked, rows, strict=True):
            if wanted:
                for line in self._before:
                    yield show(name, *line, choice, False)
                self._forget_before()
                self._after = choice.context
                yield show(name, at, offset, row, choice)
            elif wanted is None:
                pass
            elif self._after:
                self._after -= 1
                yield show(name, at, offset, row, choice, False)
            elif choice.context:
                self._keep((at, offset, row), room)

    def _keep(self, line: tuple[float, int, bytes], room: int) -> None:
        before = self._before
        before.append(line)
        self._size += len(line[2]) + LINE_MEMORY
        while self._size > room or len(before) > self._choice.context:
            self._size -= len(before.popleft()[2]) + LINE_MEMORY

    def _forget_before(self) -> None:
        self._before.clear()
        self._size = 0

    def forget(self) -> None:
        """Lines are missing here."""
        self._forget_before()
        self._after = 0
