"""Parsing of moments as people write them: ``10m``, ``16:00``, ``yesterday``, ``2026-11-22T16:09:13Z``."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from vmproxy.base.sanitize import visible
from vmproxy.errors import VMProxyError

# The last moment that is taken: beyond it, and before its first year, datetime's own arithmetic has an end.
_YEARS = range(1970, 9000)
_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_SPAN = re.compile(r"(?:(\d{1,6})w)?(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s)?", re.ASCII)
_WORDS = re.compile(
    r"(\d{1,9}) ?(weeks?|days?|hours?|minutes?|mins?|seconds?|secs?)"
    r"((?: |, | and )\d{1,9} ?(?:weeks?|days?|hours?|minutes?|mins?|seconds?|secs?))*",
    re.ASCII,
)
_WORD = re.compile(r"(\d+) ?([wdhms])", re.ASCII)
_EPOCH = re.compile(r"@(\d{1,12})([.,]\d{1,9})?", re.ASCII)
_CLOCK = re.compile(r"(\d\d?):(\d\d(?::\d\d(?:[.,]\d{1,9})?)?)", re.ASCII)
_DATE = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"([ T](?P<time>\d\d:\d\d(:\d\d([.,]\d{1,9})?)?)(?P<zone>Z| ?[+-]\d\d:?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)


class BadTime(VMProxyError):
    """The error for a moment; the text says what would be right."""


def parse_when(text: str, now: float) -> float:
    """Parse a moment.

    A span (``90s``, ``10m``, ``1d12h``, ``2 min``) counts back from now, with or without `` ago``. A time of day is the
    last one that has been: today's, or yesterday's while today's is still to come. A date without a time is its
    midnight. ``@1796071429`` is so many seconds since the epoch. Times are local unless they say otherwise (``Z``,
    ``+02:00``, `` UTC``), and have up to nine decimals, as other programs print them. ``now``, ``today``
    and ``yesterday`` mean the moment and the two midnights.

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
            "time of day such as 16:00 or 16:00:30, seconds since the epoch such as @1796071429, or a date such as "
            "2026-11-22, 2026-11-22 16:00 or "
            "2026-11-22T16:00:30Z"
        ) from None


def _parse(word: str, now: float) -> float:
    zone = UTC if word.endswith((" utc", " gmt")) else None
    if zone is not None:
        word = word[:-4]
    here = datetime.fromtimestamp(now, zone)
    match word:
        case "now":
            return now
        case "today":
            return _midnight(here.date(), zone)
        case "yesterday":
            return _midnight(here.date() - timedelta(days=1), zone)
    if word and (span := _SPAN.fullmatch(word)):
        pairs = zip(span.groups(), _UNITS.values(), strict=True)
        return _checked(now - sum(int(count) * unit for count, unit in pairs if count))
    if _WORDS.fullmatch(word):
        return _checked(now - sum(int(count) * _UNITS[unit] for count, unit in _WORD.findall(word)))
    if epoch := _EPOCH.fullmatch(word):
        return _checked(float(epoch[1] + (epoch[2] or "").replace(",", ".")))
    if parts := _CLOCK.fullmatch(word):
        clock = time.fromisoformat(f"{parts[1]:0>2}:{parts[2]}")
        at = datetime.combine(here.date(), clock, zone).timestamp()
        return at if at <= now else datetime.combine(here.date() - timedelta(days=1), clock, zone).timestamp()
    if parts := _DATE.fullmatch(word):
        told = (parts["zone"] or "").strip().upper()
        moment = datetime.fromisoformat(
            f"{parts['date']}T{parts['time'] or '00:00'}{'+00:00' if told == 'Z' else told}"
        )
        return _checked((moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).timestamp())
    raise ValueError


def _midnight(day: date, zone: tzinfo | None) -> float:
    return datetime.combine(day, time(), zone).timestamp()


def _checked(at: float) -> float:
    if datetime.fromtimestamp(at).year not in _YEARS:
        raise ValueError("too far away")
    return at
