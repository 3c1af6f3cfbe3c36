"""Recordings for asciinema: a log as an asciicast, version 2.

One JSON array a line, made as the log is read, so that a recording of any length needs no memory. What the VM said
becomes text: a character that is split over two pieces is put together again, what is no character is replaced.
What happened to the console (its line went down, it was moved) becomes markers, at which players can stop.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator

from vmproxy.base.sanitize import visible
from vmproxy.log.timing import IDLE_SECONDS

MARKERS = {
    "up": "line up",
    "down": "line down",
    "vmotion-begin": "vMotion begins",
    "vmotion-complete": "vMotion complete",
    "vmotion-abort": "vMotion aborted",
    "vmotion-abandoned": "vMotion abandoned",
    "gap": "bytes are missing",
}


def cast(
    items: Iterable[tuple[float, object]],
    title: str,
    width: int = 80,
    height: int = 24,
    idle: float = IDLE_SECONDS,
    encoding: str = "utf-8",
    lead: bool = False,
) -> Iterator[bytes]:
    """Make a recording.

    :param items: of a timeline: when, in seconds since the epoch, and bytes or an event.
    :param title: the console's; it may hold anything.
    :param width: of the terminal, in columns; nobody knows it, a serial line has no such thing.
    :param height: in rows.
    :param idle: seconds after which players cut silence short.
    :param encoding: that of the characters.
    :param lead: whether the first item is not of its time, but what stood before.
    :returns: a generator of lines, each with its end. A recording of nothing has its header.
    """
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    began: float | None = None
    now = 0.0
    for at, item in items:
        if began is None:
            began = at
            yield _header(title, width, height, idle, at, lead)
        now = max(now, at - began)  # a recording does not go back, whatever the clock did
        if isinstance(item, bytes):
            if text := decoder.decode(item):
                yield _line([round(now, 3), "o", text])
        elif isinstance(item, dict) and (label := MARKERS.get(str(item.get("event")))) is not None:
            yield _line([round(now, 3), "m", label])
    if began is None:
        yield _header(title, width, height, idle, None)
    if text := decoder.decode(b"", True):
        yield _line([round(now, 3), "o", text])


def _header(title: str, width: int, height: int, idle: float, at: float | None, lead: bool = False) -> bytes:
    header: dict[str, object] = {"version": 2, "width": width, "height": height}
    if at is not None:
        header["timestamp"] = int(at)  # the format has whole seconds
        header["vmproxy"] = {"start": round(at, 3), "lead": lead}
    return _line({**header, "idle_time_limit": idle, "title": visible(title)})


def _line(value: object) -> bytes:
    return json.dumps(value, separators=(", ", ": ")).encode("ascii") + b"\n"
