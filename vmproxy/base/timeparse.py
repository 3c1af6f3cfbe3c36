"""Parsing of moments as people write them: ``10m``, ``16:00``, ``yesterday``, ``2026-11-22T16:09:13Z``."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta

from vmproxy.base.sanitize import visible
from vmproxy.errors import VMProxyError

# The last moment that is taken: beyond it, and before its first year, datetime's own arithmetic has an end.
_YEARS = range(1970, 9000)
_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_SPAN = re.compile(r"(?:(\d{1,6})w)?(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s)?", re.ASCII)
_CLOCK = re.compile(r"\d\d?:\d\d(:\d\d(\.\d{1,6})?)?", re.ASCII)
_DATE = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"([ T](?P<time>\d\d:\d\d(:\d\d(\.\d{1,6})?)?)(?P<zone>Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)


class BadTime(VMProxyError):
    """The error for a moment; the text says what would be right."""


def parse_when(text: str, now: float) -> float:
    """Parse a moment.

    A span (``90s``, ``10m``, ``1d12h``) counts back from now, with or without `` ago``. A time of day is the last
    one that has been: today's, or yesterday's while today's is still to come. A date without a time is its midnight.
    Times are local unless they say otherwise (``Z``, ``+02:00``). ``now``, ``today`` and ``yesterday`` mean the moment
    and the two midnights.

    :param now: seconds since the epoch.
    :returns: seconds since the epoch.
    :raises BadTime: if it means nothing.
    """
    word = " ".join(text.split()).lower().removesuffix(" ago")
    try:
        return _parse(word, now)
    except (ValueError, OverflowError, OSError) as error:
        reason = f" ({error})" if isinstance(error, ValueError) and str(error) else ""
        raise BadTime(
            f"{visible(text, 40) or 'an empty time'}: no such time{reason}; write a span such as 90s, 10m or 1d12h, a "
            "time of day such as 16:00 or 16:00:30, or a date such as 2026-11-22, 2026-11-22 16:00 or "
            "2026-11-22T16:00:30Z"
        ) from None


def _parse(word: str, now: float) -> float:
    here = datetime.fromtimestamp(now)
    match word:
        case "now":
            return now
        case "today":
            return _midnight(here.date())
        case "yesterday":
            return _midnight(here.date() - timedelta(days=1))
    if word and (span := _SPAN.fullmatch(word)):
        pairs = zip(span.groups(), _UNITS.values(), strict=True)
        return _checked(now - sum(int(count) * unit for count, unit in pairs if count))
    if _CLOCK.fullmatch(word):
        clock = time.fromisoformat(word if word[1] != ":" and word[2] == ":" else f"0{word}")
        at = datetime.combine(here.date(), clock).timestamp()
        return at if at <= now else datetime.combine(here.date() - timedelta(days=1), clock).timestamp()
    if parts := _DATE.fullmatch(word):
        zone = (parts["zone"] or "").upper()
        moment = f"{parts['date']}T{parts['time'] or '00:00'}{'+00:00' if zone == 'Z' else zone}"
        return _checked(datetime.fromisoformat(moment).timestamp())
    raise ValueError


def _midnight(day: date) -> float:
    return datetime.combine(day, time()).timestamp()


def _checked(at: float) -> float:
    if datetime.fromtimestamp(at).year not in _YEARS:
        raise ValueError("too far away")
    return at
