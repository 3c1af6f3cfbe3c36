"""The operators file: accounts, credentials, groups and preferences.

A TOML file of its own, so that it can have permissions of its own, and the only place that gives access::

    [operators.alice]
    keys = ["ssh-ed25519 AAAA... alice@laptop"]
    groups = ["admins"]

All problems are reported at once, and a misspelt key is a problem. Only values are read here; :mod:`keyring
<vmproxy.auth.keyring>` reads the files of keys that they name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vmproxy.access.policy import Restriction
from vmproxy.auth.authorized_keys import AuthorizedKey, parse_authorities, parse_authorized_keys
from vmproxy.auth.passwords import check_hash
from vmproxy.base import values
from vmproxy.base.sanitize import visible
from vmproxy.base.schema import InvalidValue, Problem, make, read, read_values, setting, settings_of, told
from vmproxy.base.toml import TomlFile
from vmproxy.errors import ConfigError

OPERATORS_LIMIT = 8 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_NAME_IS = "letters, digits, '.', '_' and '-', 64 at most, the first a letter, a digit or '_'"
_KEY_IS = 'public keys such as ["ssh-ed25519 AAAA... alice@laptop"]'
SOURCES = ("ldap", "pam")
NOWHERE = "none"
"""The sources of passwords beside hashes, and the word for none."""

_SECTION = "write [operators.NAME], and what goes with the operator below"


_ELSEWHERE = (*SOURCES, NOWHERE)

# What may be written.


def _key(value: Any) -> AuthorizedKey:
    one_line = isinstance(value, str) and len(value.splitlines()) == 1
    keys = parse_authorized_keys(value.encode(), "keys") if one_line else []
    if len(keys) != 1:
        raise InvalidValue(f"{_shown(value)} is not a public key")
    return keys[0]


def _authority(value: Any) -> bytes:
    keys = parse_authorities(value.encode(), "certificate-authorities") if isinstance(value, str) else frozenset()
    if len(keys) != 1:
        raise InvalidValue(f"{_shown(value)} is not an authority's key")
    return next(iter(keys))


def _shown(value: Any) -> str:
    return repr(visible(value, 40)) if isinstance(value, str) else visible(repr(value), 40)


def _file(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise InvalidValue(f"{visible(repr(value))} is not the name of a file")
    return os.path.expanduser(value)


def _password(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidValue("not a string; give a hash that `vmproxy hash-password' has made, or one of ldap, pam, none")
    if value not in _ELSEWHERE:
        check_hash(value)  # the value itself may be a password, and is not repeated
    return value


def _directory_name(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 256 or not value.isprintable():
        raise InvalidValue(f"{visible(repr(value), 80)} is not a name of somebody")
    return value


def _group(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidValue(f"{visible(repr(value))} is not a name for a group")
    return value


_certificate_names = values.list_of(
    _directory_name, 'names such as ["alice@example.com", "CN=Alice"]', may_be_empty=True
)
_groups = values.list_of(_group, f'names such as ["admins"], of {_NAME_IS}', may_be_empty=True)
_files = values.list_of(_file, "the name of a file, or a list of names", may_be_empty=True)
_keys = values.list_of(_key, f"{_KEY_IS}, as in id_ed25519.pub", may_be_empty=True)
_authorities = values.list_of(_authority, f"{_KEY_IS}, without options", may_be_empty=True)


@dataclass(frozen=True, slots=True)
class Account:
    """One operator.

    :ivar groups: the groups that rules may name.
    :ivar escape: the two bytes of their escape; None for the server's.
    :ivar quiet: whether they want fewer notices; None for the server's setting.
    :ivar session_idle: seconds without a key or pointer after which their session of a browser ends, 0: never; None
        for the server's setting.
    :ivar pty: whether they may have a terminal; not with a key that has ``restrict`` or ``no-pty`` in front of it.
    :ivar forwarding: whether they may have raw streams; not with ``restrict`` or ``no-port-forwarding``.
    :ivar restriction: what the credential takes away; None for nothing.
    :ivar behalf: of a guest, the operator who answers for them, and whose rights theirs are a part of; else empty.
    """

    name: str
    groups: tuple[str, ...] = setting(values.then(_groups, lambda names: tuple(dict.fromkeys(names))), ())
    escape: bytes | None = setting(values.escape, None)
    quiet: bool | None = setting(values.flag, None)
    session_idle: float | None = setting(values.span, None)
    pty: bool = True
    forwarding: bool = True
    restriction: Restriction | None = None
    behalf: str = ""


@dataclass(frozen=True, slots=True)
class OperatorEntry:
    """One operator's section of the file.

    :ivar keys: the keys in the file itself.
    :ivar key_files: patterns of files in the format of authorized_keys.
    :ivar password: an argon2id hash, or the source of the password; None for the source that the file says of all.
    :ivar directory_name: their name there; empty if it is the same.
    :ivar certificate_names: the names in certificates of browsers that are theirs.
    :ivar oidc_name: what a provider's claim says of them; empty if it is their name.
    """

    account: Account
    keys: tuple[AuthorizedKey, ...] = setting(_keys, ())
    key_files: tuple[str, ...] = setting(_files, (), key="keys-file")
    password: str | None = setting(_password, None, secret=True)
    directory_name: str = setting(_directory_name, "")
    certificate_names: tuple[str, ...] = setting(_certificate_names, ())
    oidc_name: str = setting(_directory_name, "")

    @property
    def hashed(self) -> str | None:
        """The hash of their password; None without one."""
        return None if self.password in _ELSEWHERE else self.password


@dataclass(frozen=True, slots=True)
class Operators:
    """All operators.

    :ivar entries: by name.
    :ivar authorities: the public keys (blobs) of the authorities that sign certificates.
    :ivar authority_files: files with more authorities.
    :ivar revoked: the file of revoked keys and certificates; None if there is none.
    :ivar default_password: the source of the passwords of operators of whom nothing is said.
    """

    entries: Mapping[str, OperatorEntry]
    authorities: frozenset[bytes] = setting(
        values.then(_authorities, frozenset), frozenset(), key="certificate-authorities"
    )
    authority_files: tuple[str, ...] = setting(_files, (), key="certificate-authorities-file")
    revoked: str | None = setting(_file, None, key="revoked-keys")
    default_password: str = setting(values.one_of(_ELSEWHERE), NOWHERE)

    def source_of(self, name: str) -> tuple[str, str]:
        """The source of an operator's password, or ``none``, and their name there; also for who is no operator."""
        entry = self.entries.get(name)
        if entry is None:
            return self.default_password, name
        word = entry.password or self.default_password
        return (word if word in SOURCES else NOWHERE), entry.directory_name or name

    def of_certificate(self, names: Iterable[str]) -> Account | None:
        """The operator whose the names in a certificate are; None if they are nobody's, or those of several."""
        wanted = frozenset(names)
        found = [entry.account for entry in self.entries.values() if not wanted.isdisjoint(entry.certificate_names)]
        return found[0] if len(found) == 1 else None

    def of_oidc(self, name: str) -> Account | None:
        """The operator whom a provider calls so."""
        for entry in self.entries.values():
            if name == (entry.oidc_name or entry.account.name):
                return entry.account
        return None


