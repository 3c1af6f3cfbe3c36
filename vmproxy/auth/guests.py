"""Guests: logins for people who have no account, for a while, with a part of what one operator may do.

A guest has a name, a password of 80 random bits that is shown once, and a number of logins, mostly one. Only a hash of
the password is kept, in a file that only the daemon reads. What a guest may do is what the operator who answers for
them may do at that moment, as far as the :class:`~vmproxy.access.policy.Restriction` lets it count.

Bound: :data:`EACH` guests of an operator, :data:`IN_ALL` in all.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from hmac import compare_digest
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmproxy.access.policy import Restriction, Right
from vmproxy.access.selector import Selector
from vmproxy.auth.accounts_file import Account
from vmproxy.base.clock import wall_of
from vmproxy.base.countdown import Countdown
from vmproxy.base.new_file import new_file
from vmproxy.base.threads import OneAtATime
from vmproxy.errors import VMProxyError

FILE = "guests.json"
FILE_LIMIT = 4 * 1024 * 1024
EACH = 50
IN_ALL = 1000
LONGEST = 30 * 86400.0
LOGINS_LIMIT = 100
LOOK_SECONDS = 60.0  # the longest that a clock which was set may put the end of a login off
PREFIX = "guest-"
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none is taken for another

_log = Logger()


class GuestError(VMProxyError):
    """A guest that there cannot be; the text says why."""


@dataclass(frozen=True, slots=True)
class Guest:
    """One guest.

    :ivar operator: who answers for them.
    :ivar digest: the hash of the password.
    :ivar may: the rights that are left of the operator's, in the words of the rules.
    :ivar on: the selector of the consoles; ``port``: the serial port, empty for all.
    :ivar logins: how many more logins there may be.
    """

    name: str
    operator: str
    digest: str
    may: tuple[str, ...]
    on: str
    port: str
    created: float
    expires: float
    logins: int

    @property
    def restriction(self) -> Restriction:
        """What is left of the rights of the operator."""
        rights = Right.NONE
        for word in self.may:
            rights |= Right[word.upper()]
        return Restriction(rights, (Selector(self.on),), self.port)

    def account(self, operator: Account) -> Account:
        """The account of the guest.

        :param operator: that of the operator who answers for them.
        """
        return replace(
            operator, name=self.name, behalf=operator.name, forwarding=False, restriction=self.restriction, quiet=None
        )


def _digest(name: str, secret: bytes) -> str:
    return hashlib.sha256(name.encode() + b"\0" + secret).hexdigest()


def _random(size: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(size))


class GuestList:
    """The guests, for the daemon.

    :ivar ended: called with the names of guests who may be logged in no longer.
    """

    def __init__(
        self, path: Path, in_thread: Callable[[Callable[[], object]], Deferred[object]], clock: IReactorTime
    ) -> None:
        self.ended: Callable[[Iterable[str]], None] = lambda _: None
        self._path = path
        self._wall = wall_of(clock)
        self._guests: dict[str, Guest] = {}
        self._one_at_a_time = OneAtATime(in_thread)
        self._looks = Countdown(clock)

    def call_when_ended(self, ended: Callable[[Iterable[str]], None]) -> None:
        """Have something called with the names of guests who may be logged in no longer."""
        self.ended = ended

    def load(self) -> None:
        """Read the file; waits for the disk.

        :raises OSError: if it cannot be read.
        """
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        with os.fdopen(fd, "rb") as file:
            data = file.read(FILE_LIMIT)
        try:
            found = [_read(said) for said in json.loads(data)]
        except (ValueError, KeyError, TypeError, VMProxyError, RecursionError):
            _log.error("{path} cannot be understood; the guests in it are out", path=str(self._path))
            return
        self._guests = {guest.name: guest for guest in found if guest.expires > self._wall()}
        self._wait()

    def stop(self) -> None:
        """Look no more for guests whose time is over."""
        self._looks.stop()

    def __iter__(self) -> Any:
        return iter(list(self._guests.values()))

    def __len__(self) -> int:
        return len(self._guests)

    def find(self, name: str) -> Guest | None:
        """A guest whose time is not over; there may be no more logins."""
        guest = self._guests.get(name)
        return guest if guest is not None and guest.expires > self._wall() else None

    async def make(
        self, operator: str, may: Right, on: str, port: str, seconds: float, logins: int = 1
    ) -> tuple[Guest, str]:
        """Let somebody in.

        :param may: the rights that are left of the operator's; ``on`` and ``port``: on which consoles.
        :returns: the guest, and the password, which nobody can tell later.
        :raises GuestError: if there can be none like that.
        :raises OSError: if it cannot be written down.
        """
        if not 0 < seconds <= LONGEST:
            raise GuestError(f"a guest may stay for {LONGEST / 86400:g} days at most")
        own = sum(guest.operator == operator for guest in self)
        if own >= EACH or len(self) >= IN_ALL:
            raise GuestError(f"there are {own} guests of {operator}, {len(self)} in all; revoke some")
        name, now = PREFIX + _random(6), self._wall()
        secret = "-".join(_random(4) for _ in range(4))
        digest = _digest(name, secret.encode())
        guest = Guest(name, operator, digest, tuple(may.words), on, port, now, now + seconds, logins)
        self._guests[name] = guest
        try:
            await self._save()
        except BaseException:
            self._guests.pop(name, None)
            raise
        self._wait()
        return guest, secret

    async def revoke(self, names: Iterable[str]) -> None:
        """Let guests in no more, and those who are in out.

        :raises OSError: if it cannot be written down; they are out until the next start then.
        """
        gone = [name for name in names if self._guests.pop(name, None) is not None]
        self.ended(gone)
        await self._save()

    async def log_in(self, name: str, secret: bytes) -> Guest | None:
        """Use one of the logins of a guest.

        :returns: None if the password is wrong, or nobody has that name, or all logins are used.
        :raises OSError: if it cannot be written down: a password that counts once would count again after a restart.
        """
        guest = self.find(name)
        # As long for a name that nobody has.
        right = compare_digest(_digest(name, secret), guest.digest if guest is not None else "0" * 64)
        if guest is None or not right or guest.logins < 1:
            return None
        self._guests[name] = used = replace(guest, logins=guest.logins - 1)
        await self._save()
        # Meanwhile they may have been revoked, and who is not in yet is not put out.
        return used if self.find(name) is not None else None

    # The file, and the time.

    def _save(self) -> Deferred[None]:
        return self._one_at_a_time(self._write)

    def _write(self) -> None:
        data = json.dumps([asdict(guest) for guest in list(self._guests.values())])
        with new_file(self._path, 0o600) as file:
            file.write(data)

    def _wait(self) -> None:
        self.stop()
        if self._guests:
            first = min(guest.expires for guest in self._guests.values()) - self._wall()
            self._looks.start(min(max(0.0, first), LOOK_SECONDS), self._look)

    def _look(self) -> None:
        now = self._wall()
        over = [guest.name for guest in self if guest.expires <= now]
        if over:
            for name in over:
                del self._guests[name]
            self.ended(over)
            self._save().addErrback(
                lambda failure: _log.error("{path}: {error}", path=str(self._path), error=failure.getErrorMessage())
            )
        self._wait()


def _read(said: dict[str, Any]) -> Guest:
    guest = Guest(
        str(said["name"]),
        str(said["operator"]),
        str(said["digest"]),
        tuple(map(str, said["may"])),
        str(said["on"]),
        str(said["port"]),
        float(said["created"]),
        float(said["expires"]),
        int(said["logins"]),
    )
    assert guest.restriction
    return guest
