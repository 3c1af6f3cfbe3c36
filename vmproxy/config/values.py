"""The values that settings can have: what TOML gives, turned into what the program uses, or what would do instead.

Functions that take bounds return such a function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorCore

from vmproxy.access.policy_file import MESSAGE_LIMIT
from vmproxy.base.addresses import BadAddresses, Network, network
from vmproxy.base.escape import BadEscape, parse_escape
from vmproxy.base.sanitize import visible
from vmproxy.log.paths import BadTemplate, check_template


class Wrong(Exception):
    """A value that will not do; the text says what would."""


def endpoint(value: Any) -> str:
    """A Twisted endpoint to listen on."""
    if not isinstance(value, str):
        raise Wrong(f"{value!r} is not a string")
    try:
        serverFromString(_NO_REACTOR, value)
    except Exception as error:  # an endpoint's parser raises whatever comes its way
        # A systemd: endpoint looks for its socket at once; outside of systemd that fails and says nothing.
        if not (value.startswith("systemd:") and isinstance(error, LookupError) and not _bad_systemd(value)):
            raise Wrong(f"{value!r} is no endpoint ({error})") from None
    match = re.match(r"tcp[46]?:(?:port=)?(-?\d+)", value)
    if match and not 0 <= int(match[1]) <= 65535:
        raise Wrong(f"{value!r}: a port is a number from 0 to 65535")
    return value


def vm_endpoint(value: Any) -> str:
    """A Twisted endpoint to listen on for hosts; TLS is not the endpoint's business."""
    if isinstance(value, str) and value.startswith("ssl:"):
        raise Wrong(f"{value!r}: for TLS give a tcp: endpoint in vm.tls-listen and the certificate in vm.certificates")
    return endpoint(value)


def _bad_systemd(value: str) -> bool:
    words = [word.partition("=")[0] for word in value.split(":")[1:]]
    return "domain" not in words or not {"index", "name"} & set(words)


class _NoReactor:
    """Stands for the reactor while endpoint strings are only parsed."""


_NO_REACTOR: IReactorCore = _NoReactor()  # type: ignore[assignment]


def list_of(check: Callable[[Any], str], what: str, may_be_empty: bool = False) -> Callable[[Any], tuple[str, ...]]:
    """A list, or one alone, of what a check accepts; ``what`` is what would be right."""

    def checked(value: Any) -> tuple[str, ...]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not (items or may_be_empty):
            raise Wrong(f"{value!r} is not a list; give {what}")
        good, wrong = [], []
        for item in items:
            try:
                good.append(check(item))
            except Wrong as error:
                wrong.append(str(error))
        if wrong:
            raise Wrong(f"{'; '.join(wrong)}; give {what}")
        return tuple(good)

    return checked


def certificates(value: Any) -> tuple[tuple[Path, Path], ...]:
    """PEM files with a certificate and its key: one file for both, or a table that names two."""
    what = 'give files such as ["vm.pem"], or tables such as [{ certificate = "vm.crt", key = "vm.key" }]'
    items = value if isinstance(value, list) else [value]
    found = []
    for item in items:
        names = (
            (item.get("certificate"), item.get("key")) if isinstance(item, dict) and len(item) == 2 else (item, item)
        )
        paths = [file(name) if isinstance(name, str) else None for name in names]
        if paths[0] is None or paths[1] is None:
            raise Wrong(f"{item!r} names no certificate and key; {what}")
        found.append((paths[0], paths[1]))
    return tuple(found)


def networks(value: Any) -> tuple[Network, ...]:
    """A list, or one alone, of addresses and networks in CIDR notation."""
    what = 'networks such as ["10.1.0.0/16", "2001:db8:1::/48"]'
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items:
        raise Wrong(f"{value!r} is not a list; give {what}")
    good, wrong = [], []
    for item in items:
        try:
            good.append(network(item if isinstance(item, str) else repr(item)))
        except BadAddresses as error:
            wrong.append(str(error))
    if wrong:
        raise Wrong(f"{'; '.join(wrong)}; give {what}")
    return tuple(good)


