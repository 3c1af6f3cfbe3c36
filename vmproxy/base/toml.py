"""A TOML file with the line of everything in it: :mod:`tomllib` gives the values, and no positions.

The scanner relies on :mod:`tomllib` having accepted the text: it recognises keys, strings and brackets, and checks
nothing. It runs when the first problem needs a line, so that a file without a problem costs nothing more.
"""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from functools import cached_property
from typing import Any

from vmproxy.base.text_file import plain_text
from vmproxy.errors import ConfigError

KeyPath = tuple[str | int, ...]
"""The way to a value: keys of tables and indices of arrays, from the top."""

_POSITION = re.compile(r"\(at line (\d+), (column \d+)\)")
_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""(?!")))*"""|'
    r"'''(?:[^']|'(?!''(?!')))*'''|"
    r'"(?:[^"\\\n]|\\.)*"|'
    r"'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


class TomlFile:
    """A TOML file that has been read.

    :ivar name: the file's name, for problems.
    :ivar table: its values, as :mod:`tomllib` gives them.
    """

    def __init__(self, data: bytes, name: str) -> None:
        """:raises ConfigError: if it is not TOML."""
        self.name = name
        try:
            self._text = plain_text(data).decode("utf-8").replace("\r\n", "\n")
            self.table: dict[str, Any] = tomllib.loads(self._text)
        except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
            position = _POSITION.search(str(error))
            line = f":{position[1]}" if position else ""
            text = _POSITION.sub(r"(\2)", str(error))
            raise ConfigError([f"{name}{line}: not a TOML file: {text}"]) from None

    def line(self, path: KeyPath) -> int | None:
        """The line of a value, or of the nearest table around it; None if there is none."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None

    @cached_property
    def lines(self) -> dict[KeyPath, int]:
        """The line of every key, table and item, counted from 1."""
        scanner = _Scanner(self._text)
        with suppress(RecursionError):  # it nests a little deeper than tomllib: what it has found so far is enough
            scanner.document()
        return scanner.lines


class _Scanner:
    """Finds the line of every key in a text that is TOML."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._counted = 0
        self._line = 1
        self._tables: dict[KeyPath, int] = {}  # how many tables each array of tables has so far

    def document(self) -> None:
        """Go through the whole text."""
        table: KeyPath = ()
        self._blank()
        while self._at < len(self._text):
            if self._text.startswith("[[", self._at):
                table = self._header(2)
                number = self._tables[table] = self._tables.get(table, -1) + 1
                table = (*table, number)
                self._note(table)
            elif self._text[self._at] == "[":
                table = self._below(self._header(1))
            else:
                self._pair(table)
            self._blank()

    def _header(self, brackets: int) -> KeyPath:
        self._at += brackets
        self._blank()
        *first, last = self._key()
        self._at += brackets
        path: KeyPath = ()
        for part in first:
            path = self._below((*path, part))
            self._note(path)
        path = (*path, last)
        self._note(path)
        return path

    def _below(self, path: KeyPath) -> KeyPath:
        # What is said below an array of tables is said of the last of them.
        return (*path, self._tables[path]) if path in self._tables else path

    def _pair(self, table: KeyPath) -> None:
        start = self._at
        path = table
        for part in self._key():
            path = (*path, part)
            self._note(path, start)
        self._at += 1  # the equals sign
        self._blank()
        self._value(path)

    def _key(self) -> list[str]:
        parts = []
        while True:
            match = _BARE_KEY.match(self._text, self._at)
            if match is not None:
                parts.append(match[0])
            else:
                match = self._match(_STRING)
                parts.append(tomllib.loads(f"x={match[0]}")["x"])
            self._at = match.end()
            self._blank()
            if self._text[self._at] != ".":
                return parts
            self._at += 1
            self._blank()

    def _value(self, path: KeyPath) -> None:
        opened = self._text[self._at]
        if opened == "[":
            self._items(path, "]")
        elif opened == "{":
            self._items(path, "}")
        elif opened in "\"'":
            self._at = self._match(_STRING).end()
        else:
            self._at = self._match(_SCALAR).end()

    def _items(self, path: KeyPath, closed: str) -> None:
        self._at += 1
        number = 0
        self._blank()
        while self._text[self._at] != closed:
            if closed == "]":
                self._note((*path, number))
                self._value((*path, number))
                number += 1
            else:
                self._pair(path)
            self._blank()
            if self._text[self._at] == ",":
                self._at += 1
                self._blank()
        self._at += 1

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self._text, self._at)
        assert match is not None, "tomllib has accepted the text"
        return match

    def _blank(self) -> None:
        self._at = self._match(_BLANK).end()

    def _note(self, path: KeyPath, at: int | None = None) -> None:
        if path not in self.lines:
            self._line += self._text.count("\n", self._counted, self._at if at is None else at)
            self._counted = self._at if at is None else at
            self.lines[path] = self._line
