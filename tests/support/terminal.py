"""A terminal to look at: what a person would see of what was sent, by the interpreter of the package pyte."""

from __future__ import annotations

import re

import pyte
from pyte.modes import DECAWM

_SWITCH = re.compile(rb"\x1b\[\?1049([hl])")
_MAYBE_SWITCH = re.compile(rb"\x1b(\[(\?(1(0(4(9)?)?)?)?)?)?$")


class Terminal:
    """A terminal with two screens, as xterm has them.

    :ivar alternate: whether the alternate one is shown.
    """

    def __init__(self, width: int = 80, height: int = 24) -> None:
        self._screens = [pyte.Screen(width, height), pyte.Screen(width, height)]
        self._streams = [pyte.ByteStream(screen) for screen in self._screens]
        self._rest = b""
        self.alternate = False

    def feed(self, data: bytes) -> None:
        """Take what was sent, however it is cut."""
        data = self._rest + data
        self._rest = b""
        while match := _SWITCH.search(data):
            self._stream.feed(data[: match.start()])
            data = data[match.end() :]
            before = self.screen
            self.alternate = match[1] == b"h"
            self.screen.mode = set(before.mode)  # all of this is the terminal's, not the screen's
            self.screen.margins = before.margins
            self.screen.charset, self.screen.g0_charset, self.screen.g1_charset = (
                before.charset,
                before.g0_charset,
                before.g1_charset,
            )
            self.screen.cursor.attrs, self.screen.cursor.hidden = before.cursor.attrs, before.cursor.hidden
            if self.alternate:
                self.screen.erase_in_display(2)
        if maybe := _MAYBE_SWITCH.search(data):
            self._rest = data[maybe.start() :]
            data = data[: maybe.start()]
        self._stream.feed(data)

    @property
    def _stream(self) -> pyte.ByteStream:
        return self._streams[self.alternate]

    @property
    def screen(self) -> pyte.Screen:
        return self._screens[self.alternate]

    def resize(self, width: int, height: int) -> None:
        for screen in self._screens:
            screen.resize(height, width)

    @property
    def wraps(self) -> bool:
        """Whether lines wrap."""
        return DECAWM in self.screen.mode

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without blanks at the ends of lines."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def cursor(self) -> tuple[int, int]:
        """Line and column."""
        return self.screen.cursor.y, self.screen.cursor.x

    @property
    def reversed(self) -> list[int]:
        """The lines that are shown in reverse."""
        return [n for n in range(self.screen.lines) if self.screen.buffer[n][0].reverse]

    def line(self, text: str) -> str:
        """The first line that holds a text; empty if there is none."""
        return next((line for line in self.lines if text in line), "")
