"""Commands over SSH: ``list``, ``status``, ``log``, and attaching by name. For people and, with ``--json``, scripts.

Output goes to stdout, complaints to stderr, and every command ends with a real exit status.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain

from vmproxy.console.console import Console
from vmproxy.console.history import read, tail_start
from vmproxy.console.trail import timestamp
from vmproxy.errors import VMProxyError
from vmproxy.ssh import exits
from vmproxy.ssh.session import SessionChannel
from vmproxy.ssh.target import Target, parse
from vmproxy.ssh.wording import clock_time, log_name, mode, state_line
from vmproxy.text import human_bytes, visible

CHUNK = 64 * 1024
FOLLOW_LINES = 20

HELP = """\
To reach a console:
  ssh [-p PORT] NAME@HOST              NAME: a VM's name, alias, UUID, or a unique beginning of its name
  ssh [-p PORT] -t OPERATOR@HOST "NAME"  the same for names that ssh refuses as a user name
  ssh [-p PORT] -W NAME:1 OPERATOR@HOST  the raw 8-bit stream (1: the serial port)
  NAME may be followed by ,ro ,force ,quiet ,port=N ,replay=LINES
Commands:
  list [--json]                        all consoles
  status NAME [--json]                 everything about one
  log NAME [-n LINES] [-f]             its log; -f: and what comes
  console [-a|-f|-s] [-k] NAME         attach: -a read-write, -f by force, -s only look; -k: not if it is down
  help                                 this text
