"""Labels of consoles, such as ``team=web``: what they are, where they come from, and groups that give them.

Labels that an administrator gives, by groups, are *given*; rules may use them. Those that a host or a VM tells, in the
query of the service URI, are only *told*: they serve finding, and grant nothing. A label that is given hides one of the
same key that is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from vmproxy.base.sanitize import visible
from vmproxy.wire.serviceuri import parse

LABELS_LIMIT = 64
VALUE_LIMIT = 128
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")

Pair = tuple[str, str]
"""Key and value of a label; both safe to show."""


def _folded(pair: Pair) -> str:
    return f"{pair[0]}={pair[1]}".casefold()


class Labels:
    """The labels of a console. Consoles with the same labels share them, so they are compared by identity.

    Bound: :data:`LABELS_LIMIT` labels.

    :ivar pairs: all of them, in order, those that are given first.
    :ivar given: those that rules may use, as ``key=value`` without capitals; ``all``: the same of all.
    """

    __slots__ = ("__weakref__", "all", "given", "pairs")

    def __init__(self, given: Iterable[Pair] = (), told: Iterable[Pair] = ()) -> None:
        trusted = tuple(dict.fromkeys(given))[:LABELS_LIMIT]
        keys = {key.casefold() for key, _ in trusted}
        others = [pair for pair in dict.fromkeys(told) if pair[0].casefold() not in keys]
        self.pairs: tuple[Pair, ...] = (*trusted, *others)[:LABELS_LIMIT]
        self.given = tuple(map(_folded, trusted))
        self.all = tuple(map(_folded, self.pairs))

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def __str__(self) -> str:
        return " ".join(f"{key}={value}" if value else key for key, value in self.pairs)

    def fields(self) -> dict[str, list[str]]:
        """They for JSON: the values by key."""
        found: dict[str, list[str]] = {}
        for key, value in self.pairs:
            found.setdefault(key, []).append(value)
        return found


NO_LABELS = Labels()


def is_key(text: str) -> bool:
    """Whether a text can be the key of a label."""
    return _KEY.fullmatch(text) is not None


@lru_cache(1024)
def told_by(uri: str) -> tuple[Pair, ...]:
    """The labels in the query of a service URI. The serial port there is none, nor is what is no label."""
    if "?" not in uri:
        return ()
    pairs = ((key, visible(value.strip(), VALUE_LIMIT)) for key, value in parse(uri).query if is_key(key))
    return tuple(pair for pair in pairs if pair[0] != "port")


def over(first: tuple[Pair, ...], then: tuple[Pair, ...]) -> tuple[Pair, ...]:
    """The labels of two sources: of each key the first source counts that has it."""
    if not first or not then:
        return first or then
    keys = {key.casefold() for key, _ in first}
    return (*first, *(pair for pair in then if pair[0].casefold() not in keys))


def merged(some: Iterable[Mapping[str, tuple[str, ...]]]) -> tuple[Pair, ...]:
    """The labels of several groups: of each key the first counts."""
    found: dict[str, tuple[str, ...]] = {}
    for labels in some:
        for key, values in labels.items():
            found.setdefault(key, values)
    return tuple((key, value) for key, values in found.items() for value in values)
