"""``replay`` and ``record``: a console's past at the pace at which it came, here or in asciinema."""

from __future__ import annotations

from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.log.asciicast import cast
from vmproxy.log.timeline import Timeline
from vmproxy.log.timing import paced
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import find, require_right, sleep
from vmproxy.operators.commands.declaration import NAME, SINCE, UNTIL, Arguments, Command, Option, Real, Whole
from vmproxy.operators.commands.log_reading import finished, print_pieces, taken
from vmproxy.operators.log_reading import open_log
from vmproxy.operators.session import Session, tell
from vmproxy.operators.terminal.replay_filter import ReplayFilter

SPEED_LIMIT = 1_000_000.0
LARGEST_TERMINAL = 1000
SHORTEST_WAIT = 0.002


_SPEED = Option("--speed", "N", Real(0.01, SPEED_LIMIT), "how much faster, 0.01 to 1000000")
_WIDTH = Option("--width", "N", Whole(1, LARGEST_TERMINAL), "columns of the VM's terminal, default 80")
_HEIGHT = Option("--height", "N", Whole(1, LARGEST_TERMINAL), "its lines, default 24")


def _console(session: Session, args: Arguments) -> Console:
    console = find(session, args[NAME], args.right)
    session.operator.audit("log-read", console=console.title, uuid=str(console.uuid))
    return console


async def _replay(session: Session, args: Arguments) -> int:
    speed, since, until = args.get(_SPEED, 1.0), args[SINCE], args[UNTIL]
    console = _console(session, args)
    with await open_log(session, console, since=since) as opened:
        reading = opened.reading(lambda: paced(Timeline(opened.files, since, until).pieces(), speed), _size)
        if session.has_pty:
            tell(session, f"[-- replay of {console.title}; ^C ends it --]")
        past = ReplayFilter(console.options.encoding)
        owed = 0.0
        while batch := await reading.batch():
            for wait, data in batch:
                owed += wait
                if owed >= SHORTEST_WAIT:
                    await sleep(session, owed)
                    owed = 0.0
                require_right(session, console)
                session.send(past.feed(data) if session.has_pty else data)
                if not await taken(session):
                    return exit_status.FAILED
        if session.has_pty:
            session.send(past.end())
            tell(session, "\n[-- end of the replay --]")
        return finished(session, opened)


def _size(item: tuple[float, bytes]) -> int:
    return len(item[1])


async def _record(session: Session, args: Arguments) -> int:
    width, height, since, until = args.get(_WIDTH, 80), args.get(_HEIGHT, 24), args[SINCE], args[UNTIL]
    console = _console(session, args)
    with await open_log(session, console, since=since) as opened:
        items = Timeline(opened.files, since, until).items
        encoding = console.options.encoding
        reading = opened.reading(lambda: cast(items(), console.title, width, height, encoding=encoding), len)
        await print_pieces(session, console, reading)
        return finished(session, opened)


COMMANDS = (
    Command(
        "replay",
        "play a log back at its original pace",
        _replay,
        (NAME, SINCE, UNTIL, _SPEED),
        Right.SPY,
        notes="Silence is cut to two seconds.\n",
    ),
    Command(
        "record",
        "make a recording for asciinema",
        _record,
        (NAME, SINCE, UNTIL, _WIDTH, _HEIGHT),
        Right.SPY,
        notes="asciicast version 2: `ssh ... record web01 --since 1h > x.cast',\n`asciinema play x.cast'.\n",
    ),
)
