"""The commands of the simulated shell: a line in, a result out. Nothing here prints, waits or keeps state."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from itertools import count as numbers

from vmproxy.sim import texts

COUNT_LIMIT = 10_000_000
_CHUNK = 50  # lines; with _PAUSE some 100 kB/s, the pace of a busy console
_PAUSE = 0.01

Pieces = Iterator[tuple[float, bytes]]
"""Output that takes its time: how long to wait before each piece, and the piece."""


class Action(Enum):
    """The effect of a command on the machine."""

    LOGOUT = auto()
    REBOOT = auto()
    PANIC = auto()
    VMOTION = auto()


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a line: text to print, pieces to print bit by bit, something to do."""

    text: str = ""
    pieces: Pieces | None = None
    action: Action | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """What commands can know.

    :ivar uptime: seconds since boot.
    :ivar now: seconds since the epoch.
    """

    name: str
    user: str
    uptime: float
    now: float


def execute(line: str, machine: Machine) -> Result:
    """Run one line. Nothing is an error here that would not be one in a shell: it is printed."""
    try:
        words = shlex.split(line)
    except ValueError:
        return Result("-bash: syntax error: unexpected end of file\n")
    if not words:
        return Result()
    command = _COMMANDS.get(words[0])
    if command is None:
        return Result(f"-bash: {words[0]}: command not found\n")
    return command(words[1:], machine)


def _help(_args: list[str], _machine: Machine) -> Result:
    return Result(texts.COMMANDS)


def _uptime(_args: list[str], machine: Machine) -> Result:
    minutes = int(machine.uptime) // 60
    up = f"{minutes // 60}:{minutes % 60:02}" if minutes >= 60 else f"{minutes} min"
    clock = datetime.fromtimestamp(machine.now, UTC)
    return Result(f" {clock:%H:%M:%S} up {up},  1 user,  load average: 0.04, 0.07, 0.02\n")


def _uname(args: list[str], machine: Machine) -> Result:
    if args and "a" in args[0]:
        return Result(f"Linux {machine.name} {texts.KERNEL} #1 SMP PREEMPT_DYNAMIC x86_64 GNU/Linux\n")
    return Result((texts.KERNEL if args[:1] == ["-r"] else "Linux") + "\n")


def _date(_args: list[str], machine: Machine) -> Result:
    return Result(f"{datetime.fromtimestamp(machine.now, UTC):%a %b %e %H:%M:%S UTC %Y}\n")


def _hostname(_args: list[str], machine: Machine) -> Result:
    return Result(machine.name + "\n")


def _whoami(_args: list[str], machine: Machine) -> Result:
    return Result(machine.user + "\n")


def _echo(args: list[str], _machine: Machine) -> Result:
    return Result(" ".join(args) + "\n")


def _dmesg(_args: list[str], _machine: Machine) -> Result:
    return Result(pieces=((0.0, line) for line in texts.kernel_log()))


def _ls(args: list[str], machine: Machine) -> Result:
    where = "/" + (args[0] if args else "/root").strip("/")
    paths = texts.files(machine.name)
    if where in paths:
        return Result(where + "\n")
    inside = where if where.endswith("/") else where + "/"
    names = {path[len(inside) :].partition("/")[0] for path in paths if path.startswith(inside)}
    if not names:
        return Result(f"ls: cannot access '{where}': No such file or directory\n")
    return Result("  ".join(sorted(names)) + "\n")


def _cat(args: list[str], machine: Machine) -> Result:
    paths = texts.files(machine.name)
    out = []
    for arg in args:
        path = arg if arg.startswith("/") else "/root/" + arg
        out.append(paths.get(path) or f"cat: {arg}: No such file or directory\n")
    return Result("".join(out))


def _count(args: list[str], _machine: Machine) -> Result:
    if len(args) != 1 or not _is_number(args[0]) or int(args[0]) > COUNT_LIMIT:
        return Result(f"usage: count N   (up to {COUNT_LIMIT})\n")
    last = int(args[0])
    return Result(pieces=_in_chunks(f"line {number} of {last}\r\n".encode() for number in range(1, last + 1)))


def _yes(args: list[str], _machine: Machine) -> Result:
    if args and not _is_number(args[0]):
        return Result("usage: yes [N]   (without N: until ^C)\n")
    return Result(pieces=_in_chunks(b"y\r\n" for _ in (range(int(args[0])) if args else numbers())))


def _clear(_args: list[str], _machine: Machine) -> Result:
    return Result("\x1b[H\x1b[2J")


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 10


def _in_chunks(lines: Iterator[bytes]) -> Pieces:
    chunk: list[bytes] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == _CHUNK:
            yield _PAUSE, b"".join(chunk)
            chunk.clear()
    yield _PAUSE, b"".join(chunk)


def _does(action: Action) -> Callable[[list[str], Machine], Result]:
    return lambda _args, _machine: Result(action=action)


_COMMANDS: dict[str, Callable[[list[str], Machine], Result]] = {
    "cat": _cat,
    "clear": _clear,
    "count": _count,
    "date": _date,
    "dmesg": _dmesg,
    "echo": _echo,
    "exit": _does(Action.LOGOUT),
    "help": _help,
    "hostname": _hostname,
    "logout": _does(Action.LOGOUT),
    "ls": _ls,
    "panic": _does(Action.PANIC),
    "reboot": _does(Action.REBOOT),
    "uname": _uname,
    "uptime": _uptime,
    "vmotion": _does(Action.VMOTION),
    "whoami": _whoami,
    "yes": _yes,
}
