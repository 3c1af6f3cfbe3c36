"""``replay`` and ``record``: a console's past at the pace at which it came, here or in asciinema."""

from __future__ import annotations

from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.log.asciicast import cast
from vmproxy.log.timeline import Timeline
from vmproxy.log.timing import paced
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import Args, Command, find, read_args, sleep, target_of, tell
from vmproxy.operators.commands.log_reading import open_log, print_pieces, taken, when_or_none
from vmproxy.operators.commands.standing import still
from vmproxy.operators.session import Session

SPEED_LIMIT = 1_000_000.0
LARGEST_TERMINAL = 1000
SHORTEST_WAIT = 0.002


def _wanted(session: Session, args: Args) -> tuple[Console, float | None, float | None]:
    target = target_of(session, args.rest)
    since = when_or_none(session, args.values.get("--since"))
    until = when_or_none(session, args.values.get("--until"))
    console = find(session, target, Right.SPY, "look at what it says")
    session.operator.audit("log-read", console=console.title, uuid=str(console.uuid))
    return console, since, until


async def replay(session: Session, words: list[str]) -> int:
    """``replay NAME [--since T] [--until T] [--speed N]``"""
    args = read_args(words, values=("--since", "--until", "--speed"))
    speed = args.real("--speed", 0.01, SPEED_LIMIT) or 1.0
    console, since, until = _wanted(session, args)
    with await open_log(session, console, since=since) as opened:
        reading = opened.reading(lambda: paced(Timeline(opened.files, since, until).pieces(), speed))
        if session.has_pty:
            tell(session, f"[-- replay of {console.title}; ^C ends it --]")
        owed = 0.0
        while batch := await reading.batch():
            for wait, data in batch:
                owed += wait
                if owed >= SHORTEST_WAIT:
                    await sleep(session, owed)
                    owed = 0.0
                still(session, console)
                session.send(data)
                if not await taken(session):
                    return exit_status.FAILED
        if session.has_pty:
            tell(session, "\n[-- end of the replay --]")
        return opened.problems()


async def record(session: Session, words: list[str]) -> int:
    """``record NAME [--since T] [--until T] [--width N] [--height N]``"""
    args = read_args(words, values=("--since", "--until", "--width", "--height"))
    width = args.number("--width", 1, LARGEST_TERMINAL) or 80
    height = args.number("--height", 1, LARGEST_TERMINAL) or 24
    console, since, until = _wanted(session, args)
    with await open_log(session, console, since=since) as opened:
        items = Timeline(opened.files, since, until).items
        reading = opened.reading(lambda: cast(items(), console.title, width, height))
        await print_pieces(session, console, reading)
        return opened.problems()


COMMANDS = [
    Command(
        "replay",
        "NAME [--since T] [--until T] [--speed N]",
        "play its log at the pace at which it came",
        replay,
        "N: how much faster, 0.01 to 1000000. Silence is cut to two seconds. T: as with `log'.\n",
    ),
    Command(
        "record",
        "NAME [--since T] [--until T] [--width N] [--height N]",
        "a recording for asciinema, on stdout",
        record,
        "asciicast version 2: `ssh ... record web01 --since 1h > x.cast', `asciinema play x.cast'. T: as with `log'.\n"
        "Nobody knows how large the VM's terminal is: 80x24 where you do not say.\n",
    ),
]
