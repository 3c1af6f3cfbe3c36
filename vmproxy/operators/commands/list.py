"""``list`` and ``status``: the consoles one may see, as a table, for conserver's users in its forms, and for scripts.

There may be 16,000 consoles and a client that need not read. A row is made when the client takes it, and after every
few hundred of them everybody else has a turn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from vmproxy.base.sanitize import human_bytes, visible
from vmproxy.console.console import Console
from vmproxy.console.interfaces import IRemoteEnd
from vmproxy.log.events import timestamp
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import (
    SLICE,
    BadCommand,
    Command,
    chosen,
    find,
    now,
    pause,
    print_all,
    read_args,
    target_of,
)
from vmproxy.operators.commands.standing import log_file
from vmproxy.operators.commands.users import list_people
from vmproxy.operators.messages import clock_time, far_line, local_time, mode, state_line
from vmproxy.operators.presentation import describe
from vmproxy.operators.session import Session

Cell = Callable[[Session, Console], str]


def _writer(session: Session, c: Console) -> str:
    return ", ".join(writer.who for writer in c.write_access.writers) or "-"


def _alias(session: Session, c: Console) -> str:
    return session.operator.view.alias(c)


def _rights(session: Session, c: Console) -> str:
    return ",".join(session.operator.view.rights(c).words)


def _users(session: Session, c: Console) -> str:
    return ", ".join(f"{v.who}{'' if c.write_access.writes(v) else ' (spy)'}" for v in c.viewers.all[:10]) or "<none>"


def _log(session: Session, c: Console) -> str:
    if c.logging and not c.log.problem:
        return log_file(session, c)
    return f"{log_file(session, c)} (NOT being recorded: {c.log.problem or 'turned off'})"


COLUMNS: dict[str, tuple[str, Cell]] = {
    "name": ("NAME", lambda s, c: c.title),
    "alias": ("SSH NAME", _alias),
    "state": ("STATE", lambda s, c: state_line(c, now(s))),
    "writer": ("WRITER", _writer),
    "viewers": ("VIEWERS", lambda s, c: str(len(c.viewers.all))),
    "users": ("USERS", _users),
    "host": ("HOST", lambda s, c: c.host or "-"),
    "since": ("SINCE", lambda s, c: local_time(c.since) if c.since else "-"),
    "uuid": ("VC UUID", lambda s, c: str(c.uuid)),
    "port": ("PORT", lambda s, c: visible(c.port)),
    "bios": ("BIOS UUID", lambda s, c: str(c.bios_uuid or "-")),
    "location": ("LOCATION UUID", lambda s, c: str(c.location_uuid or "-")),
    "uri": ("SERVICE URI", lambda s, c: visible(c.uri)),
    "far": ("FAR END", lambda s, c: far_line(c.remote) if c.remote is not None else "-"),
    "serial": ("SERIAL", lambda s, c: c.settings or "-"),
    "out": ("OUT", lambda s, c: human_bytes(c.bytes_out)),
    "in": ("IN", lambda s, c: human_bytes(c.bytes_in)),
    "log": ("LOG", _log),
    "rights": ("RIGHTS", _rights),
}
_USUAL = ("name", "alias", "state", "writer", "viewers")
_FORMS: dict[str, tuple[str, ...]] = {
    "-u": ("name", "state", "users"),
    "-x": ("name", "host", "uri", "serial"),
}


async def list_(session: Session, words: list[str]) -> int:
    """``list [GLOB...] [-c COLUMNS] [-u|-w|-i|-x] [--json]``"""
    args = read_args(words, ("--json", "-u", "-w", "-i", "-x"), ("-c", "--columns"))
    if len(args.flags & {"-u", "-w", "-i", "-x"}) + bool(args.values) > 1:
        raise BadCommand("give one of -c, -u, -w, -i and -x")
    if "-w" in args.flags:
        return await list_people(session, args.rest, "--json" in args.flags)
    columns: Sequence[str] = _USUAL
    for form in args.flags & _FORMS.keys():
        columns = _FORMS[form]
    for text in args.values.values():
        columns = [word.strip() for word in text.split(",")]
        for word in columns:
            if word not in COLUMNS:
                raise BadCommand(f"{visible(word)}: no such column; there are {', '.join(COLUMNS)}")
        if len(columns) > len(COLUMNS):
            raise BadCommand("name each column once")
    json_wanted = "--json" in args.flags
    consoles = await chosen(session, args.rest)
    if json_wanted:
        await print_all(session, json_array(as_json(session, c) for c in consoles))
    elif "-i" in args.flags:
        await print_all(session, (_line(session, c) for c in consoles))
    elif not consoles:
        session.print(f"no consoles are known yet ({clock_time(now(session))})\n")
    else:
        await print_table(session, consoles, columns)
    return exit_status.OK


async def print_table(session: Session, consoles: list[Console], columns: Sequence[str] = _USUAL) -> None:
    """Print consoles as a table."""
    cells = [COLUMNS[column][1] for column in columns[:-1]]
    widths = [len(COLUMNS[column][0]) for column in columns]
    for count, console in enumerate(consoles, 1):
        for n, cell in enumerate(cells):
            widths[n] = max(widths[n], len(cell(session, console)))
        if count % SLICE == 0:
            await pause(session)

    def rows() -> Iterator[str]:
        yield row([COLUMNS[column][0] for column in columns], widths)
        for console in consoles:
            yield row([COLUMNS[column][1](session, console) for column in columns], widths)

    await print_all(session, rows())


def row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """A line of a table; the last cell is as wide as it is."""
    padded = (cell.ljust(width) for cell, width in zip(cells[:-1], widths, strict=False))
    return "  ".join([*padded, cells[-1]]) + "\n"


def json_array(values: Iterator[dict[str, object]]) -> Iterator[str]:
    """A JSON array, an element a line."""
    separator = "[\n"
    for value in values:
        yield separator + json.dumps(value)
        separator = ",\n"
    yield "\n]\n" if separator != "[\n" else "[]\n"


def _line(session: Session, c: Console) -> str:
    fields = (
        c.title,
        session.operator.view.alias(c),
        str(c.uuid),
        c.port,
        c.state,
        timestamp(c.since) if c.since else "",
        c.host,
        c.settings,
        ",".join(writer.who for writer in c.write_access.writers),
        str(len(c.viewers.all)),
        log_file(session, c),
    )
    safe = (visible(text, 4096).replace("%", "%25").replace(":", "%3A") for text in fields)
    return ":".join(safe) + "\n"


def as_json(session: Session, c: Console) -> dict[str, object]:
    """What scripts are told of a console."""
    view = session.operator.view
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
        "far_end": _far(c.remote) if c.remote is not None else None,
        "bytes_out": c.bytes_out,
        "bytes_in": c.bytes_in,
        "log": log_file(session, c),
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


def _far(far: IRemoteEnd) -> dict[str, object]:
    return {
        "to": far.place,
        "state": far.state,
        "since": timestamp(far.since),
        "address": far.address or None,
        "reason": far.reason or None,
        "again": timestamp(far.again) if far.again else None,
    }


async def status(session: Session, words: list[str]) -> int:
    """``status NAME [--json]``"""
    args = read_args(words, ("--json",))
    console = find(session, target_of(session, args.rest))
    size = await console.log.settled()
    if "--json" in args.flags:
        session.print(json.dumps({**as_json(session, console), "log_size": size}, indent=1) + "\n")
    else:
        lines = describe(console, session.operator.view, now(session))
        session.print("".join(f"{line}\n" for line in [*lines, f"log size: {human_bytes(size)}"]))
    return exit_status.OK


_LIST_HELP = f"""\
GLOB        a name with * and ?, or uuid:GLOB, or query:GLOB (of the service URI), as in the access rules
-c COLUMNS  with commas: {", ".join(list(COLUMNS)[:9])},
            {", ".join(list(COLUMNS)[9:])}
-u          state and users       -w  who is on them, like `who'
-x          host, service URI and serial parameters
-i          for machines: name:alias:uuid:port:state:since:host:serial:writers:viewers:log, with %3A for a colon
--json      everything
"""

COMMANDS = [
    Command("list", "[GLOB...] [-c COLUMNS] [-u|-w|-x|-i] [--json]", "the consoles", list_, _LIST_HELP),
    Command("status", "NAME [--json]", "everything about one", status),
    Command("info", "NAME [--json]", "everything about one", status, hidden=True),
]
