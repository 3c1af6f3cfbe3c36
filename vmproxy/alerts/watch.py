"""Watches: what is looked for, where, and what is done about it. Values."""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vmproxy.access.selector import Selector, Subject, believing
from vmproxy.base import values
from vmproxy.base.form import form_of, formed
from vmproxy.base.schema import InvalidValue, required, setting
from vmproxy.base.troubles import Kind
from vmproxy.base.values import or_empty
from vmproxy.log.pattern import Pattern

NAME_LIMIT = 64
PATTERNS_EACH = 50
CONTEXT_LIMIT = 20
SILENT_LEAST = 10.0
QUIET_MOST = 7 * 86400.0
TIMEOUT_MOST = 600.0
URL_LIMIT = 2000

_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{NAME_LIMIT}}}")


class Severity(enum.Enum):
    """How bad something is; the worst last."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """A number that is higher for what is worse."""
        return _RANKS[self]


_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidValue(f"{value!r} is not a name of 1 to {NAME_LIMIT} letters, digits, _, . and -")
    return value


def _pattern(value: Any) -> str:
    text = values.word(value)
    Pattern(text)
    return text


def _url(value: Any) -> str:
    wrong = InvalidValue(f"{value!r} is not an address such as https://alerts.example.com/vmproxy")
    if not isinstance(value, str) or not value.isascii() or len(value) > URL_LIMIT:
        raise wrong
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise wrong from None
    if not usable or parts.username is not None or not all(33 <= ord(c) < 127 for c in value):
        raise wrong
    return value


_kinds = values.list_of(values.one_of(["*", *(kind.value for kind in Kind)]), "")


@formed(form_of(_kinds))
def _itself(value: Any) -> frozenset[Kind]:
    words = _kinds(value)
    return frozenset(Kind) if "*" in words else frozenset(map(Kind, words))


_patterns = values.list_of(_pattern, "", most=PATTERNS_EACH)


@dataclass(frozen=True, slots=True)
class Watch:
    """One watch.

    :ivar on: which consoles.
    :ivar match: expressions, one of which a line must match; ``unless``: none of these.
    :ivar silent: seconds without output that are told; 0: none.
    :ivar itself: kinds of trouble of vmproxy itself that are told.
    :ivar quiet: seconds in which a console has one alert at most.
    :ivar context: lines before and after.
    :ivar run: a program and its arguments; ``timeout``: the seconds that it has.
    :ivar webhook: where a request is sent.
    """

    name: str = required(_name, "a name for it")
    on: tuple[Selector, ...] = setting(believing, (Selector("*"),))
    match: tuple[str, ...] = setting(_patterns, ())
    unless: tuple[str, ...] = setting(_patterns, (), key="not")
    ignore_case: bool = setting(values.flag, False)
    silent: float = setting(values.span_from(SILENT_LEAST, 366 * 86400, "a time of 10 s or more"), 0.0)
    itself: frozenset[Kind] = setting(_itself, frozenset())
    severity: Severity = setting(values.member(Severity), Severity.WARNING)
    quiet: float = setting(values.span_from(1, QUIET_MOST, "a time from 1 s to a week"), 60.0)
    context: int = setting(values.whole(0, CONTEXT_LIMIT, "a number of lines"), 0)
    run: tuple[str, ...] = setting(values.program, ())
    timeout: float = setting(values.span_from(1, TIMEOUT_MOST, "a time from 1 s to 10 minutes"), 30.0)
    webhook: str = setting(_url, "", secret=True)

    def contradictions(self, wrong: Collection[str]) -> Iterator[tuple[str, str]]:
        given = [key for key, value in self._what.items() if value or key in wrong]
        if not given:
            yield "name", 'needs one of match = "TEXT", silent = "10m" and itself = ["log"]'
        for key in given[1:]:
            yield key, f"does not go with {given[0]}: make it a watch of its own"
        if self.unless and "match" not in given:
            yield "not", "is of no use without match"

    @property
    def _what(self) -> dict[str, object]:
        return {"match": self.match, "silent": self.silent, "itself": self.itself}

    def selects(self, console: Subject) -> bool:
        return any(selector.selects(console) for selector in self.on)


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """The settings about alerts.

    :ivar watch_file: the file of ``[[watch]]`` tables; None for none.
    :ivar file: where alerts are recorded; where it is relative, in the state folder.
    """

    watch_file: Path | None = setting(or_empty(values.file, None), None)
    file: Path = setting(or_empty(values.file, Path("alerts.jsonl")), Path("alerts.jsonl"), restart=True)
