"""The sources of passwords: hashes in the operators file, a directory (LDAP), and PAM.

The operators file says which source an operator's password comes from. A source that is slow, or does not answer, keeps
the others waiting for nothing: each has a queue and threads of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from vmproxy.auth.accounts_file import NOWHERE, is_operator_name
from vmproxy.auth.keyring import Keyring
from vmproxy.auth.ldap import LDAPSettings
from vmproxy.auth.pam import PAMSettings
from vmproxy.auth.passwords import CannotCheck, FairExecutor, PasswordFile

LDAP, PAM = "ldap", "pam"
AT_ONCE = 2
THREADS = 2 * AT_ONCE
ANSWER_SECONDS = 1.0


class Source(Protocol):
    """Where passwords are checked, on a thread."""

    def check(self, name: str, secret: bytes) -> bool:
        """Whether a password is right.

        :raises CannotCheck: if that cannot be said now.
        """

    def stop(self) -> None:
        """Break off what is checked now."""


def usable_sources(ldap: LDAPSettings, pam: PAMSettings) -> dict[str, Source]:
    """The sources beside the operators file; reads files, on any thread.

    :raises ConfigError: if one cannot be used.
    """
    found = {LDAP: ldap.usable(), PAM: pam.usable()}
    return {word: source for word, source in found.items() if source is not None}


class PasswordSources:
    """The :class:`~vmproxy.auth.passwords.PasswordChecker` that asks the source of each operator."""

    def __init__(
        self,
        keyring: Callable[[], Keyring | None],
        in_thread: Callable[[Callable[[], object]], Deferred[object]],
        in_slow_thread: Callable[[Callable[[], object]], Deferred[object]],
        clock: IReactorTime,
    ) -> None:
        """
        :param keyring: the operators in force.
        :param in_slow_thread: runs a call that waits for the network; :data:`THREADS` at once at most.
        """
        self._keyring = keyring
        self._clock = clock
        self._file = PasswordFile(self._hashes, in_thread)
        self._turns = {word: FairExecutor(in_slow_thread, AT_ONCE) for word in (LDAP, PAM)}
        self._sources: Mapping[str, Source] = {}

    def use(self, sources: Mapping[str, Source]) -> None:
        """Ask these sources from now on; what was asked before is answered."""
        self._sources = sources

    def _hashes(self) -> Mapping[str, str]:
        keyring = self._keyring()
        return {} if keyring is None else keyring.passwords

    async def check(self, name: str, secret: bytes, address: str, wanted: Callable[[], bool]) -> str | None:
        keyring = self._keyring()
        word, theirs = (NOWHERE, name) if keyring is None else keyring.source_of(name)
        begun = self._clock.seconds()
        if word in self._turns and is_operator_name(name):
            found = await self._ask(word, name, theirs, secret, address, wanted)
        else:
            found = await self._file.check(name, secret, address, wanted)
        if found is None and self._sources:
            # One source is slower than another: the time must not tell who has which, nor that nobody has that name.
            late = self._clock.seconds() - begun
            await deferLater(self._clock, math.floor(late / ANSWER_SECONDS + 1) * ANSWER_SECONDS - late)
        return found

    async def _ask(
        self, word: str, name: str, theirs: str, secret: bytes, address: str, wanted: Callable[[], bool]
    ) -> str | None:
        source = self._sources.get(word)
        if source is None:
            raise CannotCheck(f"{name}'s password is to be checked by {word}, and there is no [{word}] in the settings")
        right = await self._turns[word].run(address, lambda: source.check(theirs, secret), wanted)
        return name if right else None

    def stop(self) -> None:
        """Break off what is asked now."""
        for source in self._sources.values():
            source.stop()
