"""The lines that were shown to an operator last, to choose one from."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from itertools import islice

from vmproxy.console.console import Console

RECENT_LIMIT = 256 * 1024
LINES_LIMIT = 4000
_COLOURS = re.compile(rb"\x1b\[[\d;]*m")


class RecentLines:
    """Lines as they were shown. Bound: :data:`RECENT_LIMIT` bytes."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: deque[tuple[Console, bytes]] = deque()
        self._size = 0

    def add(self, console: Console, data: bytes) -> None:
        """Lines of a console were shown."""
        data = data[-RECENT_LIMIT:]
        self._pieces.append((console, data))
        self._size += len(data)
        while self._size > RECENT_LIMIT and len(self._pieces) > 1:
            self._size -= len(self._pieces.popleft()[1])

    def lines(self, may_read: Callable[[Console], bool]) -> list[tuple[Console, str]]:
        """The newest lines of consoles that may be read, without colours; at most :data:`LINES_LIMIT`."""
        found = (
            (console, _COLOURS.sub(b"", line).decode("utf-8", "replace"))
            for console, data in reversed(self._pieces)
            if may_read(console)
            for line in reversed(data.splitlines())
        )
        return list(islice(found, LINES_LIMIT))[::-1]
