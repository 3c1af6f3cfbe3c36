"""The keyring: operators, their keys, the authorities of certificates, and revocations, as the files say them now.

Every login checks the files on the disk, so that a change counts at the next one; only changed files are read. An
operators file that has become wrong changes nothing: the last good one stays in force, and the log says so. A file
of revoked keys that cannot be read revokes all keys.

All of this waits for the disk: it runs on one thread at a time.
"""

from __future__ import annotations

import glob
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from twisted.logger import Logger

from vmproxy.auth.accounts_file import SOURCES, Account, Operators, load_operators, the_only_one
from vmproxy.auth.authorized_keys import FILE_LIMIT, AuthorizedKey, parse_authorities, parse_authorized_keys
from vmproxy.auth.revocation import Revoked, read_revoked
from vmproxy.base import values
from vmproxy.base.schema import setting
from vmproxy.errors import ConfigError

T = TypeVar("T")

# A file that was changed so shortly before it was read may have changed again without its time telling.
SETTLED = 2.0

PERMISSIONS = "chown root:vmproxy and chmod 640 it"
"""The owner and the mode of the operators file: administrators write it, the daemon's group reads it."""

_log = Logger()


@dataclass(frozen=True, slots=True)
class Keyring:
    """All credentials at one moment.

    :ivar owners: the operator of each key (blob), and the key with its restrictions, once for each line that has it.
    :ivar shared: the keys that more than one operator has; they let nobody in.
    :ivar authorities: the keys (blobs) of the authorities that sign certificates.
    :ivar passwords: the hashes, by operator.
    """

    operators: Operators
    owners: Mapping[bytes, tuple[str, tuple[AuthorizedKey, ...]]]
    shared: frozenset[bytes]
    authorities: frozenset[bytes]
    revoked: Revoked
    passwords: Mapping[str, str] = field(repr=False)

    def account(self, name: str) -> Account | None:
        entry = self.operators.entries.get(name)
        return None if entry is None else entry.account

    def source_of(self, name: str) -> tuple[str, str]:
        """Where a password is checked: see :meth:`Operators.source_of`."""
        return self.operators.source_of(name)

    def password_mark(self, name: str) -> object:
        """What is another value when an operator has another password, or it is checked elsewhere."""
        return self.passwords.get(name), self.source_of(name)

    @property
    def has_passwords(self) -> bool:
        """Whether an operator has a password, here or elsewhere."""
        return bool(self.passwords) or any(self.source_of(name)[0] in SOURCES for name in self.operators.entries)


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """The files that say who may log in.

    :ivar operators_file: None for a single operator without a file.
    :ivar authorized_keys: patterns of the files with the keys of the one operator.
    """

    operators_file: Path | None = setting(values.or_empty(values.file, None), None, restart=True)
    authorized_keys: tuple[str, ...] = setting(
        values.list_of(values.word, 'files of public keys such as ["~/.ssh/authorized_keys"]'),
        ("~/.ssh/authorized_keys", "~/.ssh/*.pub"),
        restart=True,
    )


