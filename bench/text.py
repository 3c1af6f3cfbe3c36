"""The output of the machines, and whether it is in the logs, byte by byte.

Every machine prints one line with its own name and then goes round the same 997 lines, each from another place on. So
every log's contents are known by how many lines were sent, and a byte lost, doubled or put into another's log shows.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

LINES = 997
LINE = 100
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Text:
    """Lines to print.

    :ivar lines: as they travel; ``wire`` is all of them, twice, so that a piece from anywhere can be cut out of it.
    :ivar log: all of them, as they stand in a log of vmproxy.
    :ivar width: of a line as it travels; in the log, it is :data:`LINE`.
    """

    lines: tuple[bytes, ...]
    wire: memoryview
    log: bytes
    width: int


def _make(binary: bool) -> Text:
    chance = random.Random(232)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789      .,:;-=/[]"
    lines = []
    for number in range(LINES):
        line = f"{number:03d} ".encode() + "".join(chance.choices(letters, k=LINE - 6)).encode() + b"\r\n"
        lines.append(line[:50] + b"\xff" + line[51:] if binary else line)
    wire = tuple(line.replace(b"\xff", b"\xff\xff") for line in lines)
    return Text(wire, memoryview(b"".join(wire) * 2), b"".join(lines), len(wire[0]))


PLAIN = _make(binary=False)
BINARY = _make(binary=True)
"""One byte 255 in each line: what serial data can hold and Telnet has to double."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The contents of a log.

    :ivar name: the machine, for people; ``path``: the file.
    :ivar start: the beginning of each line.
    :ivar period: what the lines go round, from byte ``phase`` on; ``size`` bytes of them.
    """

    name: str
    path: Path
    start: bytes
    period: bytes
    phase: int
    size: int

    @property
    def total(self) -> int:
        """The log's size."""
        return len(self.start) + self.size

    def problem(self) -> str:
        """What is wrong with the log; empty where it is as expected."""
        try:
            size = self.path.stat().st_size if self.total or self.path.exists() else 0
        except OSError as error:
            return f"{self.name}: no log: {error}"
        if size != self.total:
            return f"{self.name}: its log has {size} bytes and not {self.total}"
        if not size:
            return ""
        repeated = self.period * (_CHUNK // len(self.period) + 2)
        with self.path.open("rb") as file:
            if file.read(len(self.start)) != self.start:
                return f"{self.name}: its log begins with what another one has said"
            at = self.phase
            while chunk := file.read(_CHUNK):
                if chunk != repeated[at : at + len(chunk)]:
                    return f"{self.name}: its log differs, somewhere before byte {file.tell()}"
                at = (at + len(chunk)) % len(self.period)
        return ""


def written(expected: list[Expected]) -> int:
    """How many bytes the logs have now."""
    total = 0
    for one in expected:
        try:
            total += one.path.stat().st_size
        except OSError:
            continue
    return total


def problems(expected: list[Expected], most: int = 5) -> list[str]:
    """What is wrong with logs: the first few, and how many more."""
    found = [problem for problem in (one.problem() for one in expected) if problem]
    return found if len(found) <= most else [*found[:most], f"{len(found) - most} more logs are wrong"]
