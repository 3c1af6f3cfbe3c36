"""The last thing that a VM said: when, and the line, from the end of its log.

Functions that wait for the disk: call them on a thread.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vmproxy.base.sanitize import visible
from vmproxy.log.files import places
from vmproxy.log.reader import open_segment
from vmproxy.log.shown import ShownText, replaced

TAIL = 2048
LINE_SHOWN = 200
KEPT = 4096


@dataclass(frozen=True, slots=True)
class Latest:
    """The last output of a console.

    :ivar at: when it came, seconds since the epoch; None if there is none.
    :ivar line: the last line that is not blank, safe to show; None if there is none, or nobody has asked.
    """

    at: float | None = None
    line: str | None = None


class LatestLines:
    """The last lines that were looked at: many pages show the same ones, and what paints takes long to look at.

    What is kept of a log counts as long as nothing more was recorded. Bound: :data:`KEPT` logs. May be used by several
    threads at once.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, str, Latest]] = {}

    def look(self, path: str, offset: int, text: ShownText | None) -> Latest:
        """The last output in a log; see :func:`latest`.

        :param offset: that of the next byte that is recorded, from before the call; -1 if it is not known.
        """
        if text is None:
            return latest(path, None)
        kept = self._kept.get(path)
        if kept is not None and kept[:2] == (offset, text.encoding):
            return kept[2]
        found = latest(path, text)
        if offset >= 0:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[path] = offset, text.encoding, found
        return found


def last_output(path: Path | str) -> float | None:
    """When the last output in a log came, seconds since the epoch; None if there is none."""
    for place in (*places(path, 0), *places(path, 1)):
        try:
            found = os.stat(place)
        except OSError:
            continue
        if found.st_size:
            return found.st_mtime
    return None


def latest(path: Path | str, text: ShownText | None) -> Latest:
    """The last output in a log.

    :param path: of the live log; where there is nothing in it, the one before is looked at.
    :param text: how the output is shown; None: the line is not wanted. That of a compressed file is not known.
    """
    modified = last_output(path)
    if text is None or modified is None:  # of many it is, and to open files takes longer
        return Latest(modified)
    seen: set[tuple[int, int]] = set()
    for number in (0, 1):
        segment = open_segment(Path(path), number, False, seen, [])
        if segment is None or segment.log is None:
            continue
        with closing(segment):
            log = segment.log
            if not log.size:
                continue
            line = None
            if not log.compressed:
                line = _last_line(b"".join(log.blocks(max(0, log.size - TAIL))), text)
            return Latest(log.modified, line)
    return Latest()


def _last_line(data: bytes, text: ShownText) -> str | None:
    lines = data.split(b"\n")
    for line in reversed(lines if len(lines) == 1 or len(data) < TAIL else lines[1:]):
        for row in reversed(text.rows(line)):
            if row.strip():
                return visible(replaced(row).decode().rstrip(), LINE_SHOWN)
    return None
