"""The event trail: what happened to a console, in a file beside its log.

One JSON object a line: ``at`` (UTC), ``offset`` (the byte of the output at which it happened), ``event``, and the
fields of the event. It is a file of its own, so that the log is exactly the VM's bytes and no VM can forge an event.
While data flows, ``time`` marks say which byte came when.

Offsets count the bytes from the VM since the log began, over all files and restarts, also those that could not be
recorded. A ``format`` line says where in the file beside the trail an offset is: ``byte``, the size of the file then.
It is the first line of each trail, and comes again every 32 KiB and wherever the place changes: behind a gap, and, with
``cut``, where somebody else changed the file. ``run`` names what this process wrote to the log, and ``begun`` is the
offset at which that began: see :mod:`vmproxy.log.place`. Lines before the first of them were written by version 0.1.0:
format 1, whose offsets count from the beginning of the file.
"""

from __future__ import annotations

import json
import re
import time
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import NamedTuple

compact = json.JSONEncoder(separators=(",", ":")).encode
"""JSON without blanks. ``json.dumps`` with arguments would make an encoder for each line."""

quoted = encode_basestring_ascii
"""Text as JSON has it, in ASCII."""


FORMAT = re.compile(
    rb'^\{"at":"[^"]*","offset":(\d{1,18}),"event":"format","trail":\d{1,9},"byte":(\d{1,18})'
    rb'(?:,"cut":"(truncated|foreign)")?(?:,"run":"([0-9a-f]{12})","begun":(\d{1,18}))?',
    re.MULTILINE,
)
FORMAT_MARK = b'"event":"format"'
TIME_MARK_END = b'"event":"time"}\n'


AND = "\0"
"""Stands between the ends of lines; there is none in JSON."""


def timestamp(seconds: float) -> str:
    """``2026-11-22T16:09:13.123Z`` for seconds since the epoch."""
    whole = int(seconds)
    # 999.6 ms must not become 1000.
    millis = min(999, round((seconds - whole) * 1000))
    return f"{_second(whole)}.{millis:03d}Z"


@lru_cache(4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class Event(NamedTuple):
    """An event on its way to the trail; where in the log it belongs is known when its turn comes.

    :ivar body: the end of its line, from the event's name on; those of several events have :data:`AND` between them.
    :ivar missing: bytes from the VM that are not recorded here.
    """

    at: float
    body: str
    missing: int = 0

    def line(self, offset: int) -> bytes:
        """The line for the trail."""
        head, body = f'{{"at":"{timestamp(self.at)}","offset":{offset},', self.body
        if AND in body:
            body = body.replace(AND, f"\n{head}")
        return f"{head}{body}\n".encode("ascii")


def event(at: float, kind: str, fields: dict[str, object], missing: int = 0) -> Event:
    """Make an event.

    :param at: seconds since the epoch.
    :param fields: anything that JSON knows.
    :param missing: bytes from the VM that are not recorded here.
    """
    # Most values are text: an encoder for each line costs several times as much.
    body = "".join(
        f',"{name}":{quoted(value) if type(value) is str else compact(value)}' for name, value in fields.items()
    )
    return Event(at, f'"event":{quoted(kind)}{body}}}', missing)


def time_mark(at: float, offset: int) -> bytes:
    """The line that says that the byte at ``offset`` came at this time."""
    return f'{{"at":"{timestamp(at)}","offset":{offset},"event":"time"}}\n'.encode("ascii")


def stamp_of(line: bytes) -> str:
    """The timestamp in a trail's line."""
    return line[7 : line.index(b'"', 7)].decode("ascii")


def format_line(at: str, offset: int, byte: int, run: str, begun: int, cut: str = "") -> bytes:
    """The line that says that the byte at ``offset`` is, or will be, at ``byte`` in the file.

    :param at: the timestamp of the line that follows, or of now: times in a trail do not go back.
    :param run: who writes, and ``begun``: from which offset on.
    :param cut: how the file was changed by somebody else: ``truncated`` (what is in it is the end of what came before)
        or ``foreign`` (what is in it may be anything).
    """
    how = f',"cut":"{cut}"' if cut else ""
    who = f'"run":"{run}","begun":{begun}'
    return f'{{"at":"{at}","offset":{offset},"event":"format","trail":2,"byte":{byte}{how},{who}}}\n'.encode("ascii")
