"""Rules, and what is said of consoles, as they are written: read from what TOML gives, every problem told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from vmproxy.access.policy import (
    EVERYBODY,
    EVERYTHING,
    BadRule,
    ConsoleSection,
    NamedSequence,
    Policy,
    Right,
    Rule,
    Selector,
)
from vmproxy.base.sanitize import visible

LONGEST_WAIT = 5.0
SEQUENCES_LIMIT = 64
SEQUENCE_LIMIT = 4096
MESSAGE_LIMIT = 4096
REPLAY_LIMIT = 100_000


def parse_policy(rules: Any, consoles: Any) -> tuple[Policy, list[str]]:
    """Read ``[[rule]]`` and ``[[console]]`` tables.

    :param rules: the tables as TOML gives them; None where there are none, and everybody may do everything then.
    :returns: the policy, and a line for each problem that was found.
    """
    problems: list[str] = []
    read_rules = [
        rule
        for number, table in _tables("rule", rules, problems)
        if (rule := _rule(number, table, problems)) is not None
    ]
    sections = [
        section
        for number, table in _tables("console", consoles, problems)
        if (section := _section(number, table, problems)) is not None
    ]
    return Policy((EVERYBODY,) if rules is None else tuple(read_rules), tuple(sections)), problems


def _tables(kind: str, value: Any, problems: list[str]) -> list[tuple[int, dict[str, Any]]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
        problems.append(f"{kind}: write [[{kind}]], in double brackets, for each")
        return []
    return list(enumerate(value, 1))


def _rule(number: int, table: dict[str, Any], problems: list[str]) -> Rule | None:
    where = f"rule {number}"
    found: list[str] = []
    _known(where, table, ("who", "may", "on"), found)
    who = _strings(where, table, "who", 'operators, "@groups" or "*"', found)
    may = _strings(where, table, "may", f"rights of {', '.join(w for w in EVERYTHING.words)}", found, True)
    on = _selectors(where, table, found)
    rights = Right.NONE
    for word in may:
        if word not in EVERYTHING.words:
            found.append(f"{where}: may: {word!r} is no right; there are {', '.join(EVERYTHING.words)}")
        else:
            rights |= Right[word.upper()]
    problems += found
    return None if found else Rule(number, frozenset(who), rights.closure(), on)


def _section(number: int, table: dict[str, Any], problems: list[str]) -> ConsoleSection | None:
    where = f"console {number}"
    found: list[str] = []
    _known(where, table, ("on", *_VALUES), found)
    on = _selectors(where, table, found)
    values: list[tuple[str, Any]] = []
    for key, (name, check) in _VALUES.items():
        if key in table:
            try:
                values.append((name, check(table[key])))
            except BadRule as error:
                found.append(f"{where}: {key}: {error}")
    problems += found
    return None if found else ConsoleSection(on, tuple(values))


def _known(where: str, table: dict[str, Any], keys: Sequence[str], problems: list[str]) -> None:
    for key in table:
        if key not in keys:
            problems.append(f"{where}: {visible(key)}: there is no such setting; there are {', '.join(keys)}")


def _strings(
    where: str, table: dict[str, Any], key: str, what: str, problems: list[str], may_be_empty: bool = False
) -> list[str]:
    value = table.get(key)
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) and item for item in items):
        problems.append(f"{where}: {key}: " + ("is missing" if value is None else f"{value!r}") + f"; give {what}")
        return []
    if not items and not may_be_empty:
        problems.append(f"{where}: {key}: is empty; give {what}")
    return items


def _selectors(where: str, table: dict[str, Any], problems: list[str]) -> tuple[Selector, ...]:
    selectors = []
    what = 'globs such as "web*", "uuid:564d*" or "query:team=blue"'
    for text in _strings(where, table, "on", what, problems):
        try:
            selectors.append(Selector(text))
        except BadRule as error:
            problems.append(f"{where}: on: {error}")
    return tuple(selectors)


def _write(value: Any) -> bool:
    if value not in ("one", "shared"):
        raise BadRule(f'{value!r} is neither "one" nor "shared"')
    return bool(value == "shared")


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadRule(f"{value!r} is neither true nor false")
    return value


def _message(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MESSAGE_LIMIT:
        raise BadRule(f"this is no text of at most {MESSAGE_LIMIT} characters")
    return "\n".join(visible(line, MESSAGE_LIMIT) for line in value.splitlines())


def _replay(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= REPLAY_LIMIT:
        raise BadRule(f"{value!r} is not a number of lines from 0 to {REPLAY_LIMIT}")
    return value


_TOKEN = re.compile(r"<(break|wait [0-9.]+)>")


def _sequences(value: Any) -> tuple[NamedSequence, ...]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise BadRule('write { name = "what to send", ... }; <break> and <wait 0.5> may stand in it')
    if len(value) > SEQUENCES_LIMIT or any(len(text) > SEQUENCE_LIMIT for text in value.values()):
        raise BadRule(f"at most {SEQUENCES_LIMIT} sequences of at most {SEQUENCE_LIMIT} characters")
    return tuple(NamedSequence(visible(name), parse_sequence(text)) for name, text in value.items())


def parse_sequence(text: str) -> tuple[bytes | float | None, ...]:
    """Read what is to be sent: text, with ``<break>`` and ``<wait SECONDS>`` in it.

    :raises BadRule: if it waits for too long.
    """
    parts: list[bytes | float | None] = []
    for n, piece in enumerate(_TOKEN.split(text)):
        if n % 2 == 0:
            if piece:
                parts.append(piece.encode())
        elif piece == "break":
            parts.append(None)
        else:
            try:
                seconds = float(piece[5:])
            except ValueError:
                raise BadRule(f"<{piece}>: that is no number of seconds") from None
            if seconds > LONGEST_WAIT:
                raise BadRule(f"<{piece}>: {LONGEST_WAIT:g} seconds at most")
            parts.append(seconds)
    return tuple(parts)


_VALUES = {
    "write": ("shared", _write),
    "record-input": ("record_input", _flag),
    "message": ("message", _message),
    "sequences": ("sequences", _sequences),
    "replay": ("replay", _replay),
    "force-reason": ("force_reason", _flag),
}
