"""``console`` and ``ssh-config``: getting to consoles, now and by the name that ``ssh`` itself completes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from twisted.internet.defer import Deferred

from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import (
    BadCommand,
    Command,
    CommandError,
    chosen,
    find,
    now,
    print_all,
    read_args,
    target_of,
)
from vmproxy.operators.commands.list import list_
from vmproxy.operators.commands.running import HandedOver, Running
from vmproxy.operators.messages import state_line
from vmproxy.operators.session import Session
from vmproxy.operators.target import Target

_LIST_FORMS = ("-u", "-w", "-i", "-x")
_WORD_LIMIT = 255


async def console(session: Session, words: list[str]) -> int:
    """``console [-a|-f|-s|-j] [-k] NAME``, and conserver's ``console -u|-w|-i|-x``"""
    args = read_args(words, ("-a", "-f", "-s", "-j", "-k", *_LIST_FORMS))
    if args.flags & set(_LIST_FORMS):
        return await list_(session, words)
    if len(args.flags - {"-k"}) > 1:
        raise BadCommand("give one of -a, -f, -s and -j")
    target = target_of(session, args.rest)
    if (target.read_only or "-s" in args.flags) and (target.force or "-f" in args.flags):
        raise BadCommand("to look on and to force together make no sense")
    if "-k" in args.flags:
        wanted = find(session, target)
        if wanted.state == "down":
            raise CommandError(f"{wanted.title}: {state_line(wanted, now(session))}", exit_status.DOWN)
    return await go(
        session,
        replace(
            target,
            force=target.force or "-f" in args.flags,
            read_only=target.read_only or "-s" in args.flags,
            join=target.join or "-j" in args.flags,
        ),
    )


async def go(session: Session, target: Target) -> int:
    """Attach, and stay until the console is left.

    :raises HandedOver: if the session ends with that.
    """
    before = session.activity
    if isinstance(before, Running):
        session.attach(target)
        for data in before.take_early():
            session.dataReceived(data)
        raise HandedOver
    left: Deferred[int] = Deferred()
    session.attach(target, on_leave=left.callback)
    status = await left
    session.activity = before
    return status


async def ssh_config(session: Session, words: list[str]) -> int:
    """``ssh-config [GLOB...] [--host H] [--port P] [--prefix TEXT]``"""
    args = read_args(words, values=("--host", "--port", "--prefix"))
    host = _host(session, args.values.get("--host"))
    port = args.number("--port", 1, 65535) or _port(session)
    prefix = args.values.get("--prefix", "")
    if prefix and not _plain(prefix):
        raise BadCommand("--prefix: letters, digits, `.', `_' and `-' only")
    consoles = await chosen(session, args.rest)
    await print_all(session, _blocks(session, consoles, host, port, prefix))
    return exit_status.OK


def _blocks(session: Session, consoles: list[Console], host: str, port: int, prefix: str) -> Iterator[str]:
    name = session.operator.name
    for console in consoles:
        alias = session.operator.view.alias(console)
        yield (
            f"# {console.title}\n"
            f"Host {prefix}{alias}\n"
            f"    HostName {host}\n"
            f"    Port {port}\n"
            f"    User {_quoted(f'{name}:{alias}')}\n"
            f"    RequestTTY yes\n\n"
        )


def _quoted(word: str) -> str:
    # A % would be a token to newer clients; what quotes cannot hold no operator is called.
    word = "".join(c for c in word if c.isprintable() and c not in '"\\').replace("%", "%%")
    return f'"{word}"' if any(c in word for c in " #'=") else word


def _plain(word: str) -> bool:
    return len(word) <= _WORD_LIMIT and all(c.isalnum() or c in ".-_" for c in word) and not word.startswith("-")


def _host(session: Session, given: str | None) -> str:
    if given is None:
        if session.local_address is None:
            raise BadCommand("how do you reach this server? give --host")
        return session.local_address[0]
    if not given or len(given) > _WORD_LIMIT or not all(c.isalnum() or c in ".-_:%" for c in given) or given[0] == "-":
        raise BadCommand(f"--host: {visible(given)!r} is no name or address of a host")
    return given


def _port(session: Session) -> int:
    if session.local_address is None:
        raise BadCommand("how do you reach this server? give --port")
    return session.local_address[1]


COMMANDS = [
    Command(
        "console",
        "[-a|-f|-s|-j] [-k] NAME",
        "attach",
        console,
        "-a  read-write (so it is anyway)   -f  by force: take over from whoever writes\n"
        "-s  only look                      -j  write beside the others, where the console allows it\n"
        "-k  not if it is down: exit status 5\n"
        "-u -w -x -i  as with `list'\n",
    ),
    Command(
        "ssh-config",
        "[GLOB...] [--host H] [--port P] [--prefix TEXT]",
        "lines for ~/.ssh/config, so that `ssh NAME' does",
        ssh_config,
        "H and P: how clients reach this server; without them as you have done now.\n"
        "TEXT stands in front of each name: `--prefix con-' makes `ssh con-web01'.\n",
    ),
]
