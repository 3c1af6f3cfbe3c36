"""The operators file: who may log in, how, and what goes with each.

A TOML file of its own, so that it can have permissions of its own, and the only place that gives access::

    [operators.alice]
    keys = ["ssh-ed25519 AAAA... alice@laptop"]
    groups = ["admins"]

As with the configuration, all that is wrong with it is told at once, by file and key, and a misspelt key is an error.
What is read here is values only; the files of keys that it names are read by :mod:`vmproxy.auth.keyring`.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmproxy.auth.authorized_keys import AuthorizedKey, parse_authorities, parse_authorized_keys
from vmproxy.auth.passwords import BadHash, check_hash
from vmproxy.base.escape import BadEscape, parse_escape
from vmproxy.base.sanitize import visible
from vmproxy.errors import ConfigError

OPERATORS_LIMIT = 8 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_NAME_IS = "letters, digits, '.', '_' and '-', 64 at most, the first a letter, a digit or '_'"
_KEY_IS = 'public keys such as ["ssh-ed25519 AAAA... alice@laptop"]'


@dataclass(frozen=True, slots=True)
class Account:
    """One operator.

    :ivar groups: the groups that rules may name.
    :ivar escape: the two bytes of his escape; None for the server's.
    :ivar quiet: whether he wants fewer notices; None for the server's setting.
    :ivar pty: whether he may have a terminal; not with a key that has ``restrict`` or ``no-pty`` in front of it.
    :ivar forwarding: whether he may have raw streams; not with ``restrict`` or ``no-port-forwarding``.
    """

    name: str
    groups: tuple[str, ...] = ()
    escape: bytes | None = None
    quiet: bool | None = None
    pty: bool = True
    forwarding: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """What the file says about one operator.

    :ivar keys: those that stand in the file itself.
    :ivar key_files: files in the format of authorized_keys; wildcards are understood.
    :ivar password: an argon2id hash; None if he has no password.
    """

    account: Account
    keys: tuple[AuthorizedKey, ...] = ()
    key_files: tuple[str, ...] = ()
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Operators:
    """All operators.

    :ivar entries: by name.
    :ivar authorities: the public keys (blobs) of those who sign certificates.
    :ivar authority_files: files with more of them.
    :ivar revoked: the file of revoked keys and certificates; None if there is none.
    """

    entries: Mapping[str, Entry]
    authorities: frozenset[bytes] = frozenset()
    authority_files: tuple[str, ...] = ()
    revoked: str | None = None


class _Wrong(Exception):
    """A value that will not do; the text says what would."""


def the_only_one(name: str, key_files: tuple[str, ...]) -> Operators:
    """The operators where there is no file: one, who may do everything, with the keys of some files."""
    return Operators({name: Entry(Account(name), (), key_files)})


def load_operators(path: Path) -> Operators:
    """Read the file; waits for the disk.

    :raises ConfigError: with every problem found.
    """
    try:
        with path.open("rb") as file:
            data = file.read(OPERATORS_LIMIT + 1)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    if len(data) > OPERATORS_LIMIT:
        raise ConfigError([f"{path}: larger than {OPERATORS_LIMIT} bytes"])
    return parse_operators(data, str(path), path.absolute().parent)


def parse_operators(data: bytes, where: str, folder: Path) -> Operators:
    """Understand the file.

    :param where: its name, for the problems.
    :param folder: that from which the relative names of files count.
    :raises ConfigError: with every problem found.
    """
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise ConfigError([f"{where}: not a TOML file: {error}"]) from None
    problems: list[str] = []
    top = {
        "certificate-authorities": _authorities,
        "certificate-authorities-file": lambda value: _files(value, folder),
        "revoked-keys": lambda value: _file(value, folder),
        "operators": _table,
    }
    values = _checked(table, top, where, "", problems)
    entries: dict[str, Entry] = {}
    for name, settings in (values.get("operators") or {}).items():
        entry = _entry(name, settings, where, folder, problems)
        if entry is not None:
            entries[name] = entry
    problems += _shared(entries, where)
    if problems:
        raise ConfigError(problems)
    return Operators(
        entries,
        values.get("certificate-authorities", frozenset()),
        values.get("certificate-authorities-file", ()),
        values.get("revoked-keys"),
    )


def _entry(name: str, settings: object, where: str, folder: Path, problems: list[str]) -> Entry | None:
    shown = f"operators.{visible(name)}"
    if not _NAME.fullmatch(name):
        problems.append(f"{where}: {shown}: no name for an operator; it may have {_NAME_IS}")
    if not isinstance(settings, dict):
        problems.append(f"{where}: {shown}: write [operators.NAME], and what goes with the operator below")
        return None
    known = {
        "keys": _keys,
        "keys-file": lambda value: _files(value, folder),
        "password": _password,
        "groups": _groups,
        "escape": _escape,
        "quiet": _flag,
    }
    values = _checked(settings, known, where, f"{shown}.", problems)
    account = Account(name, values.get("groups", ()), values.get("escape"), values.get("quiet"))
    return Entry(account, values.get("keys", ()), values.get("keys-file", ()), values.get("password"))


def _checked(
    table: dict[str, Any],
    known: Mapping[str, Callable[[Any], Any]],
    where: str,
    prefix: str,
    problems: list[str],
) -> dict[str, Any]:
    """What is good of a table, by key; what is not goes to the problems."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        source = f"{where}: {prefix}{visible(key)}"
        check = known.get(key)
        if check is None:
            near = difflib.get_close_matches(key, known, 1, 0.6)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"there are {', '.join(known)}"
            problems.append(f"{source}: there is no such setting; {hint}")
            continue
        try:
            values[key] = check(value)
        except _Wrong as wrong:
            problems.append(f"{source}: {wrong}")
    return values


