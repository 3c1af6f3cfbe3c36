"""``events``: past events of consoles, and new ones as they happen, shown once a second."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import visible
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import chosen_or_own, print_all, sleep
from vmproxy.operators.commands.declaration import GLOBS, JSON, SINCE, Arguments, Command, Flag, Option, Whole
from vmproxy.operators.event_reading import (
    EVENTS,
    EVENTS_LIMIT,
    EVENTS_SINCE,
    FOLLOW_SECONDS,
    ConsoleEvent,
    EventStream,
    newest,
)
from vmproxy.operators.messages import local_time
from vmproxy.operators.session import Session, tell

_MOST = Option(
    "-n",
    "N",
    Whole(0, EVENTS_LIMIT),
    f"the last N; default {EVENTS}, {EVENTS_SINCE} with --since; at most {EVENTS_LIMIT}",
)
_FOLLOW = Flag("-f", "follow: show events as they happen")


async def _run(session: Session, args: Arguments) -> int:
    since, as_json = args[SINCE], JSON in args
    most = args.get(_MOST, EVENTS if since is None else EVENTS_SINCE)
    if _FOLLOW not in args:
        consoles = await chosen_or_own(session, args[GLOBS], args.right)
        await print_all(session, _shown(session, await newest(session, consoles, most, since), as_json))
        return exit_status.OK
    with EventStream(session, lambda: chosen_or_own(session, args[GLOBS], args.right)) as stream:
        await print_all(session, _shown(session, await stream.past(most, since), as_json))
        while not session.over and await session.when_drained():
            await sleep(session, FOLLOW_SECONDS)
            fresh, skipped = await stream.fresh()
            await print_all(session, _shown(session, fresh, as_json))
            if skipped:
                tell(session, f"[-- {skipped} events skipped: your connection is too slow --]")
    return exit_status.OK


# For people and for scripts.


def _shown(session: Session, found: Iterable[ConsoleEvent], as_json: bool) -> Iterator[str]:
    view = session.operator.view
    for event in found:
        console = event.console
        if not view.may(console, Right.SPY):
            continue  # the rules have changed
        if as_json:
            yield event.json
        else:
            fields = {k: v for k, v in event.fields.items() if k not in ("at", "offset", "event")}
            told = "  ".join(f"{visible(str(k))}={visible(_text(v), 200)}" for k, v in fields.items())
            kind = visible(str(event.fields["event"]))
            yield f"{local_time(event.at)}  {console.title}  {kind}{'  ' if told else ''}{told}\n"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


COMMANDS = (
    Command(
        "events",
        "show what happened to consoles, and follow it",
        _run,
        (GLOBS, _MOST, SINCE, _FOLLOW, JSON),
        Right.SPY,
        notes="Events: up, down, vMotion, attach, ...\n",
    ),
)
