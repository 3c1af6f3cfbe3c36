"""Kinds of settings: what TOML gives, turned into what the program uses, or what would be right.

Functions that take bounds return such a function.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorCore

from vmproxy.base.addresses import Network, network, numeric_address
from vmproxy.base.escape import parse_escape
from vmproxy.base.form import STRING, Form, any_of, form_of, formed
from vmproxy.base.sanitize import visible
from vmproxy.base.schema import InvalidValue
from vmproxy.errors import VMProxyError

TEXT_LIMIT = 4096
ARGUMENTS_LIMIT = 32

T = TypeVar("T")
D = TypeVar("D")
E = TypeVar("E", bound=Enum)

Kind = Callable[[Any], T]


@formed({"type": "boolean"})
def flag(value: Any) -> bool:
    """Yes or no."""
    if not isinstance(value, bool):
        raise InvalidValue(f"{value!r} is neither true nor false")
    return value


def whole(low: int, high: int, what: str = "a whole number") -> Kind[int]:
    """A whole number in these bounds."""

    @formed({"type": "integer", "minimum": low, "maximum": high})
    def checked(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise InvalidValue(f"{value!r} is not {what} from {low} to {high}")
        return value

    return checked


def seconds(low: float, high: float) -> Kind[float]:
    """A number of seconds in these bounds."""

    @formed({"type": "number", "minimum": low, "maximum": high})
    def checked(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise InvalidValue(f"{value!r} is not a number of seconds from {low:g} to {high:g}")
        return float(value)

    return checked


def encoding(value: Any) -> str:
    """A character encoding in which ASCII is ASCII, and nothing depends on what came long before."""
    name = value.strip() if isinstance(value, str) else ""
    plain = bytes(range(128)) + b"\\u0041 \x1b$B$ ~{ +AGE- .xn--bcher-kva.\x0e"
    try:
        usable = 0 < len(name) <= 40 and "escape" not in name.lower() and plain.decode(name) == plain.decode("ascii")
    except (LookupError, ValueError):
        usable = False
    if not usable:
        raise InvalidValue(
            f"{value!r} is no encoding that can be used here; there are utf-8, latin-1, cp437, shift_jis and the other "
            "codecs of Python in which ASCII is ASCII"
        )
    return codecs.lookup(name).name


def one_of(words: Sequence[str]) -> Kind[str]:
    @formed({"enum": list(words)})
    def checked(value: Any) -> str:
        if value not in words:
            raise InvalidValue(f"{value!r} is none of {', '.join(words)}")
        return str(value)

    return checked


def member(enumeration: type[E]) -> Kind[E]:
    return then(one_of([one.value for one in enumeration]), enumeration)


def then(check: Kind[T], make: Callable[[T], D]) -> Kind[D]:
    """What a check accepts, made into something else."""
    return formed(form_of(check))(lambda value: make(check(value)))


def list_of(check: Kind[T], what: str, *, may_be_empty: bool = False, most: int = 0) -> Kind[tuple[T, ...]]:
    """A list, or one item alone, of what a check accepts.

    :param what: what would be right; empty where the check says so.
    :param most: how many items there may be; 0 for any number.
    """
    give = f"; give {what}" if what else ""
    item = form_of(check)
    several: Form = {"type": "array", "items": item, **({} if may_be_empty else {"minItems": 1})}

    @formed(any_of(item, several | ({"maxItems": most} if most else {})))
    def checked(value: Any) -> tuple[T, ...]:
        items = value if isinstance(value, list | tuple) else [value]
        if not items and not may_be_empty:
            raise InvalidValue(f"is empty{give}")
        if most and len(items) > most:
            raise InvalidValue(f"at most {most} in one list")
        good: list[T] = []
        wrong: list[str] = []
        for item in items:
            try:
                good.append(check(item))
            except VMProxyError as error:
                wrong.append(str(error))
        if wrong:
            raise InvalidValue(f"{'; '.join(wrong)}{give}")
        return tuple(good)

    return checked


@formed({"type": "string", "minLength": 1})
def word(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidValue(f"{value!r} is not a string with something in it")
    return value


@formed({"type": "string", "maxLength": TEXT_LIMIT})
def text(value: Any) -> str:
    """A text for people, made safe to show."""
    if not isinstance(value, str) or len(value) > TEXT_LIMIT:
        raise InvalidValue(f"this is not a text of at most {TEXT_LIMIT} characters")
    return "\n".join(visible(line, TEXT_LIMIT) for line in value.splitlines())


def escape(value: Any) -> bytes:
    """An escape: ``"^Ec"``."""
    if not isinstance(value, str):
        raise InvalidValue(f"{value!r} is not a string such as ^Ec")
    return parse_escape(value)


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@formed(any_of({"type": "integer", "minimum": 0}, STRING))
def size(value: Any) -> int:
    """Bytes: ``"100 MB"``, ``"1 GiB"``, or a number."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?((?:[kmgt]i?)?)b?", value.casefold()) if isinstance(value, str) else None
    if match is None or len(value) > 20:
        raise InvalidValue(f'{value!r} is not a size, such as "100 MB", "1 GiB", or 0')
    return int(float(match[1]) * {**_UNITS, **_BINARY_UNITS}[match[2]])


