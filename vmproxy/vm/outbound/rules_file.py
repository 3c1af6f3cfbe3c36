"""``[[dial]]`` tables: read from TOML, with every problem told."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from vmproxy.base import values
from vmproxy.base.form import STRING, any_of, formed
from vmproxy.base.schema import InvalidValue, Problem, read, required, setting, tables
from vmproxy.vm.outbound.rules import DialRule, DialRules, Network

_PATTERN = re.compile(r"[a-z0-9_.*?-]*[a-z*?][a-z0-9_.*?-]*", re.ASCII)
_NUMBERS = re.compile(r"[0-9.*?]+", re.ASCII)
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)
_LISTED = 256
_CA_LIMIT = 4 * 1024 * 1024


def _destination(item: Any) -> str | Network:
    """A pattern of names, in small letters; or a network, which may be a single address."""
    if not isinstance(item, str) or not item:
        raise InvalidValue(f"{item!r} is neither a name nor an address")
    text = item.lower().removesuffix(".")
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        network = ipaddress.ip_network(inner)
    except ValueError as error:
        if "/" in text or ":" in text:
            raise InvalidValue(f"{item!r} is not a network ({error})") from None
    else:
        if "%" in inner:
            raise InvalidValue(f"{item!r}: addresses with a zone cannot be dialled")
        return network
    if text == "*":
        return text
    if _NUMBERS.fullmatch(text):
        raise InvalidValue(f"{item!r} is not an address; write a network, such as 10.0.0.0/8")
    if not _PATTERN.fullmatch(text):
        raise InvalidValue(f"{item!r} is neither a name, nor a pattern of names, nor an address, nor a network")
    return text


@formed(any_of({"type": "integer", "minimum": 1, "maximum": 65535}, STRING))
def _ports(item: Any) -> tuple[int, int]:
    if item == "*":
        return 1, 65535
    if isinstance(item, int) and not isinstance(item, bool):
        item = str(item)
    match = _RANGE.fullmatch(item) if isinstance(item, str) else None
    low = int(match[1]) if match else 0
    high = int(match[2] or match[1]) if match else 0
    if not 1 <= low <= high <= 65535:
        raise InvalidValue(f'{item!r} is neither a port from 1 to 65535, nor a range such as "5000-5010", nor "*"')
    return low, high


def _authorities(value: Any) -> bytes:
    path = values.file(value)
    try:
        with path.open("rb") as file:
            pem = file.read(_CA_LIMIT + 1)
    except OSError as error:
        raise InvalidValue(f"{value!r} cannot be read ({error.strerror})") from None
    try:
        if len(pem) > _CA_LIMIT:
            raise ValueError("it is too large")
        x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise InvalidValue(f"{value!r} holds no certificates in PEM ({error})") from None
    return pem


_TO = 'names, patterns, addresses and networks such as ["*.example.com"]'
_PORTS = 'ports such as [4000, "5000-5010"], or ["*"] for any'


@dataclass(frozen=True, slots=True)
class DialTable:
    """A rule as it is written."""

    to: tuple[str | Network, ...] = required(values.list_of(_destination, "", most=_LISTED), _TO)
    ports: tuple[tuple[int, int], ...] = required(values.list_of(_ports, "", most=_LISTED), _PORTS)
    verify: bool = setting(values.flag, True)
    ca: bytes | None = setting(_authorities, None)

    def contradictions(self, wrong: Collection[str]) -> Iterator[tuple[str, str]]:
        """The values that do not go with others."""
        if not self.verify and (self.ca is not None or "ca" in wrong):
            yield "ca", "means nothing where verify is false"


def parse_dial(written: Any) -> tuple[DialRules, list[Problem]]:
    """Read ``[[dial]]`` tables, and the files of authorities that they name.

    :param written: as TOML gives them; None where there are none.
    :returns: the rules, and every problem that was found.
    """
    problems: list[Problem] = []
    rules = []
    for index, table in enumerate(tables("dial", written, problems)):
        found = read(DialTable, table, problems, ("dial", index))
        if found is None:
            continue
        patterns = tuple(item for item in found.to if isinstance(item, str) and item != "*")
        networks = tuple(item for item in found.to if not isinstance(item, str))
        rules.append(DialRule(index + 1, "*" in found.to, patterns, networks, found.ports, found.verify, found.ca))
    return DialRules(tuple(rules)), problems
