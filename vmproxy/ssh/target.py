"""What an operator asks for: ``web01``, ``alice:web01``, ``alice+web01,ro``, in an SSH user name or a command.

``[OPERATOR:]TARGET[,OPTION...]``. A target names a console as :meth:`Directory.find` understands it. Options change how
it is attached to. The form is decided here and nowhere else; which consoles there are is not known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vmproxy.errors import VMProxyError
from vmproxy.text import visible

_PREFIXED = re.compile(r"([^:+,]*)[:+](.*)", re.DOTALL)
_OPTION = re.compile(r"\s*[a-z]+\s*(=|$)")
REPLAY_LIMIT = 100_000


class BadTarget(VMProxyError):
    """A target that cannot be understood; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is wanted.

    :ivar console: the name that was given.
    :ivar read_only: only look, and never be promoted.
    :ivar force: take the pen from whoever has it.
    :ivar port: the serial port, where it was given apart from the name.
    :ivar replay: how many lines to replay; None for the usual number.
    :ivar quiet: fewer notices.
    """

    console: str
    read_only: bool = False
    force: bool = False
    port: str | None = None
    replay: int | None = None
    quiet: bool = False


def claimed_operator(user: str) -> str | None:
    """Who an SSH user name claims to be; None where it names only a console, or only an operator: the key decides.

    :raises BadTarget: if the name is of a form that means nothing.
    """
    match = _PREFIXED.fullmatch(user)
    if match is None:
        return None
    if not match[1]:
        raise BadTarget("there is no operator's name before the colon")
    return match[1]


def from_user(user: str, operator: str) -> Target | None:
    """What an SSH user name asks for.

    :param operator: who has logged in with it.
    :returns: None where it names no console.
    :raises BadTarget: if its options mean nothing.
    """
    match = _PREFIXED.fullmatch(user)
    wanted = match[2] if match is not None else user
    if not wanted or (match is None and wanted == operator):
        return None
    return parse(wanted)


def parse(text: str) -> Target:
    """Read ``TARGET[,OPTION...]``. A name may hold commas itself: only what looks like options at its end is taken so.

    :raises BadTarget: if an option is unknown, or its value is wrong.
    """
    words = text.split(",")
    start = next((n for n, word in enumerate(words) if n and _OPTION.match(word)), len(words))
    name, words = ",".join(words[:start]), words[start:]
    values: dict[str, bool | int | str] = {}
    for word in words:
        key, equals, value = word.strip().partition("=")
        if key in ("ro", "force", "quiet") and not equals:
            values["read_only" if key == "ro" else key] = True
        elif key == "port" and value:
            values["port"] = value
        elif (
            key == "replay" and len(value) <= 9 and value.isascii() and value.isdecimal() and int(value) <= REPLAY_LIMIT
        ):
            values["replay"] = int(value)
        else:
            raise BadTarget(f"{visible(word)}: no such option; there are ro, force, quiet, port=N and replay=LINES")
    if values.get("read_only") and values.get("force"):
        raise BadTarget("ro and force together make no sense")
    return Target(name.strip(), **values)  # type: ignore[arg-type]
