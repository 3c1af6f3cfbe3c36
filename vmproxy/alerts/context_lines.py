"""The lines around a line of a console: out of its log, once those behind it have come."""

from __future__ import annotations

import os

from vmproxy.alerts.alert import LINE_LIMIT
from vmproxy.base.sanitize import visible
from vmproxy.log.file_state import LogFile
from vmproxy.log.shown import ShownText

SPAN = 16 * 1024  # bytes before and behind

Context = tuple[tuple[str, ...], tuple[str, ...]]


def read_context(file: LogFile, offset: int, count: int) -> Context:
    """The lines before and after the one that begins at an offset, safe to show; on the writer's thread.

    There are fewer where the log does not have them any more: it was rotated, or could not be written.

    :param count: how many of each at most.
    :raises OSError: if the log cannot be read.
    """
    place = offset - file.shift
    start = max(0, file.since, place - SPAN)
    if start > place:
        return (), ()
    try:
        with open(file.path, "rb", buffering=0) as log:
            data = os.pread(log.fileno(), place - start + SPAN, start)
    except FileNotFoundError:
        return (), ()
    before, behind = data[: place - start], data[place - start :]
    whole = before if start == max(0, file.since) else before.partition(b"\n")[2]
    after = behind.partition(b"\n")[2].rpartition(b"\n")[0]
    text = ShownText(file.encoding)
    return tuple(_shown(text, whole, count)[-count:]), tuple(_shown(text, after, -count)[:count])


def _shown(text: ShownText, data: bytes, count: int) -> list[str]:
    """The last lines of some bytes, or with a negative number the first."""
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    chosen = lines[-count:] if count > 0 else lines[:-count]
    rows = (row for line in chosen for row in text.rows(line))
    return [visible(row.decode("utf-8", "backslashreplace"), LINE_LIMIT) for row in rows]
