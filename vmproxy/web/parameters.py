"""Parameters of queries: what a text has to be, and what is told of it in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vmproxy.base.sanitize import visible
from vmproxy.base.timeparse import BadTime, parse_when
from vmproxy.errors import VMProxyError
from vmproxy.operators.commands.context import selectors
from vmproxy.web.call import Call
from vmproxy.web.problem import Problem, bad_request
from vmproxy.web.route import Parameter

TEXT_LIMIT = 1000
_LATER = 2_000_000_000.0  # a moment behind which all spans have room


def whole(name: str, least: int, most: int, text: str, default: int | None = None) -> Parameter:
    """A whole number within bounds."""

    def parse(value: str) -> int:
        if not (len(value) <= 18 and value.isascii() and value.isdecimal() and least <= int(value) <= most):
            raise ValueError(f"has to be a number from {least} to {most}")
        return int(value)

    schema: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most}
    return Parameter(name, parse, schema if default is None else {**schema, "default": default}, text, default)


def flag(name: str, text: str) -> Parameter:
    """``1`` for what is wanted, ``0`` for what is not."""

    def parse(value: str) -> bool:
        if value not in ("0", "1"):
            raise ValueError("has to be 0 or 1")
        return value == "1"

    return Parameter(name, parse, {"type": "string", "enum": ["0", "1"], "default": "0"}, text, False)


def one_of(name: str, words: Sequence[str], text: str, default: str) -> Parameter:
    """One of some words."""

    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(f"has to be one of {', '.join(words)}")
        return value

    return Parameter(name, parse, {"type": "string", "enum": list(words), "default": default}, text, default)


def some_of(name: str, words: Sequence[str], text: str) -> Parameter:
    """Some of these words, with commas between; None for all."""

    def parse(value: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(word.strip() for word in value.split(",", 2 * len(words))))
        if wrong := [word for word in found if word not in words]:
            raise ValueError(f"{visible(wrong[0], 40)}: there is none; there are {', '.join(words)}")
        return found

    return Parameter(name, parse, {"type": "string", "example": ",".join(words[:2])}, text)


def words(name: str, text: str, limit: int = TEXT_LIMIT, default: str | None = None) -> Parameter:
    """Any text that is not empty."""
    return _text(name, text, 1, limit, default)


def text_up_to(name: str, limit: int, text: str) -> Parameter:
    """Any text, also none."""
    return _text(name, text, 0, limit, "")


def _text(name: str, text: str, least: int, limit: int, default: str | None) -> Parameter:
    def parse(value: str) -> str:
        if not least <= len(value) <= limit:
            raise ValueError(f"has to have {least} to {limit} characters")
        return value

    return Parameter(name, parse, {"type": "string", "minLength": least, "maxLength": limit}, text, default)


def moment(name: str, text: str) -> Parameter:
    """A moment, as ``--since`` takes it; :func:`seconds` makes a time of it."""

    def parse(value: str) -> str:
        try:
            parse_when(value[:100], _LATER)
        except BadTime as error:
            raise ValueError(str(error)) from None
        return value[:100]

    return Parameter(name, parse, {"type": "string", "example": "10m"}, text)


def seconds(call: Call, name: str) -> float | None:
    """A moment of a query, in seconds since the epoch; None if it is not given.

    :raises Problem: if there was no such time.
    """
    text = call.query[name]
    try:
        return None if text is None else parse_when(text, call.services.wall())
    except BadTime as error:
        raise bad_request([(name, str(error))]) from None


def _globs(value: str) -> tuple[str, ...]:
    found = tuple(word.strip() for word in value.split(",") if word.strip())
    try:
        selectors(found)
    except VMProxyError as error:
        raise ValueError(str(error)) from None
    return found


ON = Parameter(
    "on",
    _globs,
    {"type": "string", "example": "web*,query:team=blue"},
    "consoles: names, or GLOBs as in rules, with commas between",
    (),
)
LIMIT = whole("limit", 1, 1000, "how many at most", 200)
AFTER = words("after", "the `next` of the page before")
SINCE = moment("since", "what came since then: 90s, 10m, 16:00, 2026-11-22T16:09:13Z")
UNTIL = moment("until", "what came until then")


def too_many(detail: str, seconds: int = 5) -> Problem:
    """The problem of a client that has to wait until there is a place."""
    return Problem("too-many", detail, [("Retry-After", str(seconds))])
