"""One alert: a value, its form on the disk, and its form for programs, webhooks and scripts.

Texts in it are safe to show, and bounded: a VM decides what is in its name and its lines.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from uuid import UUID

from vmproxy.access.selector import Subject
from vmproxy.alerts.watch import Severity, Watch
from vmproxy.base.sanitize import visible
from vmproxy.log.events import timestamp

LINE_LIMIT = 500
NOTE_LIMIT = 500
_NUMBERS = 2**53


class Finding(NamedTuple):
    """A line that a watch is about.

    :ivar repeated: lines that matched since the last one that was told; at least so many, where there were many.
    """

    console: Subject
    watch: Watch
    at: float
    offset: int
    line: bytes
    repeated: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Who has acknowledged an alert, and when (seconds since the epoch)."""

    at: float
    who: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    :ivar number: its own, for ever.
    :ivar at: when it came, seconds since the epoch.
    :ivar watch: the name of the watch.
    :ivar uuid: of the console, with ``port``; None if it is about vmproxy itself.
    :ivar console: what the console was called, safe to show; empty if it is about vmproxy itself.
    :ivar host: the address of its ESXi host.
    :ivar line: the line, or what is wrong; safe to show.
    :ivar offset: of the line in the console's output; -1 if it is no line.
    :ivar repeated: lines that matched in the quiet time before.
    """

    number: int
    at: float
    watch: str
    severity: Severity
    uuid: UUID | None
    port: str
    console: str
    host: str
    line: str
    offset: int = -1
    repeated: int = 0
    acknowledged: Acknowledged | None = None

    @property
    def key(self) -> tuple[UUID | None, str]:
        """The console that it is about."""
        return self.uuid, self.port

    def acknowledge(self, at: float, who: str, note: str) -> Alert:
        """The same alert, acknowledged."""
        return replace(self, acknowledged=Acknowledged(at, who, note))

    def fields(self) -> dict[str, object]:
        """It for JSON: for scripts, programs, webhooks, and on the disk."""
        ack = self.acknowledged
        return {
            "alert": self.number,
            "at": timestamp(self.at),
            "watch": self.watch,
            "severity": self.severity.value,
            "console": self.console or None,
            "uuid": str(self.uuid) if self.uuid else None,
            "port": self.port or None,
            "host": self.host or None,
            "line": self.line,
            "offset": self.offset if self.offset >= 0 else None,
            "repeated": self.repeated,
            "acknowledged": None
            if ack is None
            else {"at": timestamp(ack.at), "who": ack.who, "note": ack.note or None},
        }

    def kept(self) -> dict[str, object]:
        """What is needed to have it again; see :func:`recalled`."""
        ack = self.acknowledged
        return {**self.fields(), "time": self.at, "acknowledged": [ack.at, ack.who, ack.note] if ack else None}


def recalled(kept: Any) -> Alert:
    """An alert from what was kept of it.

    :raises ValueError, KeyError, TypeError: if it is none.
    """
    ack = kept["acknowledged"]
    number, offset = int(kept["alert"]), kept["offset"]
    if not 0 < number < _NUMBERS:
        raise ValueError("no number of an alert")
    return Alert(
        number,
        float(kept["time"]),
        str(kept["watch"]),
        Severity(kept["severity"]),
        UUID(kept["uuid"]) if kept["uuid"] else None,
        str(kept["port"] or ""),
        visible(str(kept["console"] or "")),
        str(kept["host"] or ""),
        visible(str(kept["line"]), LINE_LIMIT),
        -1 if offset is None else int(offset),
        int(kept["repeated"]),
        None if ack is None else Acknowledged(float(ack[0]), str(ack[1]), str(ack[2])),
    )


def of_console(console: Subject, title: str, host: str) -> dict[str, Any]:
    """The fields of an alert that say which console it is about."""
    return {"uuid": console.uuid, "port": visible(console.port), "console": title, "host": visible(host)}


ITSELF: dict[str, Any] = {"uuid": None, "port": "", "console": "", "host": ""}
"""The same of an alert about vmproxy itself."""
