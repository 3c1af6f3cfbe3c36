"""``alerts`` and ``ack``: what watches have told, and that somebody knows of it.

A follower is told of an alert as it comes; what waits for a client that does not read is bounded, and what does not fit
is counted.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator

from vmproxy.access.policy import Right
from vmproxy.alerts.alert import NOTE_LIMIT, Alert
from vmproxy.alerts.watch import Severity
from vmproxy.base.sanitize import visible
from vmproxy.operators import exit_status
from vmproxy.operators.alert_choice import acknowledge, alert_of, alerts_of, key_of, may
from vmproxy.operators.commands.context import chosen, find, in_turns, print_all, selectors, sleep
from vmproxy.operators.commands.declaration import (
    GLOBS,
    JSON,
    SINCE,
    Arguments,
    Command,
    Flag,
    Option,
    Text,
    Whole,
)
from vmproxy.operators.commands.errors import CommandError, UsageError
from vmproxy.operators.messages import local_time
from vmproxy.operators.presentation import json_array
from vmproxy.operators.session import Session, tell
from vmproxy.operators.terminal.colour import has_colours, name_style

FOLLOW_SECONDS = 0.5
QUEUE_LIMIT = 10_000

_STYLES = {Severity.CRITICAL: "1;31", Severity.WARNING: "33", Severity.INFO: "2"}
_FOLLOW = Flag("-f", "follow: show alerts as they come, and acknowledgements")
_ALL = Flag("-a", "those too that somebody has acknowledged")
_ITSELF = Flag("--itself", "those about vmproxy itself")
_NUMBER = Option("--alert", "N", Whole(1, 999_999_999), "the alert with this number")
_NOTE = Option("--note", "TEXT", Text(NOTE_LIMIT), "a note, for those who look at it later")


async def _keys(session: Session, globs: list[str], right: Right) -> set[tuple[object, str]] | None:
    """The consoles that globs choose; None for all."""
    words: list[str] = list(globs)
    if not words and session.operator.target is not None:
        return {key_of(find(session, session.operator.target, right))}
    return {key_of(console) for console in await chosen(session, words, right)} if words else None


async def _alerts(session: Session, args: Arguments) -> int:
    since, as_json = args[SINCE], JSON in args
    keys = await _keys(session, args[GLOBS], args.right)
    everything = _ALL in args or since is not None
    globs = selectors(args[GLOBS])
    coming: deque[Alert] = deque()
    book = session.services.alerts.book
    skipped = 0

    def follow(alert: Alert) -> None:
        nonlocal skipped
        if len(coming) < QUEUE_LIMIT:
            coming.append(alert)
        else:
            skipped += 1

    def wanted(alert: Alert) -> bool:
        if not may(session, alert, Right.SPY):
            return False
        if keys is not None and alert.key not in keys and is_of_newcomer(alert):
            keys.add(alert.key)
        return keys is None or alert.key in keys

    def is_of_newcomer(alert: Alert) -> bool:
        console = session.services.alerts.console_of(alert)
        return console is not None and any(glob.selects(console) for glob in globs)

    if _FOLLOW in args:
        book.followers.add(follow)
    try:
        found = await alerts_of(session, keys, everything, since)
        if as_json and _FOLLOW not in args:
            await print_all(session, json_array(alert.fields() for alert in found))
            return exit_status.OK
        await print_all(session, _shown(session, found, as_json))
        if not found and _FOLLOW not in args:
            session.print(f"no alerts{'' if everything else ' that nobody has acknowledged'}\n")
        while _FOLLOW in args and not session.over and await session.when_drained():
            await sleep(session, FOLLOW_SECONDS)
            come, missed, skipped = list(coming), skipped, 0
            coming.clear()
            come = [alert async for alert in in_turns(session, come) if wanted(alert)]
            await print_all(session, _shown(session, come, as_json))
            if missed:
                tell(session, f"[-- {missed} alerts skipped: your connection is too slow --]")
    finally:
        book.followers.discard(follow)
    return exit_status.OK


def _shown(session: Session, alerts: Iterable[Alert], as_json: bool) -> Iterator[str]:
    colours = has_colours(session)
    for alert in alerts:
        if as_json:
            yield json.dumps(alert.fields()) + "\n"
            continue
        ack = alert.acknowledged
        again = f"  (and {alert.repeated:,} lines before)" if alert.repeated else ""
        name, severity = alert.console or "vmproxy", alert.severity.value
        if colours:
            severity = f"\x1b[{_STYLES[alert.severity]}m{severity}\x1b[m"
            name = f"\x1b[{name_style(name)}m{name}\x1b[m"
        yield f"{local_time(alert.at)}  {alert.number}  {severity}  {name}  {alert.watch}  {alert.line}{again}\n"
        if ack is not None:
            note = f": {visible(ack.note, NOTE_LIMIT)}" if ack.note else ""
            yield f"    acknowledged by {ack.who} {local_time(ack.at)}{note}\n"


async def _ack(session: Session, args: Arguments) -> int:
    number, note = args[_NUMBER], args.get(_NOTE, "")
    itself = _ITSELF in args
    if number is None and not args[GLOBS] and not itself and session.operator.target is None:
        raise UsageError(f"which alerts? give names of consoles, {_NUMBER} N, or {_ITSELF}")
    if number is not None and (args[GLOBS] or itself):
        raise UsageError(f"{_NUMBER} names one alert; leave out the rest")
    if number is not None:
        alert = alert_of(session, number)
        if alert is None:
            raise CommandError(f"{number}: no such alert")
        found = [alert]
    else:
        keys = set() if itself and not args[GLOBS] else await _keys(session, args[GLOBS], Right.SPY) or set()
        found = [
            alert
            async for alert in in_turns(session, await alerts_of(session, None))
            if alert.key in keys or (itself and alert.uuid is None)
        ]
    done = await acknowledge(session, found, note)
    session.print(f"{done} acknowledged\n" if done else "there was nothing to acknowledge\n")
    return exit_status.OK


COMMANDS = (
    Command(
        "alerts",
        "show alerts, and follow them",
        _alerts,
        (GLOBS, _ALL, SINCE, _FOLLOW, JSON),
        Right.SPY,
        notes="Those that nobody has acknowledged; with --since, all since then.\n"
        "Those about vmproxy itself are for administrators who see all consoles.\n",
    ),
    Command("ack", "acknowledge alerts", _ack, (GLOBS, _NUMBER, _ITSELF, _NOTE), Right.WRITE),
)