@formed(any_of({"type": "number", "minimum": 0}, STRING))
def span(value: Any) -> float:
    """Seconds: ``"12h"``, ``"7d"``, or a number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return float(value)
    match = re.fullmatch(r"(\d{1,9}) ?([smhdw])", value.casefold()) if isinstance(value, str) else None
    if match is None:
        raise InvalidValue(f'{value!r} is not a span of time, such as "12h", "7d", "2w", or 0')
    return float(int(match[1]) * _SPANS[match[2]])


def span_from(low: float, high: float, what: str) -> Kind[float]:
    """A span of time in these bounds, in seconds; ``what`` is what would be right."""

    @formed(form_of(span))
    def checked(value: Any) -> float:
        seconds = span(value)
        if not low <= seconds <= high:
            raise InvalidValue(f"{value!r} is not {what}")
        return seconds

    return checked


def _argument(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value or len(value) > TEXT_LIMIT:
        raise InvalidValue(f"{value!r} is not an argument of a program")
    return value


_arguments = list_of(_argument, 'a list such as ["/usr/local/bin/page", "--all"]', most=ARGUMENTS_LIMIT)


@formed(form_of(_arguments))
def program(value: Any) -> tuple[str, ...]:
    """A program and its arguments."""
    words = _arguments(value)
    if not words[0].startswith("/"):
        raise InvalidValue(f"{words[0]!r} is not a program with its whole path; there is no shell, and no $PATH")
    return words


def file(value: Any) -> Path:
    """The path of a file, whether it is there or not."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise InvalidValue(f"{value!r} is not the path of a file")
    try:
        path = Path(value).expanduser().absolute()
        if path.is_dir():
            raise InvalidValue(f"{value!r} is a folder")
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidValue(f"{value!r} cannot be a file ({error})") from None
    return path


def folder(value: Any) -> Path:
    """The path of a folder, whether it is there or not."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise InvalidValue(f"{value!r} is not the path of a folder")
    try:
        path = Path(value).expanduser().absolute()
        if path.exists() and not path.is_dir():
            raise InvalidValue(f"{value!r} is there but is not a folder")
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidValue(f"{value!r} cannot be a folder ({error})") from None
    return path


_PAIR: Form = {
    "type": "object",
    "properties": {"certificate": STRING, "key": STRING},
    "required": ["certificate", "key"],
    "additionalProperties": False,
}


def key_pairs(name: str) -> Kind[tuple[tuple[Path, Path], ...]]:
    """PEM files: certificates, each with its private key, which may be in the same file.

    :param name: of the files in the example.
    """

    @formed(any_of(STRING, _PAIR))
    def pair(value: Any) -> tuple[Path, Path]:
        both = isinstance(value, dict) and len(value) == 2
        names = [value.get("certificate"), value.get("key")] if both else [value, value]
        if not all(isinstance(name, str) and name for name in names):
            raise InvalidValue(f"{value!r} names no certificate and key")
        return file(names[0]), file(names[1])

    such_as = f'files such as ["{name}.pem"], or tables such as [{{ certificate = "{name}.crt", key = "{name}.key" }}]'
    return list_of(pair, such_as, may_be_empty=True)


def or_empty(check: Kind[T], default: D) -> Kind[T | D]:
    """What a check accepts, or the default for an empty string."""
    return formed(any_of({"const": ""}, form_of(check)))(lambda value: default if value == "" else check(value))


def one_network(value: Any) -> Network:
    """A network: ``"10.1.0.0/16"``, or one address."""
    return network(value if isinstance(value, str) else repr(value))


networks = list_of(one_network, 'networks such as ["10.1.0.0/16", "2001:db8:1::/48"]')


def endpoint(value: Any) -> str:
    """A Twisted endpoint to listen on."""
    if not isinstance(value, str):
        raise InvalidValue(f"{value!r} is not a string")
    try:
        serverFromString(_NO_REACTOR, value)
    except Exception as error:  # an endpoint's parser raises whatever comes its way
        # A systemd: endpoint looks for its socket at once; outside of systemd that fails and says nothing.
        if not (value.startswith("systemd:") and isinstance(error, LookupError) and not _bad_systemd(value)):
            raise InvalidValue(f"{value!r} is not an endpoint ({error})") from None
    match = re.match(r"tcp[46]?:(?:port=)?(-?\d+)", value)
    if match and not 0 <= int(match[1]) <= 65535:
        raise InvalidValue(f"{value!r}: a port is a number from 0 to 65535")
    return value


def endpoint_without_tls(section: str) -> Kind[str]:
    """A Twisted endpoint to listen on; TLS has settings of its own in a section."""

    def checked(value: Any) -> str:
        if isinstance(value, str) and value.startswith("ssl:"):
            raise InvalidValue(
                f"{value!r}: for TLS give a tcp: endpoint in {section}.tls-listen and the certificate in"
                f" {section}.certificates"
            )
        return endpoint(value)

    return checked


def is_local(value: str) -> bool:
    """Whether only this machine reaches an endpoint: a loopback address, a Unix socket, or one of systemd's."""
    parts = [part.replace("\\", "") for part in re.split(r"(?<!\\):", value)]
    if parts[0] == "haproxy":
        parts = parts[1:]
    if parts[0] in ("unix", "systemd"):
        return True
    host = next((part.partition("=")[2] for part in parts if part.startswith("interface=")), "")
    address = numeric_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def endpoints(check: Kind[str] = endpoint, *, may_be_empty: bool = False) -> Kind[tuple[str, ...]]:
    """Where to listen."""
    such_as = 'endpoints such as ["tcp:13370"], ["tcp6:13370"] or ["unix:/run/vmproxy.sock"]'
    return list_of(check, such_as, may_be_empty=may_be_empty)


def _bad_systemd(value: str) -> bool:
    words = [word.partition("=")[0] for word in value.split(":")[1:]]
    return "domain" not in words or not {"index", "name"} & set(words)


class _NoReactor:
    """Stands for the reactor while endpoint strings are only parsed."""


_NO_REACTOR: IReactorCore = _NoReactor()  # type: ignore[assignment]