def one_of(words: Sequence[str]) -> Callable[[Any], str]:
    """One of some words."""

    def checked(value: Any) -> str:
        if value not in words:
            raise Wrong(f"{value!r} is none of {', '.join(words)}")
        return str(value)

    return checked


def word(value: Any) -> str:
    """The part of a service URI before a question mark."""
    if not isinstance(value, str) or not value or "?" in value:
        raise Wrong(f"{value!r} is no service")
    return value


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def size(value: Any) -> int:
    """Bytes: ``"100 MB"``, ``"1 GiB"``, or a number."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?((?:[kmgt]i?)?)b?", value.casefold()) if isinstance(value, str) else None
    if match is None or len(value) > 20:
        raise Wrong(f'{value!r} is no size, such as "100 MB", "1 GiB", or 0')
    return int(float(match[1]) * {**_UNITS, **_BINARY_UNITS}[match[2]])


def span(value: Any) -> float:
    """Seconds: ``"12h"``, ``"7d"``, or a number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return float(value)
    match = re.fullmatch(r"(\d{1,9}) ?([smhdw])", value.casefold()) if isinstance(value, str) else None
    if match is None:
        raise Wrong(f'{value!r} is no span of time, such as "12h", "7d", "2w", or 0')
    return float(int(match[1]) * _SPANS[match[2]])


def escape(value: Any) -> bytes:
    """An escape: ``"^Ec"``."""
    try:
        return parse_escape(value if isinstance(value, str) else repr(value))
    except BadEscape as error:
        raise Wrong(str(error)) from None


def message(value: Any) -> str:
    """A text for people, safe to show."""
    if not isinstance(value, str) or len(value) > MESSAGE_LIMIT:
        raise Wrong(f"this is no text of at most {MESSAGE_LIMIT} characters")
    return "\n".join(visible(line, MESSAGE_LIMIT) for line in value.splitlines())


def file(value: Any) -> Path | None:
    """The path of a file; None where it is empty."""
    if not isinstance(value, str) or "\0" in value:
        raise Wrong(f"{value!r} is not the path of a file")
    if not value:
        return None
    try:
        path = Path(value).expanduser().absolute()
        if path.is_dir():
            raise Wrong(f"{value!r} is a folder")
    except (OSError, RuntimeError, ValueError) as error:
        raise Wrong(f"{value!r} cannot be a file ({error})") from None
    return path


def text(value: Any) -> str:
    """The name of a file, perhaps with wildcards."""
    if not isinstance(value, str) or not value:
        raise Wrong(f"{value!r} is not a file name")
    return value


def flag(value: Any) -> bool:
    """Yes or no."""
    if not isinstance(value, bool):
        raise Wrong(f"{value!r} is neither true nor false")
    return value


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A whole number in these bounds."""

    def checked(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Wrong(f"{value!r} is not a whole number from {low} to {high}")
        return value

    return checked


def seconds(low: float, high: float) -> Callable[[Any], float]:
    """A number of seconds in these bounds."""

    def checked(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise Wrong(f"{value!r} is not a number of seconds from {low:g} to {high:g}")
        return float(value)

    return checked


def folder(value: Any) -> Path:
    """The path of a folder, whether it is there or not."""
    if not isinstance(value, str) or not value:
        raise Wrong(f"{value!r} is not the path of a folder")
    try:
        path = Path(value).expanduser().absolute()
        if path.exists() and not path.is_dir():
            raise Wrong(f"{value!r} is there but is not a folder")
    except (OSError, RuntimeError, ValueError) as error:
        raise Wrong(f"{value!r} cannot be a folder ({error})") from None
    if "\0" in value:
        raise Wrong(f"{value!r} cannot be a folder (it holds a NUL)")
    return path


def template(value: Any) -> str:
    """The template of logs' names."""
    if not isinstance(value, str) or not value:
        raise Wrong(f"{value!r} is no template for file names, such as '{{uuid}}.log'")
    try:
        check_template(value)
    except BadTemplate as error:
        raise Wrong(f"{value!r}: {error}") from None
    return value
