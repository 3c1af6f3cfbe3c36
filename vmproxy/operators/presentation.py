"""What an operator is told of consoles and viewers: as text for people, as data for scripts and other fronts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import human_bytes, visible
from vmproxy.console.alert_marks import NO_ALERTS
from vmproxy.console.console import Console
from vmproxy.console.info import ConsoleInfo, RemoteInfo, ViewerInfo
from vmproxy.log.events import timestamp
from vmproxy.log.search import Hit
from vmproxy.operators.messages import far_line, local_time, mode, recording, state_line
from vmproxy.operators.operator import Operator
from vmproxy.operators.visible import VisibleConsoles

Fields = dict[str, object]


def log_file(console: Console, view: VisibleConsoles) -> str:
    """The log of a console: its path for administrators of the console, for others its name in sftp.

    The name on the disk may be another than that of the VM because of a VM of the same name that may not be seen.
    """
    return console.log.file.path if view.may(console, Right.ADMIN) else f"{view.alias(console)}.log"


def describe(console: Console, view: VisibleConsoles, now: float, log_size: int | None = None) -> list[str]:
    """All that is known about a console, a line each; the values stand below each other.

    :param log_size: of the live file, if that is known.
    """
    writers = ", ".join(writer.who for writer in console.writers)
    no_vc = "  (known by it: its VM has told no VC UUID)" if console.known_by else ""
    up = console.link is not None
    alerts = view.alerts(console)
    lines: list[tuple[str, str]] = [
        ("console", f"{console.title}  (ssh name {view.alias(console)})"),
        ("state", state_line(console, now)),
        *([("up since", local_time(console.since))] if up and console.since else []),
        *([("TLS", "yes" if console.link.encrypted else "no")] if console.link is not None else []),
        (console.known_by or "VC UUID", f"{console.uuid}  port {console.port}{no_vc}"),
        ("BIOS UUID", str(console.bios_uuid or "-")),
        ("location UUID", str(console.location_uuid or "-")),
        ("service URI", visible(console.uri)),
        *([("labels", str(console.labels))] if console.labels else []),
        *([("serial", console.settings)] if console.settings else []),
        *([("far end", far_line(console.remote))] if console.remote is not None else []),
        ("from the VM", f"{human_bytes(console.bytes_out)}  to the VM: {human_bytes(console.bytes_in)}"),
        ("log", log_file(console, view)),
        ("recording", recording(console, view)),
        *([("log size", human_bytes(log_size))] if log_size is not None else []),
        ("writer", f"{writers or '-'}  viewers: {len(console.watchers)}"),
        *([("alerts", f"{alerts}  (see `alerts')")] if alerts.total else []),
    ]
    width = max(len(label) for label, _ in lines)
    return [f"{label:>{width}}: {text}" for label, text in lines]


@dataclass(frozen=True, slots=True)
class ShownConsole:
    """A console as one operator may see it, at one moment.

    :ivar alias: its SSH NAME.
    :ivar log: see :func:`log_file`.
    :ivar rights: the operator's.
    """

    info: ConsoleInfo
    alias: str
    log: str
    rights: Right


def shown(console: Console, view: VisibleConsoles) -> ShownConsole:
    """A console as an operator may see it now."""
    return ShownConsole(console.info(), view.alias(console), log_file(console, view), view.rights(console))


def console_fields(console: ShownConsole) -> Fields:
    """All that is known about a console, for JSON."""
    info = console.info
    return {
        "name": info.name.encode("utf-8", "backslashreplace").decode(),
        "alias": console.alias,
        "uuid": str(info.uuid),
        "uuid_is": info.known_by or "VC UUID",
        "port": info.port,
        "bios_uuid": str(info.bios_uuid) if info.bios_uuid else None,
        "location_uuid": str(info.location_uuid) if info.location_uuid else None,
        "service_uri": info.uri,
        "labels": info.labels.fields(),
        "state": info.state,
        "since": timestamp(info.since) if info.since else None,
        "reason": info.reason or None,
        "host": info.host or None,
        "encrypted": info.encrypted,
        "serial": info.settings or None,
        "far_end": _remote_fields(info.remote) if info.remote is not None else None,
        "bytes_out": info.bytes_out,
        "bytes_in": info.bytes_in,
        "log": console.log,
        "log_problem": info.log_problem or None,
        "logging": info.logging,
        "input_recorded": info.input_recorded,
        "sequences": list(info.sequences),
        "alerts": (info.alerts if Right.SPY in console.rights else NO_ALERTS).fields(),
        "rights": console.rights.words,
        "writer": info.writer or None,
        "writers": list(info.writers),
        "writer_count": info.writer_count,
        "viewers": [
            {"who": v.who, "mode": _mode(v), "since": timestamp(v.since), "skipped": v.skipped} for v in info.viewers
        ],
        "viewer_count": info.viewer_count,
    }


def _remote_fields(remote: RemoteInfo) -> Fields:
    return {
        "to": remote.place,
        "state": remote.state,
        "since": timestamp(remote.since),
        "address": remote.address or None,
        "reason": remote.reason or None,
        "again": timestamp(remote.again) if remote.again else None,
    }


def _mode(viewer: ViewerInfo) -> str:
    return mode(viewer.writes, viewer.waits)


def machine_line(console: ShownConsole) -> str:
    """A console in a line with colons, for conserver's ``-i``; a colon in a field is ``%3A``."""
    info = console.info
    fields = (
        info.title,
        console.alias,
        str(info.uuid),
        info.port,
        info.state,
        timestamp(info.since) if info.since else "",
        info.host,
        info.settings,
        ",".join(info.writers),
        str(info.viewer_count),
        console.log,
    )
    safe = (visible(text, 4096).replace("%", "%25").replace(":", "%3A") for text in fields)
    return ":".join(safe) + "\n"