def _shared(entries: Mapping[str, Entry], where: str) -> list[str]:
    problems = []
    names: dict[str, str] = {}
    owners: dict[bytes, str] = {}
    for name, entry in entries.items():
        other = names.setdefault(name.lower(), name)
        if other != name:
            problems.append(
                f"{where}: operators.{visible(name)}: differs from {visible(other)} in capitals only; choose another"
            )
        for blob in {key.blob for key in entry.keys}:
            owner = owners.setdefault(blob, name)
            if owner != name:
                problems.append(
                    f"{where}: operators.{visible(name)}.keys: holds a key of {visible(owner)} as well;"
                    " a key says who one is, so it may stand with one operator only"
                )
    return problems


# The values.


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong("this is a section; write [operators.NAME], and what goes with the operator below")
    return value


def _strings(value: Any, what: str) -> list[str]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise _Wrong(f"{visible(repr(value))} is no list of strings; give {what}")
    return items


def _keys(value: Any) -> tuple[AuthorizedKey, ...]:
    found: list[AuthorizedKey] = []
    wrong: list[str] = []
    for number, line in enumerate(_strings(value, _KEY_IS), 1):
        keys = parse_authorized_keys(line.encode(), f"keys, number {number}") if len(line.splitlines()) == 1 else []
        if len(keys) == 1:
            found += keys
        else:
            wrong.append(f"number {number}, {visible(line, 40)!r}, is no public key")
    if wrong:
        raise _Wrong(f"{'; '.join(wrong)}; give {_KEY_IS}, as they stand in id_ed25519.pub")
    return tuple(found)


def _authorities(value: Any) -> frozenset[bytes]:
    found: set[bytes] = set()
    for number, line in enumerate(_strings(value, _KEY_IS), 1):
        blobs = parse_authorities(line.encode(), f"certificate-authorities, number {number}")
        if len(blobs) != 1:
            raise _Wrong(
                f"number {number}, {visible(line, 40)!r}, is no authority's key; give {_KEY_IS}, without options"
            )
        found |= blobs
    return frozenset(found)


def _file(value: Any, folder: Path) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise _Wrong(f"{visible(repr(value))} is no name of a file")
    return os.path.join(folder, os.path.expanduser(value))


def _files(value: Any, folder: Path) -> tuple[str, ...]:
    return tuple(_file(item, folder) for item in _strings(value, "the name of a file, or a list of names"))


def _password(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong("not a string; give a hash that `vmproxy hash-password' has made")
    try:
        check_hash(value)
    except BadHash as error:
        raise _Wrong(str(error)) from None  # the value itself may be a password, and is not repeated
    return value


def _groups(value: Any) -> tuple[str, ...]:
    what = f'names such as ["admins"], of {_NAME_IS}'
    items = _strings(value, what)
    wrong = [item for item in items if not _NAME.fullmatch(item)]
    if wrong:
        raise _Wrong(f"{', '.join(repr(visible(item)) for item in wrong)}: no name for a group; give {what}")
    return tuple(dict.fromkeys(items))


def _escape(value: Any) -> bytes:
    if not isinstance(value, str):
        raise _Wrong(f"{visible(repr(value))} is not a string such as '^Ec'")
    try:
        return parse_escape(value)
    except BadEscape as error:
        raise _Wrong(str(error)) from None


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong(f"{visible(repr(value))} is neither true nor false")
    return value
