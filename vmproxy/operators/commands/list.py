"""``list`` and ``status``: consoles as a table, in conserver's forms, and as JSON.

There may be 16,000 consoles and a client that does not read. A row is made when the client takes it, and after every
few hundred rows other work has a turn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vmproxy.access.policy import Right
from vmproxy.base.nearest import did_you_mean
from vmproxy.base.sanitize import human_bytes, visible
from vmproxy.base.turns import sort_steps
from vmproxy.console.console import Console
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import chosen, find, in_turns, now, print_all, sleep, table_row
from vmproxy.operators.commands.declaration import GLOBS, JSON, NAME, Arguments, Command, Flag, Option
from vmproxy.operators.commands.errors import UsageError
from vmproxy.operators.commands.users import print_users
from vmproxy.operators.messages import clock_time, far_line, local_time, state_line
from vmproxy.operators.presentation import console_fields, describe, json_array, log_file, machine_line, shown
from vmproxy.operators.session import Session
from vmproxy.operators.terminal.width import cells, cut
from vmproxy.operators.visible import VisibleConsoles

T = TypeVar("T")
NAMED = 10  # operators in a cell
Cell = Callable[[VisibleConsoles, Console, float], str]


def _users(c: Console) -> str:
    return ", ".join(f"{v.who}{'' if c.write_access.writes(v) else ' (spy)'}" for v in c.watchers[:NAMED]) or "<none>"


def _writers(c: Console) -> str:
    # Each row of a table is as wide as the widest.
    more = f", and {len(c.writers) - NAMED} more" if len(c.writers) > NAMED else ""
    return ", ".join(writer.who for writer in c.writers[:NAMED]) + more or "-"


def _log(view: VisibleConsoles, c: Console) -> str:
    if c.logging and not c.log.problem:
        return log_file(c, view)
    return f"{log_file(c, view)} (NOT being recorded: {c.log.problem or 'turned off'})"


COLUMNS: dict[str, tuple[str, Cell]] = {
    "name": ("NAME", lambda view, c, now: c.title),
    "alias": ("SSH NAME", lambda view, c, now: view.alias(c)),
    "state": ("STATE", lambda view, c, now: state_line(c, now, with_reason=False)),
    "reason": ("REASON", lambda view, c, now: visible(c.reason) if c.state == "down" and c.reason else "-"),
    "writer": ("WRITER", lambda view, c, now: _writers(c)),
    "viewers": ("VIEWERS", lambda view, c, now: str(len(c.watchers))),
    "users": ("USERS", lambda view, c, now: _users(c)),
    "host": ("HOST", lambda view, c, now: c.host or "-"),
    "since": ("SINCE", lambda view, c, now: local_time(c.since) if c.since else "-"),
    "uuid": ("VC UUID", lambda view, c, now: str(c.uuid)),
    "port": ("PORT", lambda view, c, now: visible(c.port)),
    "tls": ("TLS", lambda view, c, now: "-" if c.link is None else "yes" if c.link.encrypted else "no"),
    "bios": ("BIOS UUID", lambda view, c, now: str(c.bios_uuid or "-")),
    "location": ("LOCATION UUID", lambda view, c, now: str(c.location_uuid or "-")),
    "uri": ("SERVICE URI", lambda view, c, now: visible(c.uri)),
    "far": ("FAR END", lambda view, c, now: far_line(c.remote) if c.remote is not None else "-"),
    "serial": ("SERIAL", lambda view, c, now: c.settings or "-"),
    "out": ("OUT", lambda view, c, now: human_bytes(c.bytes_out)),
    "in": ("IN", lambda view, c, now: human_bytes(c.bytes_in)),
    "log": ("LOG", lambda view, c, now: _log(view, c)),
    "labels": ("LABELS", lambda view, c, now: str(c.labels) or "-"),
    "alerts": ("ALERTS", lambda view, c, now: str(view.alerts(c)) or "-"),
    "rights": ("RIGHTS", lambda view, c, now: ",".join(view.rights(c).words)),
}
_NUMBERS: dict[str, Callable[[Console], float]] = {
    "viewers": lambda c: len(c.watchers),
    "since": lambda c: c.since,
    "out": lambda c: c.bytes_out,
    "in": lambda c: c.bytes_in,
}
"""Columns that are sorted by a number, the greatest first."""
_LEAST = 8  # columns that a cell keeps where a table does not fit
WATCH_SECONDS = 2.0
_USUAL = ("name", "alias", "state", "writer", "viewers")
_REPEATED = {"alias": "name"}
"""Columns that are left out of the usual list where each row would repeat another column."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """A list of columns, separated by commas."""

    def read(self, option: str, text: str, now: float) -> tuple[str, ...]:
        columns = tuple(word.strip() for word in text.split(","))
        for word in columns:
            if word not in COLUMNS:
                near = did_you_mean(word, COLUMNS) or f"; there are {', '.join(COLUMNS)}"
                raise UsageError(f"{visible(word)}: no such column{near}")
        if len(columns) > len(COLUMNS):
            raise UsageError("name each column once")
        return columns


@dataclass(frozen=True, slots=True)
class _Column:
    """The name of a column."""

    def read(self, option: str, text: str, now: float) -> str:
        return _Columns().read(option, text.strip(), now)[0]


STATES = ("up", "down", "migrating")


@dataclass(frozen=True, slots=True)
class _States:
    """A list of states, separated by commas."""

    def read(self, option: str, text: str, now: float) -> frozenset[str]:
        words = frozenset(word.strip().casefold() for word in text.split(","))
        if wrong := words.difference(STATES):
            near = did_you_mean(min(wrong), STATES) or f"; there are {', '.join(STATES)}"
            raise UsageError(f"{visible(min(wrong))}: no such state{near}")
        return words


_STATE = Option("--state", "STATES", _States(), f"only those in these states: {', '.join(STATES)}, or several", "-s")
_COLUMNS = Option("-c", "COLUMNS", _Columns(), f"separated by commas: {', '.join(COLUMNS)}", "--columns", group="form")
_SORT = Option("--sort", "COLUMN", _Column(), "in the order of a column; times and numbers: the greatest first")
_WIDE = Flag("--wide", "nothing is cut to fit the terminal")
_WATCH = Flag("--watch", "every two seconds anew, until ^C")
USERS = Flag("-u", "name, state and users", "form")
WHO = Flag("-w", "the same as `who'", "form")
EXTENDED = Flag("-x", "name, host, TLS, service URI and serial parameters", "form")
MACHINE = Flag(
    "-i",
    "for machines: name:alias:uuid:port:state:since:host:serial:writers:viewers:log, with %3A for a colon",
    "form",
)
_FORMS = {USERS: ("name", "state", "users"), EXTENDED: ("name", "host", "tls", "uri", "serial")}


def no_consoles(session: Session) -> str:
    """What to do while there is no console."""
    lines = [f"no consoles are known yet ({clock_time(now(session))})", *to_connect(session)]
    return "".join(f"{line}\n" for line in lines)


def to_connect(session: Session) -> list[str]:
    """How VMs are connected, and whether hosts were refused, lines for people."""
    lines = list(session.services.to_connect())
    view = session.operator.view
    if view.administers and view.all_seen and (refused := session.services.refused()):
        lines.append(
            f"{sum(one.times for one in refused)} connections refused, the newest of {refused[0].who}: `refused'"
        )
    return lines


async def _list(session: Session, args: Arguments) -> int:
    if WHO in args:
        if _STATE in args:
            raise UsageError(f"{WHO} and {_STATE} together make no sense")
        return await print_users(session, args[GLOBS], JSON in args)
    if _WATCH in args:
        if not session.has_pty or JSON in args or MACHINE in args:
            raise UsageError(f"{_WATCH} is for people at a terminal: ssh -t")
        return await _watch(session, args)
    return await _list_once(session, args)


async def _watch(session: Session, args: Arguments) -> int:
    """Print the list again and again, as much of it as fits the screen."""
    while True:
        session.send(b"\x1b[H\x1b[2J\x1b[?7l")  # what is too wide does not take two lines
        try:
            await _list_once(session, args, max(1, session.size[1] - 2))
        finally:
            session.send(b"\x1b[?7h")
        if not await session.when_drained():
            return exit_status.OK
        await sleep(session, WATCH_SECONDS)


async def _list_once(session: Session, args: Arguments, most: int | None = None) -> int:
    """Print the list.

    :param most: rows at most, with that which says how many more there are; None for all.
    """
    states = args.get(_STATE, frozenset(STATES))
    columns: Sequence[str] = args.get(_COLUMNS, _USUAL)
    for flag, of_form in _FORMS.items():
        if flag in args:
            columns = of_form
    known = await chosen(session, args[GLOBS])
    consoles = [console for console in known if console.state in states]
    view = session.operator.view
    if _SORT in args:
        key = _sort_key(args.get(_SORT, ""), view, now(session))
        async for _ in in_turns(session, sort_steps(consoles, key)):
            pass
    if JSON in args:
        await print_all(session, json_array(_while_seen(consoles, view, lambda c: console_fields(shown(c, view)))))
    elif MACHINE in args:
        await print_all(
            session, (row or "" for row in _while_seen(consoles, view, lambda c: machine_line(shown(c, view))))
        )
    elif known and not consoles:
        session.print(f"none of {len(known):,} consoles is {' or '.join(sorted(states))}\n")
    elif not consoles:
        session.print(no_consoles(session))
    else:
        if columns is _USUAL and await _any_alerts(session, consoles):
            columns = (*_USUAL, "alerts")
        fits = session.has_pty and _WIDE not in args
        shown_ones = consoles if most is None or len(consoles) <= most else consoles[: most - 1]
        await print_table(session, shown_ones, columns, session.size[0] if fits else 0)
        if len(shown_ones) < len(consoles):
            session.print(f"and {len(consoles) - len(shown_ones):,} more\n")
    return exit_status.OK


def _while_seen(consoles: list[Console], view: VisibleConsoles, row: Callable[[Console], T]) -> Iterator[T | None]:
    """Rows; None for what is hidden by now: a client takes its time to read them, and the rules may change."""
    return (row(console) if console in view else None for console in consoles)


def _sort_key(column: str, view: VisibleConsoles, at: float) -> Callable[[Console], tuple[float, str]]:
    if number := _NUMBERS.get(column):
        return lambda c: (-number(c), "")
    if column == "alerts":
        weights = (1_000_000, 1000, 1)
        return lambda c: (-sum(n * min(m, 999) for n, m in zip(weights, view.alerts(c), strict=True)), "")
    cell = COLUMNS[column][1]
    return lambda c: (0, cell(view, c, at).casefold())


def _fit(widths: dict[str, int], room: int) -> dict[str, int]:
    """Widths of columns that fit a line: the widest ones give way, down to :data:`_LEAST`."""
    over = sum(widths.values()) + 2 * (len(widths) - 1) - room
    fitting = dict(widths)
    while over > 0:
        widest = max(fitting, key=lambda column: fitting[column])
        if fitting[widest] <= _LEAST:
            break
        fitting[widest] -= 1
        over -= 1
    return fitting


async def _any_alerts(session: Session, consoles: list[Console]) -> bool:
    async for console in in_turns(session, consoles):
        if session.operator.view.alerts(console).total:
            return True
    return False


async def print_table(
    session: Session, consoles: list[Console], columns: Sequence[str] = _USUAL, width: int = 0
) -> None:
    """Print consoles as a table.

    :param width: columns that a line has; 0 for any number.
    """
    view, at = session.operator.view, now(session)
    made = {column: COLUMNS[column][1] for column in columns}
    widths = {column: len(COLUMNS[column][0]) for column in columns}
    repeated = {column: other for column, other in _REPEATED.items() if columns is _USUAL}
    async for console in in_turns(session, consoles):
        row = {column: cell(view, console, at) for column, cell in made.items()}
        for column, text in row.items():
            widths[column] = max(widths[column], cells(text))
        repeated = {column: other for column, other in repeated.items() if row[column] == row[other]}
    shown = [column for column in columns if column not in repeated]
    fitting = {column: widths[column] for column in shown}
    if width:
        fitting = _fit(fitting, width)

    def rows() -> Iterator[str]:
        sizes = [fitting[column] for column in shown]
        yield table_row([COLUMNS[column][0] for column in shown], sizes)
        for texts in _while_seen(consoles, view, lambda c: [made[column](view, c, at) for column in shown]):
            if width and texts:
                texts = [cut(text, size) for text, size in zip(texts, sizes, strict=True)]
            yield table_row(texts, sizes) if texts else ""

    await print_all(session, rows())


async def _status(session: Session, args: Arguments) -> int:
    console = find(session, args[NAME])
    view = session.operator.view
    size = await console.log.settled()
    if JSON in args:
        session.print(json.dumps({**console_fields(shown(console, view)), "log_size": size}, indent=1) + "\n")
    else:
        session.print("".join(f"{line}\n" for line in describe(console, view, now(session), size)))
    return exit_status.OK


COMMANDS = (
    Command(
        "list",
        "list the consoles",
        _list,
        (GLOBS, _STATE, _COLUMNS, _SORT, _WIDE, _WATCH, USERS, WHO, EXTENDED, MACHINE, JSON),
        Right.SEE,
        ("ls",),
    ),
    Command("status", "show everything about one console", _status, (NAME, JSON), Right.SEE, ("info",)),
)