def identity_fields(console: Console) -> Fields:
    """The console that something is about: in events, hits of a search, viewers."""
    return {"console": console.title, "uuid": str(console.uuid), "port": console.port}


def viewer_fields(who: str, console: Console | None = None, viewer: ViewerInfo | None = None, now: float = 0) -> Fields:
    """An operator and the console that they are on, for JSON; all but ``who`` are null for an operator on none."""
    if console is None or viewer is None:
        return {"who": who, **dict.fromkeys(("console", "uuid", "port", "mode", "idle", "since", "skipped"))}
    return {
        "who": who,
        **identity_fields(console),
        "mode": _mode(viewer),
        "idle": max(0, int(now - viewer.last_input)),
        "since": timestamp(viewer.since),
        "skipped": viewer.skipped,
    }


def operator_fields(operator: Operator, consoles: dict[str, int]) -> Fields:
    """An operator for themselves, for JSON.

    :param consoles: the number of consoles for each right.
    """
    return {
        "operator": operator.name,
        "groups": list(operator.groups),
        "from": operator.peer,
        "user": operator.user,
        "consoles": consoles,
    }


def hit_fields(hit: Hit, console: Console) -> Fields:
    """A hit of a search in the log of a console, for JSON."""
    return {
        "at": timestamp(hit.at),
        **identity_fields(console),
        "segment": hit.segment,
        "offset": hit.offset,
        "line": hit.line.decode("utf-8", "backslashreplace"),
        **({"text": hit.text.decode("utf-8", "backslashreplace")} if hit.text != hit.line else {}),
        **{
            name: [row.decode("utf-8", "backslashreplace") for row in rows]
            for name, rows in (("before", hit.before), ("after", hit.after))
            if rows
        },
    }


def json_array(values: Iterable[Fields | None]) -> Iterator[str]:
    """A JSON array, an element a line; nothing for None."""
    separator = "[\n"
    for value in values:
        if value is None:
            yield ""
        else:
            yield separator + json.dumps(value)
            separator = ",\n"
    yield "\n]\n" if separator != "[\n" else "[]\n"