"""


class BadCommand(VMProxyError):
    """A command that cannot be understood; the text says why."""


Command = Callable[[SessionChannel, list[str]], Awaitable[None]]


async def run(session: SessionChannel, line: str) -> None:
    """Run a command line; an empty one attaches to the console in the user name, or shows what there is.

    :raises BadTarget: if a console is asked for in a way that means nothing.
    """
    user_target = session.target_of_user()
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()  # an apostrophe in a name is no quoting
    if not words:
        if user_target is not None:
            session.attach(user_target)
        else:
            you = f"You are {session.operator.name}. These consoles are known:\n\n"
            await _print_all(session, chain([you], _table(session), ["\n", HELP]))
        return
    command = _COMMANDS.get(words[0])
    if command is None:
        session.attach(parse(line.strip()))
        return
    try:
        await command(session, words[1:])
    except BadCommand as error:
        session.complain(f"{words[0]}: {error}", exits.USAGE)


async def _help(session: SessionChannel, args: list[str]) -> None:
    session.print(HELP)
    session.finish(exits.OK)


async def _list(session: SessionChannel, args: list[str]) -> None:
    flags, rest = _flags(args, {"--json"})
    if rest:
        raise BadCommand(f"takes no names: {' '.join(map(visible, rest))}")
    await _print_all(session, _json_rows(session) if "--json" in flags else _table(session))


async def _print_all(session: SessionChannel, lines: Iterable[str]) -> None:
    # Thousands of consoles, and a client that need not read: no more is made than it takes.
    parts: list[str] = []
    size = 0
    for line in lines:
        parts.append(line)
        size += len(line)
        if size > CHUNK:
            session.print("".join(parts))
            parts.clear()
            size = 0
            if not await session.when_drained():
                return
    session.print("".join(parts))
    session.finish(exits.OK)


async def _status(session: SessionChannel, args: list[str]) -> None:
    flags, rest = _flags(args, {"--json"})
    console = session.find(_named(session, rest))
    if console is None:
        return
    size = await console.log.settled()
    if "--json" in flags:
        session.print(json.dumps({**_as_json(session, console), "log_size": size}, indent=1) + "\n")
    else:
        now = session.front.clock.seconds()
        session.print(
            "".join(f"{line}\n" for line in [*session.front.describe(console, now), f"log size: {human_bytes(size)}"])
        )
    session.finish(exits.OK)


async def _log(session: SessionChannel, args: list[str]) -> None:
    lines: int | None = None
    follow = False
    rest: list[str] = []
    words = iter(args)
    for word in words:
        if word == "-f":
            follow = True
        elif word.startswith("-n"):
            value = word[2:] or next(words, "")
            if not (len(value) <= 9 and value.isascii() and value.isdecimal()):
                raise BadCommand("-n needs a number of lines")
            lines = int(value)
        elif word.startswith("-"):
            raise BadCommand(f"{visible(word)}: no such option; there is -f and -n LINES")
        else:
            rest.append(word)
    target = _named(session, rest)
    if follow:
        session.attach(replace(target, read_only=True, replay=FOLLOW_LINES if lines is None else lines), plain=True)
        return
    console = session.find(target)
    if console is None:
        return
    try:
        await _print_log(session, console, lines)
    except OSError as error:
        session.complain(f"{log_name(console)}: {error.strerror}", exits.FAILED)


async def _print_log(session: SessionChannel, console: Console, lines: int | None) -> None:
    path, in_thread = console.log.path, session.front.in_thread
    end = await console.log.settled()
    at = 0 if lines is None else await in_thread(lambda: tail_start(path, end, lines) if lines else end)
    while at < end:
        data = await in_thread(lambda start=at: read(path, start, min(CHUNK, end - start)))  # type: ignore[misc]
        if not data:
            break
        at += len(data)
        session.send(data)
        if not await session.when_drained():
            return
    session.finish(exits.OK)


async def _console(session: SessionChannel, args: list[str]) -> None:
    flags, rest = _flags(args, {"-a", "-f", "-s", "-k"})
    if len(flags - {"-k"}) > 1:
        raise BadCommand("give one of -a, -f and -s")
    target = _named(session, rest)
    if "-k" in flags:
        console = session.find(target)
        if console is None:
            return
        if console.state == "down":
            session.complain(f"{console.title}: {state_line(console, session.front.clock.seconds())}", exits.DOWN)
            return
    session.attach(replace(target, force=target.force or "-f" in flags, read_only=target.read_only or "-s" in flags))


_COMMANDS: dict[str, Command] = {
    "list": _list,
    "status": _status,
    "log": _log,
    "console": _console,
    "help": _help,
}


def _flags(args: list[str], known: set[str]) -> tuple[set[str], list[str]]:
    flags = {arg for arg in args if arg in known}
    for arg in args:
        if arg.startswith("-") and arg not in known:
            raise BadCommand(f"{visible(arg)}: no such option; there is {', '.join(sorted(known))}")
    return flags, [arg for arg in args if arg not in known]


def _named(session: SessionChannel, words: list[str]) -> Target:
    if words:
        return parse(" ".join(words))
    target = session.target_of_user()
    if target is None:
        raise BadCommand("which console? give its name")
    return target


def _sorted(session: SessionChannel) -> list[Console]:
    return sorted(session.front.directory, key=lambda c: (c.title.casefold(), str(c.uuid), c.port))


def _table(session: SessionChannel) -> Iterator[str]:
    now = session.front.clock.seconds()
    directory = session.front.directory
    consoles = _sorted(session)
    if not consoles:
        yield f"no consoles are known yet ({clock_time(now)})\n"
        return
    widths = [
        max(4, *(len(c.title) for c in consoles)),
        max(8, *(len(directory.alias(c)) for c in consoles)),
        max(5, *(len(state_line(c, now)) for c in consoles)),
        max(6, *(len(c.pen.writer.who) for c in consoles if c.pen.writer is not None), 0),
    ]
    yield _row(("NAME", "SSH NAME", "STATE", "WRITER", "VIEWERS"), widths)
    for c in consoles:
        writer = c.pen.writer.who if c.pen.writer is not None else "-"
        yield _row((c.title, directory.alias(c), state_line(c, now), writer, str(len(c.viewers))), widths)


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)), cells[-1]]) + "\n"


def _json_rows(session: SessionChannel) -> Iterator[str]:
    separator = "[\n"
    for console in _sorted(session):
        yield separator + json.dumps(_as_json(session, console))
        separator = ",\n"
    yield "\n]\n" if separator != "[\n" else "[]\n"


def _as_json(session: SessionChannel, c: Console) -> dict[str, object]:
    writer = c.pen.writer
    return {
        "name": c.name.encode("utf-8", "backslashreplace").decode(),
        "alias": session.front.directory.alias(c),
        "uuid": str(c.uuid),
        "port": c.port,
        "bios_uuid": str(c.bios_uuid) if c.bios_uuid else None,
        "location_uuid": str(c.location_uuid) if c.location_uuid else None,
        "service_uri": c.uri,
        "state": c.state,
        "since": timestamp(c.since) if c.since else None,
        "reason": c.reason or None,
        "host": c.host or None,
        "serial": c.settings or None,
        "bytes_out": c.bytes_out,
        "bytes_in": c.bytes_in,
        "log": str(c.log.path),
        "log_problem": c.log.problem or None,
        "writer": writer.who if writer else None,
        "viewers": [{"who": v.who, "mode": mode(c, v), "skipped": v.skipped} for v in c.viewers],
    }
