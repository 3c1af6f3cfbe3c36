"""``[[dial]]`` tables as they are written: read from what TOML gives, every problem told."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any

from cryptography import x509

from vmproxy.errors import VMProxyError
from vmproxy.vm.outbound.rules import DialRule, DialRules, Network

_KEYS = ("to", "ports", "verify", "ca")
_PATTERN = re.compile(r"[a-z0-9_.*?-]*[a-z*?][a-z0-9_.*?-]*", re.ASCII)
_NUMBERS = re.compile(r"[0-9.*?]+", re.ASCII)
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)
_LISTED = 256
_CA_LIMIT = 4 * 1024 * 1024


class BadTable(VMProxyError):
    """A value that will not do; the text says what would."""


def parse_dial(tables: Any) -> tuple[DialRules, list[str]]:
    """Read ``[[dial]]`` tables, and the files of authorities that they name.

    :param tables: as TOML gives them; None where there are none.
    :returns: the rules, and a line for each problem that was found.
    """
    if tables is None:
        return DialRules(), []
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        return DialRules(), ["dial: write [[dial]], in double brackets, for each"]
    problems: list[str] = []
    rules = [_rule(number, table, problems) for number, table in enumerate(tables, 1)]
    return DialRules(tuple(rule for rule in rules if rule is not None)), problems


def _rule(number: int, table: dict[str, Any], problems: list[str]) -> DialRule | None:
    found = [f"{key!a}: there is no such setting; there are {', '.join(_KEYS)}" for key in table if key not in _KEYS]
    names: list[str] = []
    networks: list[Network] = []
    ports: list[tuple[int, int]] = []
    verify = table.get("verify", True)
    authorities = None
    for item in _list(table, "to", 'names, patterns, addresses and networks such as ["*.example.com"]', found):
        try:
            what = _destination(item)
        except BadTable as error:
            found.append(f"to: {error}")
        else:
            (names if isinstance(what, str) else networks).append(what)  # type: ignore[arg-type]
    for item in _list(table, "ports", 'ports such as [4000, "5000-5010"], or ["*"] for any', found):
        try:
            ports.append(_ports(item))
        except BadTable as error:
            found.append(f"ports: {error}")
    if not isinstance(verify, bool):
        found.append(f"verify: {verify!r} is neither true nor false")
    elif not verify and "ca" in table:
        found.append("ca: means nothing where verify is false")
    elif "ca" in table:
        try:
            authorities = _authorities(table["ca"])
        except BadTable as error:
            found.append(f"ca: {error}")
    problems += [f"dial {number}: {problem}" for problem in found]
    if found:
        return None
    anywhere = "*" in names
    patterns = tuple(name for name in names if name != "*")
    return DialRule(number, anywhere, patterns, tuple(networks), tuple(ports), verify, authorities)


def _list(table: dict[str, Any], key: str, what: str, problems: list[str]) -> list[Any]:
    value = table.get(key)
    items = value if isinstance(value, list) else [] if value is None else [value]
    if not items:
        problems.append(f"{key}: is {'missing' if value is None else 'empty'}; give {what}")
    elif len(items) > _LISTED:
        problems.append(f"{key}: at most {_LISTED} in one rule")
        return []
    return items


def _destination(item: Any) -> str | Network:
    """A pattern of names, in small letters; or a network, which may be a single address."""
    if not isinstance(item, str) or not item:
        raise BadTable(f"{item!r} is neither a name nor an address")
    text = item.lower().removesuffix(".")
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        network = ipaddress.ip_network(inner)
    except ValueError as error:
        if "/" in text or ":" in text:
            raise BadTable(f"{item!r} is no network ({error})") from None
    else:
        if "%" in inner:
            raise BadTable(f"{item!r}: addresses with a zone cannot be dialled")
        return network
    if text == "*":
        return text
    if _NUMBERS.fullmatch(text):
        raise BadTable(f"{item!r} is no address; write a network, such as 10.0.0.0/8")
    if not _PATTERN.fullmatch(text):
        raise BadTable(f"{item!r} is neither a name, nor a pattern of names, nor an address, nor a network")
    return text


def _ports(item: Any) -> tuple[int, int]:
    if item == "*":
        return 1, 65535
    if isinstance(item, int) and not isinstance(item, bool):
        item = str(item)
    match = _RANGE.fullmatch(item) if isinstance(item, str) else None
    low = int(match[1]) if match else 0
    high = int(match[2] or match[1]) if match else 0
    if not 1 <= low <= high <= 65535:
        raise BadTable(f'{item!r} is neither a port from 1 to 65535, nor a range such as "5000-5010", nor "*"')
    return low, high


def _authorities(value: Any) -> bytes:
    if not isinstance(value, str) or not value or "\0" in value:
        raise BadTable(f"{value!r} is not the path of a file")
    try:
        path = Path(value).expanduser()
        with path.open("rb") as file:
            pem = file.read(_CA_LIMIT + 1)
    except (OSError, RuntimeError) as error:
        raise BadTable(f"{value!r} cannot be read ({getattr(error, 'strerror', None) or error})") from None
    try:
        if len(pem) > _CA_LIMIT:
            raise ValueError("it is too large")
        x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise BadTable(f"{value!r} holds no certificates in PEM ({error})") from None
    return pem
