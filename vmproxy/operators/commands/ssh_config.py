"""``ssh-config``: a configuration with which ``ssh`` knows and completes the names of consoles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import chosen, print_all
from vmproxy.operators.commands.declaration import GLOBS, Arguments, Command, Option, Whole
from vmproxy.operators.commands.errors import UsageError
from vmproxy.operators.session import Session

_WORD_LIMIT = 255


@dataclass(frozen=True, slots=True)
class _Word:
    """A word that needs no quotes in the configuration of ``ssh``.

    :ivar marks: characters that it may have beside letters and digits.
    :ivar right: what would be right.
    """

    marks: str
    right: str

    def read(self, option: str, text: str, now: float) -> str:
        if len(text) > _WORD_LIMIT or text[:1] == "-" or not all(c.isalnum() or c in self.marks for c in text):
            raise UsageError(f"{option}: {visible(text)!r}; give {self.right}")
        return text


_HOST = Option(
    "--host",
    "H",
    _Word(".-_:%", "a name or address of a host"),
    "the server's address for clients; default: that of this connection",
)
_PORT = Option("--port", "P", Whole(1, 65535), "its port; default: that of this connection")
_PREFIX = Option(
    "--prefix",
    "TEXT",
    _Word(".-_", "letters, digits, `.', `_' and `-' only"),
    "text in front of each name: `--prefix con-' makes `ssh con-web01'",
)


async def _ssh_config(session: Session, args: Arguments) -> int:
    host, port = session.local_address or ("", 0)
    host, port = args[_HOST] or host, args[_PORT] or port
    if not host or not port:
        raise UsageError(f"the server's address is not known; give {_PORT if host else _HOST}")
    consoles = await chosen(session, args[GLOBS])
    await print_all(session, _blocks(session, consoles, host, port, args.get(_PREFIX, "")))
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


COMMANDS = (
    Command("ssh-config", "print lines for ~/.ssh/config", _ssh_config, (GLOBS, _HOST, _PORT, _PREFIX), Right.SEE),
)
