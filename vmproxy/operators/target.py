"""Targets: ``web01``, ``alice:web01``, ``alice+web01,ro``, in an SSH user name or a command.

``[OPERATOR:]TARGET[,OPTION...]``. A target names a console as :meth:`~vmproxy.console.naming.Names.find` understands
it. Options change how it is attached to. Only the form is decided here; :mod:`vmproxy.operators.resolve` finds the
console.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vmproxy.auth.user_name import target_text
from vmproxy.base.escape import BadEscape, parse_escape
from vmproxy.base.nearest import nearest
from vmproxy.base.sanitize import visible
from vmproxy.errors import VMProxyError
from vmproxy.operators.write_request import WriteRequest

_OPTION = re.compile(r"\s*[a-z]+\s*(=|$)")
_LABELS = re.compile(r"ro|force|join|quiet")
_FIELDS = {"ro": "read_only"}
REPLAY_LIMIT = 100_000
REASON_LIMIT = 500
OPTIONS = "ro, force, join, quiet, port=N, replay=LINES, escape=^Ec and reason=TEXT"
_NEEDED = {"port": "a serial port, such as port=2", "replay": f"a number of lines, 0 to {REPLAY_LIMIT}"}
_FLAGS = ("ro", "force", "join", "quiet")
_VALUED = ("port", "replay", "escape", "reason")


class BadTarget(VMProxyError):
    """A malformed target; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A console and the way to attach to it.

    :ivar console: the name that was given.
    :ivar read_only: never have write access.
    :ivar force: take write access from the writer.
    :ivar port: the serial port, where it was given apart from the name.
    :ivar replay: lines to replay; None for the usual number.
    :ivar quiet: fewer notices, whatever the preference of the operator.
    :ivar join: write beside the writer, where the console is shared.
    :ivar escape: the two bytes that precede a command in this session; None for the operator's.
    :ivar reason: the reason of force.
    """

    console: str
    read_only: bool = False
    force: bool = False
    port: str | None = None
    replay: int | None = None
    quiet: bool = False
    join: bool = False
    escape: bytes | None = None
    reason: str = ""

    @property
    def write_request(self) -> WriteRequest:
        """The wish to write."""
        return WriteRequest(self.read_only, self.join, self.force, self.reason)


def from_user(user: str, operator: str) -> Target | None:
    """The target in an SSH user name.

    :param operator: the operator who has logged in with it.
    :returns: None if it names no console.
    :raises BadTarget: if its options mean nothing.
    """
    wanted = target_text(user, operator)
    return parse(wanted) if wanted else None


def parse(text: str) -> Target:
    """Read ``TARGET[,OPTION...]``. A name may hold commas itself: only what looks like options at its end is taken so.
    A reason may hold commas too, so it comes last.

    :raises BadTarget: if an option is unknown, or its value is wrong.
    """
    words = text.split(",")
    start = next((n for n, word in enumerate(words) if n and _OPTION.match(word)), len(words))
    name, words = ",".join(words[:start]), words[start:]
    values: dict[str, bool | int | str | bytes] = {}
    for n, word in enumerate(words):
        key, equals, value = word.strip().partition("=")
        if not equals and _LABELS.fullmatch(key):
            values[_FIELDS.get(key, key)] = True
        elif key == "reason":
            values[key] = _reason(",".join([value, *words[n + 1 :]]))
            break
        elif key == "port" and value:
            values[key] = value
        elif key == "escape":
            values[key] = _escape(value)
        elif key == "replay" and _is_count(value):
            values[key] = int(value)
        else:
            raise BadTarget(_wrong(word.strip(), key, bool(equals)))
    for other in ("force", "join"):
        if values.get("read_only") and values.get(other):
            raise BadTarget(f"ro and {other} together make no sense")
    if values.get("force") and values.get("join"):
        raise BadTarget("force and join together make no sense: one takes over, the other does not")
    if values.get("reason") and not values.get("force"):
        raise BadTarget("a reason is for force")
    return Target(name.strip(), **values)  # type: ignore[arg-type]


def _wrong(word: str, key: str, valued: bool) -> str:
    """What is wrong with an option, and what was meant."""
    if key in _VALUED:
        return f"{visible(word)}: {key} needs {_NEEDED.get(key, 'a value')}"
    if key in _FLAGS:
        return f"{visible(word)}: {key} takes no value"
    if near := nearest(key, _VALUED if valued else (*_FLAGS, *_VALUED)):
        return f"{visible(word)}: no such option; did you mean {near}{'=' if near in _VALUED else ''}?"
    return f"{visible(word)}: no such option; there are {OPTIONS}"


def _is_count(value: str) -> bool:
    return len(value) <= 9 and value.isascii() and value.isdecimal() and int(value) <= REPLAY_LIMIT


def _escape(value: str) -> bytes:
    try:
        return parse_escape(value)
    except BadEscape as error:
        raise BadTarget(str(error)) from None


def _reason(value: str) -> str:
    reason = visible(value.strip(), REASON_LIMIT)
    if not reason:
        raise BadTarget("reason: it is empty; write reason=TEXT after all other options")
    return reason
