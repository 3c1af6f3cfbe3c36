"""What an operator is told of consoles and viewers: as text for people, as data for scripts and other fronts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import human_bytes, visible
from vmproxy.console.console import Console
from vmproxy.console.interfaces import IRemoteEnd, IViewer
from vmproxy.log.events import timestamp
from vmproxy.operators.messages import far_line, mode, recording, state_line
from vmproxy.operators.visible import View

Fields = dict[str, object]


def log_file(console: Console, view: View) -> str:
    """The log of a console: its path for administrators of the console, for others its name in sftp.

    The name on the disk may be another than that of the VM because of a VM of the same name that may not be seen.
    """
    return str(console.log.path) if view.may(console, Right.ADMIN) else f"{view.alias(console)}.log"


def describe(console: Console, view: View, now: float) -> list[str]:
    """All that is known about a console, a line each."""
    writers = ", ".join(writer.who for writer in console.write_access.writers)
    link = [f"serial: {console.settings}"] if console.settings else []
    return [
        f"console: {console.title}  (ssh name {view.alias(console)})",
        f"state: {state_line(console, now)}",
        f"VC UUID: {console.uuid}  port {console.port}",
        f"BIOS UUID: {console.bios_uuid or '-'}  location UUID: {console.location_uuid or '-'}",
        f"service URI: {visible(console.uri)}",
        *link,
        *([f"far end: {far_line(console.remote)}"] if console.remote is not None else []),
        f"from the VM: {human_bytes(console.bytes_out)}  to the VM: {human_bytes(console.bytes_in)}",
        f"log: {log_file(console, view)}  ({recording(console, view)})",
        f"writer: {writers or '-'}  viewers: {len(console.viewers.all)}",
    ]


def console_fields(c: Console, view: View) -> Fields:
    """All that is known about a console, for JSON."""
    writer = c.write_access.writer
    return {
        "name": c.name.encode("utf-8", "backslashreplace").decode(),
        "alias": view.alias(c),
        "uuid": str(c.uuid),
        "port": c.port,
        "bios_uuid": str(c.bios_uuid) if c.bios_uuid else None,
        "location_uuid": str(c.location_uuid) if c.location_uuid else None,
        "service_uri": c.uri,
        "state": c.state,
        "since": timestamp(c.since) if c.since else None,
        "reason": c.reason or None,
        "host": c.host or None,
        "encrypted": c.link is not None and c.link.encrypted,
        "serial": c.settings or None,
        "far_end": _far_fields(c.remote) if c.remote is not None else None,
        "bytes_out": c.bytes_out,
        "bytes_in": c.bytes_in,
        "log": log_file(c, view),
        "log_problem": c.log.problem or None,
        "logging": c.logging,
        "input_recorded": c.options.record_input,
        "sequences": [sequence.name for sequence in c.options.sequences],
        "rights": view.rights(c).words,
        "writer": writer.who if writer else None,
        "writers": [one.who for one in c.write_access.writers],
        "viewers": [
            {"who": v.who, "mode": mode(c, v), "since": timestamp(v.since), "skipped": v.skipped} for v in c.viewers.all
        ],
    }


def _far_fields(far: IRemoteEnd) -> Fields:
    return {
        "to": far.place,
        "state": far.state,
        "since": timestamp(far.since),
        "address": far.address or None,
        "reason": far.reason or None,
        "again": timestamp(far.again) if far.again else None,
    }


def identity_fields(console: Console) -> Fields:
    """The console that something is about: in events, hits of a search, viewers."""
    return {"console": console.title, "uuid": str(console.uuid), "port": console.port}


def viewer_fields(who: str, console: Console | None = None, viewer: IViewer | None = None, now: float = 0.0) -> Fields:
    """An operator and the console that they are on, for JSON; all but ``who`` are null for an operator on none."""
    if console is None or viewer is None:
        return {"who": who, **dict.fromkeys(("console", "uuid", "port", "mode", "idle", "since", "skipped"))}
    return {
        "who": who,
        **identity_fields(console),
        "mode": mode(console, viewer),
        "idle": max(0, int(now - viewer.last_input)),
        "since": timestamp(viewer.since),
        "skipped": viewer.skipped,
    }


def json_array(values: Iterable[Fields]) -> Iterator[str]:
    """A JSON array, an element a line."""
    separator = "[\n"
    for value in values:
        yield separator + json.dumps(value)
        separator = ",\n"
    yield "\n]\n" if separator != "[\n" else "[]\n"