class KeyringReader:
    """Reads the files that say who may log in."""

    def __init__(self, settings: AccountSettings, owner: str) -> None:
        """:param owner: the name of the one operator that there is without an operators file."""
        self._file = settings.operators_file
        self._only = the_only_one(owner, settings.authorized_keys)
        self._before: dict[tuple[str, object], tuple[object, object]] = {}
        self._now: dict[tuple[str, object], tuple[object, object]] = {}
        self._nothing = Revoked()
        self._operators: Operators | None = None
        self._parts: list[object] = []
        self._keyring: Keyring | None = None

    def read(self) -> Keyring:
        """The keyring in force; the same object as before if nothing has changed.

        :raises ConfigError: if the operators file is wrong and never was right.
        """
        self._before, self._now = self._now, {}
        operators = self._read_operators()
        parts: list[object] = [operators]
        keys = {}
        for name, entry in operators.entries.items():
            files = self._each(entry.key_files, _read_keys)
            parts += files
            keys[name] = [*entry.keys, *(key for file in files for key in file)]
        authorities = self._each(operators.authority_files, _read_authorities)
        parts += authorities
        revoked = self._nothing if operators.revoked is None else self._once(operators.revoked, _read_revoked)
        parts.append(revoked)
        if self._keyring is None or list(map(id, parts)) != list(map(id, self._parts)):
            self._keyring = _put_together(operators, keys, authorities, revoked)
            self._parts = parts
        return self._keyring

    def _read_operators(self) -> Operators:
        if self._file is None:
            return self._only
        found = self._once(str(self._file), _read_operators)
        if isinstance(found, Operators):
            self._operators = found
        elif self._operators is None:
            raise ConfigError(found)
        return self._operators

    def _each(self, patterns: Iterable[str], read: Callable[[str], T]) -> list[T]:
        found = []
        for pattern in patterns:
            paths = sorted(glob.glob(os.path.expanduser(pattern)))
            if not paths and self._file is not None and not glob.has_magic(pattern):
                paths = [pattern]  # to be told that it is not there
            found += [self._once(path, read) for path in paths]
        return found

    def _once(self, path: str, read: Callable[[str], T]) -> T:
        """Read a file if it has changed since it was read."""
        try:
            status = os.stat(path)
        except OSError:
            mark: object = None
        else:
            changed = max(status.st_mtime, status.st_ctime)
            settled = time.time() - changed > SETTLED
            mark = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino) if settled else object()
        before = self._before.get((path, read))
        value = before[1] if before is not None and before[0] == mark else read(path)
        self._now[path, read] = (mark, value)
        return value  # type: ignore[return-value]


def _read_operators(path: str) -> Operators | list[str]:
    """The operators, or the problems."""
    try:
        operators = load_operators(Path(path))
        mode = os.stat(path).st_mode
    except ConfigError as error:
        _log.error(
            "the operators file cannot be used, the accounts in force stay: {problems}",
            problems="; ".join(error.problems),
        )
        return error.problems
    except OSError as error:
        return [f"{path}: {error.strerror}"]
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        _log.warn("{path}: others than its owner may change who may log in; {remedy}", path=path, remedy=PERMISSIONS)
    elif mode & stat.S_IROTH and any(entry.hashed for entry in operators.entries.values()):
        _log.warn("{path}: others may read the hashes of its passwords; {remedy}", path=path, remedy=PERMISSIONS)
    return operators


def _read_keys(path: str) -> list[AuthorizedKey]:
    return parse_authorized_keys(_whole_lines(path), path)


def _read_authorities(path: str) -> frozenset[bytes]:
    return parse_authorities(_whole_lines(path), path)


def _whole_lines(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            text = file.read(FILE_LIMIT + 1)
    except OSError as error:
        _log.warn("{path}: {error}; its keys let nobody in", path=path, error=error.strerror)
        return b""
    if len(text) > FILE_LIMIT:
        _log.warn("{path}: larger than {limit} bytes; the rest is ignored", path=path, limit=FILE_LIMIT)
        text = text[: text.rfind(b"\n", 0, FILE_LIMIT) + 1]
    return text


def _read_revoked(path: str) -> Revoked:
    revoked = read_revoked(path)
    if revoked.everything:
        _log.error("no key lets anybody in: {why}", why=revoked.everything)
    return revoked


def _put_together(
    operators: Operators,
    keys: Mapping[str, list[AuthorizedKey]],
    authorities: Iterable[frozenset[bytes]],
    revoked: Revoked,
) -> Keyring:
    owners: dict[bytes, tuple[str, tuple[AuthorizedKey, ...]]] = {}
    shared: set[bytes] = set()
    for name, theirs in keys.items():
        for key in theirs:
            owner, others = owners.setdefault(key.blob, (name, ()))
            if owner == name:
                owners[key.blob] = (name, (*others, key))
            elif key.blob not in shared:
                shared.add(key.blob)
                _log.error("{one} and {other} have the same key; it lets nobody in", one=owner, other=name)
    return Keyring(
        operators,
        owners,
        frozenset(shared),
        operators.authorities.union(*authorities),
        revoked,
        {name: entry.hashed for name, entry in operators.entries.items() if entry.hashed is not None},
    )
