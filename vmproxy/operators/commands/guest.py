"""``guest``: logins for people without an account, for one console and a while.

Who administers a console may let guests in, see who there are, and revoke them. Everybody sees and revokes their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from vmproxy.access.policy import Right
from vmproxy.auth.guests import LOGINS_LIMIT, LONGEST, Guest, GuestList
from vmproxy.base.sanitize import human_span, visible
from vmproxy.base.timeparse import BadTime, parse_when
from vmproxy.console.console import Console
from vmproxy.errors import VMProxyError
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import find, in_turns, must_be_exact, now, print_all, table_row
from vmproxy.operators.commands.declaration import (
    JSON,
    Argument,
    Arguments,
    Command,
    Flag,
    Option,
    Takes,
    Text,
    Whole,
)
from vmproxy.operators.commands.errors import CommandError, UsageError
from vmproxy.operators.messages import local_time
from vmproxy.operators.reach import ssh_line
from vmproxy.operators.session import Session
from vmproxy.operators.target import parse
from vmproxy.operators.terminal.width import cells

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class _Span:
    """A span of time, as seconds."""

    def read(self, option: str, text: str, now: float) -> float:
        try:
            seconds = now - parse_when(text, now) if any(c in text for c in "wdhms") else 0.0
        except BadTime:
            seconds = 0.0
        if not 0 < seconds <= LONGEST + 1:
            raise UsageError(f"{option} needs a span such as 30m, 1h or 2d, {LONGEST / 86400:g}d at most")
        return seconds


_NAME: Argument[list[str]] = Argument(
    "NAME", Takes.LIST, "the console; without it, list the guests", completes="console"
)
_READ_ONLY = Flag("--ro", "read-only; else the guest may write")
_FOR = Option("--for", "SPAN", _Span(), "how long, default 1h; sessions end then")
_LOGINS = Option("--logins", "N", Whole(1, LOGINS_LIMIT), "how many logins, default 1")
_REVOKE = Option("--revoke", "GUEST", Text(64), "let a guest in no more, and disconnect them")


async def _guest(session: Session, args: Arguments) -> int:
    guests = session.services.guests
    if guests is None or session.operator.account.behalf:
        raise CommandError("you may not let guests in", exit_status.FORBIDDEN)
    name = " ".join(args[_NAME])
    if _REVOKE in args:
        if name:
            raise UsageError(f"{_REVOKE} takes the name of a guest, and nothing else")
        return await _revoke(session, guests, args.get(_REVOKE, ""))
    if not name:
        return await _list(session, guests, JSON in args)
    target = parse(name)
    console = find(session, target, Right.ADMIN)
    must_be_exact(session, target, console, "guest")
    may = Right.SPY if _READ_ONLY in args else Right.WRITE
    guest, secret = await guests.make(
        session.operator.name,
        may.closure(),
        f"uuid:{console.uuid}",
        console.port,
        args.get(_FOR, HOUR),
        args.get(_LOGINS, 1),
    )
    session.operator.audit(
        "guest",
        console=console.title,
        uuid=str(console.uuid),
        guest=guest.name,
        mode="write" if may is Right.WRITE else "spy",
        until=local_time(guest.expires),
        logins=guest.logins,
    )
    line = ssh_line(session, console, guest.name)
    if JSON in args:
        session.print(json.dumps({**_fields(guest, console), "password": secret, "ssh": line}) + "\n")
        return exit_status.OK
    logins = "once" if guest.logins == 1 else f"{guest.logins} times"
    session.print(
        f"{line}\n"
        f"password: {secret}\n"
        f"{guest.name} may {'read' if may is Right.SPY else 'write to'} {console.title} and nothing else, and log in"
        f" {logins}, until {local_time(guest.expires)}.\n"
        f"The password is shown only now. `guest --revoke {guest.name}' ends it.\n"
    )
    return exit_status.OK


async def _revoke(session: Session, guests: GuestList, name: str) -> int:
    guest = guests.find(name)
    if guest is None or not _concerns(session, guest):
        raise CommandError(f"{visible(name)}: no such guest", exit_status.NO_SUCH_CONSOLE)
    session.operator.audit("guest-revoked", guest=guest.name, by=guest.operator)
    await guests.revoke([guest.name])
    session.print(f"{guest.name} is revoked\n")
    return exit_status.OK


async def _list(session: Session, guests: GuestList, as_json: bool) -> int:
    found: list[tuple[Guest, Console | None]] = []
    async for guest in in_turns(session, guests):
        if _concerns(session, guest):
            found.append((guest, _console(session, guest)))
    if as_json:
        await print_all(session, (json.dumps(_fields(guest, console)) + "\n" for guest, console in found))
    elif not found:
        session.print("no guests\n")
    else:
        await print_all(session, _table(session, found))
    return exit_status.OK


def _table(session: Session, found: list[tuple[Guest, Console | None]]) -> Iterator[str]:
    rows = [("GUEST", "CONSOLE", "MODE", "LOGINS LEFT", "ENDS IN", "BY")]
    at = now(session)
    for guest, console in found:
        title = "-" if console is None else console.title
        left = human_span(guest.expires - at)
        rows.append((guest.name, title, _mode(guest), str(guest.logins), left, guest.operator))
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    return (table_row(row, widths) for row in rows)


def _mode(guest: Guest) -> str:
    return "write" if Right.WRITE.words[0] in guest.may else "spy"


def _console(session: Session, guest: Guest) -> Console | None:
    """The console of a guest, if it is there and the operator may see it."""
    with suppress(VMProxyError):
        return session.operator.view.find(guest.on.removeprefix("uuid:"), guest.port)
    return None


def _concerns(session: Session, guest: Guest) -> bool:
    if guest.operator == session.operator.name:
        return True
    console = _console(session, guest)
    return console is not None and session.operator.view.may(console, Right.ADMIN)


def _fields(guest: Guest, console: Console | None) -> dict[str, object]:
    return {
        "guest": guest.name,
        "console": None if console is None else console.title,
        "uuid": guest.on.removeprefix("uuid:"),
        "port": guest.port,
        "mode": _mode(guest),
        "by": guest.operator,
        "created": guest.created,
        "expires": guest.expires,
        "logins_left": guest.logins,
    }


COMMANDS = (
    Command(
        "guest",
        "let a guest in to one console for a while",
        _guest,
        (_NAME, _READ_ONLY, _FOR, _LOGINS, _REVOKE, JSON),
        Right.ADMIN,
        notes="Prints a password once, and the line for ssh. Without NAME: which there are.\n",
    ),
)
