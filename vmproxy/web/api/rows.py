"""Consoles as the API shows them: what ``list --json`` says, and what was said last."""

from __future__ import annotations

from collections.abc import Sequence

from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.log.events import timestamp
from vmproxy.log.latest import Latest
from vmproxy.operators.client import Client
from vmproxy.operators.commands.context import turn
from vmproxy.operators.log_reading import on_disk
from vmproxy.operators.log_search import text_of
from vmproxy.operators.presentation import Fields, console_fields, shown
from vmproxy.web.console_id import console_id

AT_ONCE = 50  # consoles whose logs are looked at in one go

FIELDS = (
    "id",
    "name",
    "alias",
    "uuid",
    "uuid_is",
    "port",
    "bios_uuid",
    "location_uuid",
    "service_uri",
    "labels",
    "state",
    "since",
    "reason",
    "host",
    "encrypted",
    "serial",
    "far_end",
    "bytes_out",
    "bytes_in",
    "log",
    "log_problem",
    "logging",
    "input_recorded",
    "sequences",
    "alerts",
    "rights",
    "writer",
    "writers",
    "writer_count",
    "viewers",
    "viewer_count",
    "last_output",
    "last_line",
)
"""The fields of a console, in their order."""

_TEXTS = ("string", "null")
_KINDS: dict[str, object] = {
    "port": "string",
    "encrypted": "boolean",
    "bytes_out": "integer",
    "bytes_in": "integer",
    "logging": "boolean",
    "input_recorded": "boolean",
    "far_end": ["object", "null"],
    "alerts": "object",
    "labels": "object",
    "sequences": "array",
    "rights": "array",
    "writers": "array",
    "writer_count": "integer",
    "viewers": "array",
    "viewer_count": "integer",
}
CONSOLE_SCHEMA = {
    "type": "object",
    "properties": {name: {"type": _KINDS.get(name, list(_TEXTS))} for name in FIELDS},
}
"""A console, for the OpenAPI document."""

OF_LOGS = frozenset({"last_output", "last_line"})


async def latest_of(client: Client, consoles: Sequence[Console], with_lines: bool = True) -> list[Latest]:
    """When consoles said something last, and what, for who may read it."""
    found: list[Latest] = []
    may, look = client.operator.view.may, client.services.latest.look
    for at in range(0, len(consoles), AT_ONCE):
        await turn(client)
        some = [
            (one.log.file.path, one.log.file.offset, text_of(one) if with_lines and may(one, Right.SPY) else None)
            for one in consoles[at : at + AT_ONCE]
        ]
        found += await on_disk(client, lambda some=some: [look(*one) for one in some])  # type: ignore[misc]
    return found


def console_row(client: Client, console: Console, said: Latest) -> Fields:
    """A console, for JSON."""
    view = client.operator.view
    return {
        "id": console_id(console),
        **console_fields(shown(console, view)),
        "last_output": timestamp(said.at) if said.at is not None else None,
        "last_line": said.line if view.may(console, Right.SPY) else None,
    }
