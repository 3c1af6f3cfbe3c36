"""``who``, ``whoami``, ``broadcast`` and ``kick``: the operators that are here.

An operator on a console that the asker may not see looks like one who is on none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import human_bytes, visible
from vmproxy.console.console import Console
from vmproxy.console.notices import Message, Notice
from vmproxy.log.events import timestamp
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import (
    SLICE,
    BadCommand,
    Command,
    CommandError,
    chosen,
    find,
    must_be_exact,
    now,
    pause,
    print_all,
    read_args,
    target_and,
)
from vmproxy.operators.messages import idle, local_time, mode
from vmproxy.operators.session import Session

TEXT_LIMIT = 1000


async def who(session: Session, words: list[str]) -> int:
    """``who [GLOB...] [--json]``"""
    args = read_args(words, ("--json",))
    return await list_people(session, args.rest, "--json" in args.flags)


async def list_people(session: Session, globs: list[str], as_json: bool) -> int:
    """Print who is on which console; without globs, also who is on none."""
    rows: list[dict[str, object]] = []
    table: list[tuple[str, ...]] = [("OPERATOR", "CONSOLE", "MODE", "IDLE", "SINCE", "SKIPPED")]
    at = now(session)
    seen: set[str] = set()
    for console in await chosen(session, globs):
        for viewer in console.viewers.all:
            seen.add(viewer.who)
            rows.append(
                {
                    "who": viewer.who,
                    "console": console.title,
                    "uuid": str(console.uuid),
                    "port": console.port,
                    "mode": mode(console, viewer),
                    "idle": max(0, int(at - viewer.last_input)),
                    "since": timestamp(viewer.since),
                    "skipped": viewer.skipped,
                }
            )
            skipped = human_bytes(viewer.skipped) if viewer.skipped else "-"
            table.append(
                (
                    viewer.who,
                    console.title,
                    mode(console, viewer),
                    idle(viewer, at),
                    local_time(viewer.since),
                    skipped,
                )
            )
    if not globs:
        elsewhere = {operator.who for operator, _ in session.services.presence} - seen
        for name in sorted(elsewhere):
            none = dict.fromkeys(("console", "uuid", "port", "mode", "idle", "since", "skipped"))
            rows.append({"who": name, **none})
            table.append((name, "-", "-", "-", "-", "-"))
    if as_json:
        separators = ["[\n", *([",\n"] * (len(rows) - 1))]
        lines = [s + json.dumps(r) for s, r in zip(separators, rows, strict=False)]
        await print_all(session, [*lines, "\n]\n" if rows else "[]\n"])
    elif len(table) == 1:
        session.print("nobody is there\n")
    else:
        widths = [max(len(cells[n]) for cells in table) for n in range(len(table[0]))]
        padded = ("  ".join(cell.ljust(w) for cell, w in zip(c, widths, strict=True)).rstrip() + "\n" for c in table)
        await print_all(session, padded)
    return exit_status.OK


async def whoami(session: Session, words: list[str]) -> int:
    """``whoami [--json]``"""
    args = read_args(words, ("--json",))
    if args.rest:
        raise BadCommand("takes no names")
    operator = session.operator
    counts = dict.fromkeys(Right, 0)
    for count, console in enumerate(list(session.services.registry), 1):
        rights = operator.view.rights(console)
        for right in counts:
            counts[right] += right in rights
        if count % SLICE == 0:
            await pause(session)
    words_of = {right.words[0]: number for right, number in counts.items()}
    if "--json" in args.flags:
        told = {
            "operator": operator.name,
            "groups": list(operator.groups),
            "from": operator.peer,
            "user": operator.user,
            "consoles": words_of,
        }
        session.print(json.dumps(told) + "\n")
    else:
        rights_line = ", ".join(f"{word} {number}" for word, number in words_of.items())
        session.print(
            f"operator: {visible(operator.name)}\n"
            f"groups: {', '.join(map(visible, operator.groups)) or '-'}\n"
            f"from: {operator.peer}\n"
            f"logged in as: {visible(operator.user)}\n"
            f"consoles on which you may: {rights_line}\n"
        )
    return exit_status.OK


async def broadcast(session: Session, words: list[str]) -> int:
    """``broadcast TEXT``"""
    text = " ".join(read_args(words).rest)
    if not text.strip():
        raise BadCommand("what shall be said?")
    if len(text) > TEXT_LIMIT:
        raise BadCommand(f"at most {TEXT_LIMIT} characters")
    operator = session.operator
    notice = Message(operator.who, text, to_all=True)
    everything = True
    mine: list[Console] = []
    for count, console in enumerate(list(session.services.registry), 1):
        if operator.view.may(console, Right.ADMIN):
            mine.append(console)
        else:
            everything = False
        if count % SLICE == 0:
            await pause(session)
    if not mine:
        raise CommandError("you are the administrator of no console", exit_status.FORBIDDEN)
    told = 0
    for console in mine:
        told += len(console.viewers.all)
        console.viewers.tell(notice)
    if everything:
        told += _tell_idle(session, notice)
    operator.audit("broadcast", reached=told)
    session.print(f"told: {told}\n")
    return exit_status.OK


def _tell_idle(session: Session, notice: Notice) -> int:
    # Those who are on a console have been told there.
    told = 0
    viewing = {id(viewer) for console in session.services.registry for viewer in console.viewers.all}
    for _, sessions in session.services.presence:
        for other in sessions:
            told_by = cast("Callable[[Notice], None] | None", getattr(other.activity, "notice", None))
            if other is not session and told_by is not None and id(other.activity) not in viewing:
                told_by(notice)
                told += 1
    return told


async def kick(session: Session, words: list[str]) -> int:
    """``kick NAME [OPERATOR] [--reason TEXT]``"""
    args = read_args(words, values=("--reason",))
    target, wanted = target_and(session, args.rest, "OPERATOR", optional=True)
    console = find(session, target, Right.ADMIN, "send anybody off")
    must_be_exact(session, target, console, "kick")
    reason = args.values.get("--reason", "")
    if len(reason) > TEXT_LIMIT:
        raise BadCommand(f"at most {TEXT_LIMIT} characters of a reason")
    me = session.operator.who
    others = [v for v in console.viewers.all if v.who != me and v is not console.remote]  # a far end has to be named
    going = [v for v in console.viewers.all if wanted in (v.who, v.who.rpartition("@")[0])] if wanted else others
    if not going:
        whom = visible(wanted) if wanted else "nobody else"
        raise CommandError(f"{console.title}: {whom} is {'not ' if wanted else ''}there")
    for viewer in going:
        session.operator.audit("kick", console=console.title, uuid=str(console.uuid), whom=viewer.who, reason=reason)
        console.viewers.kick(viewer, me, reason)
    session.print("".join(f"{viewer.who} is sent off {console.title}\n" for viewer in going))
    return exit_status.OK


COMMANDS = [
    Command("who", "[GLOB...] [--json]", "who is on which console", who),
    Command("whoami", "[--json]", "who you are, and what you may do", whoami),
    Command(
        "broadcast",
        "TEXT",
        "say something to everybody",
        broadcast,
        "Told on every console whose administrator you are; in the menu too if you are that of all consoles.\n",
    ),
    Command(
        "kick",
        "NAME [OPERATOR] [--reason TEXT]",
        "send somebody off a console",
        kick,
        "OPERATOR is a name, or name@address. Without it all are sent off but you.\n",
    ),
]