def is_operator_name(name: str) -> bool:
    """Whether an operator may be called so."""
    return _NAME.fullmatch(name) is not None


def the_only_one(name: str, key_files: tuple[str, ...]) -> Operators:
    """The single operator that there is without a file."""
    return Operators({name: OperatorEntry(Account(name), (), key_files)})


def load_operators(path: Path) -> Operators:
    """Read the file; waits for the disk.

    :raises ConfigError: with every problem found.
    """
    try:
        with path.open("rb") as file:
            data = file.read(OPERATORS_LIMIT + 1)
    except OSError as error:
        raise ConfigError([f"ssh.operators-file: {path}: {error.strerror}"]) from None
    if len(data) > OPERATORS_LIMIT:
        raise ConfigError([f"ssh.operators-file: {path}: larger than {OPERATORS_LIMIT} bytes"])
    return parse_operators(data, str(path), path.absolute().parent)


def parse_operators(data: bytes, where: str, folder: Path) -> Operators:
    """Parse the file.

    :param where: its name, for problems.
    :param folder: the folder that relative names of files count from.
    :raises ConfigError: with every problem found.
    """
    file = TomlFile(data, where)
    problems: list[Problem] = []
    known = {**settings_of(Account), **settings_of(OperatorEntry)}
    found = read(Operators, file.table, problems, also=("operators",), entries={})
    assert found is not None, "nothing is required"
    entries: dict[str, OperatorEntry] = {}
    named = file.table.get("operators", {})
    if not isinstance(named, dict):
        problems.append(Problem(("operators",), f"this is a section; {_SECTION}"))
        named = {}
    for name, table in named.items():
        place = ("operators", name)
        if not _NAME.fullmatch(name):
            problems.append(Problem(place, f"not a name for an operator; it may have {_NAME_IS}"))
        if not isinstance(table, dict):
            problems.append(Problem(place, _SECTION))
            continue
        checked = read_values(known, table, problems, place)
        entry = make(OperatorEntry, checked, account=make(Account, checked, name=name))
        entries[name] = replace(entry, key_files=_within(folder, entry.key_files))
    problems += _shared(entries)
    if problems:
        raise ConfigError(told(problems, file))
    revoked = None if found.revoked is None else os.path.join(folder, found.revoked)
    return replace(found, entries=entries, authority_files=_within(folder, found.authority_files), revoked=revoked)


def _within(folder: Path, files: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(os.path.join(folder, file) for file in files)


def _shared(entries: Mapping[str, OperatorEntry]) -> list[Problem]:
    problems = []
    names: dict[str, str] = {}
    owners: dict[bytes, str] = {}
    others: dict[tuple[str, str], str] = {}
    for name, entry in entries.items():
        place = ("operators", name)
        other = names.setdefault(name.lower(), name)
        if other != name:
            problems.append(Problem(place, f"differs from {visible(other)} in capitals only; choose another"))
        for blob in {key.blob for key in entry.keys}:
            owner = owners.setdefault(blob, name)
            if owner != name:
                text = f"has a key of {visible(owner)} as well; a key may belong to one operator only"
                problems.append(Problem((*place, "keys"), text))
        for key, theirs in (("certificate-names", entry.certificate_names), ("oidc-name", (entry.oidc_name or name,))):
            for one in theirs:
                owner = others.setdefault((key, one), name)
                if owner != name:
                    text = f"{visible(one)} is {visible(owner)}'s as well; it may be one operator's only"
                    problems.append(Problem((*place, key), text))
    return problems
