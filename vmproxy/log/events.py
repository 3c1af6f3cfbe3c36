"""The event trail: what happened to a console, in a file beside its log.

One JSON object a line: ``at`` (UTC), ``offset`` (the byte of the log at which it happened), ``event``, and what
belongs to the event. It lives in a file of its own, so that the log is exactly the VM's bytes and no VM can forge an
event. While data flows, ``time`` marks say which byte came when.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring_ascii

compact = json.JSONEncoder(separators=(",", ":")).encode
"""JSON without blanks. ``json.dumps`` with arguments would make an encoder for each line."""

quoted = encode_basestring_ascii
"""Text as JSON has it, in ASCII."""


def timestamp(seconds: float) -> str:
    """``2026-11-22T16:09:13.123Z`` for seconds since the epoch."""
    whole = int(seconds)
    # 999.6 ms must not become 1000.
    millis = min(999, round((seconds - whole) * 1000))
    return f"{_second(whole)}.{millis:03d}Z"


@lru_cache(4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


@dataclass(frozen=True, slots=True)
class Event:
    """An event on its way to the trail; where in the log it belongs is known when its turn comes.

    :ivar body: the end of its line, from the event's name on.
    """

    at: float
    body: str

    def line(self, offset: int) -> bytes:
        """The line for the trail."""
        return f'{{"at":"{timestamp(self.at)}","offset":{offset},{self.body}\n'.encode("ascii")


def event(at: float, kind: str, fields: dict[str, object]) -> Event:
    """Make an event.

    :param at: seconds since the epoch.
    :param fields: anything that JSON knows.
    """
    # Most values are text: an encoder for each line costs several times as much.
    body = "".join(
        f',"{name}":{quoted(value) if type(value) is str else compact(value)}' for name, value in fields.items()
    )
    return Event(at, f'"event":{quoted(kind)}{body}}}')


def time_mark(at: float, offset: int) -> bytes:
    """The line that says that the byte at ``offset`` came at this time."""
    return f'{{"at":"{timestamp(at)}","offset":{offset},"event":"time"}}\n'.encode("ascii")
