"""Passwords: hashes made and checked with argon2id, on threads, and never many at once.

A hash costs a tenth of a second of processor time and 64 MiB of memory: a flood of wrong passwords is expensive for
us. Bound: a few are computed at a time; the rest wait in a queue with a limit, in all and for each neighbourhood.
Neighbourhoods take turns, so that a flood delays only its own. A check that no client waits for is not computed. A name
that nobody has, or without a password, costs as much as one with a password: the time tells nothing.

:class:`PasswordChecker` is the seam for other sources of passwords.
"""

from __future__ import annotations

import base64
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHash, VerificationError
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.base.addresses import neighbourhood
from vmproxy.errors import VMProxyError

T = TypeVar("T")

PASSWORD_LIMIT = 1024
HASH_LIMIT = 512
MEMORY_LIMIT = 1024 * 1024  # KiB
TIME_LIMIT = 32
LANES_LIMIT = 16
AT_ONCE = 2
WAITING_LIMIT = 256
WAITING_EACH = 8

_log = Logger()


class BadHash(VMProxyError):
    """An invalid password hash; the text says why."""


class CannotCheck(VMProxyError):
    """A password that cannot be checked now, through no fault of who gave it; the text says why, for our logs."""


class TooBusy(CannotCheck):
    """Too many passwords wait to be checked."""


class Unwanted(VMProxyError):
    """No client waits for the answer any more, so there is none."""


class PasswordChecker(Protocol):
    async def check(self, name: str, secret: bytes, address: str, wanted: Callable[[], bool]) -> str | None:
        """Check a password.

        :param name: the claimed name, of an operator or of nobody.
        :param secret: the password, at most :data:`PASSWORD_LIMIT` bytes.
        :param address: the client's address.
        :param wanted: whether the client still waits for the answer.
        :returns: the operator's name; None if the password is wrong or nobody has that name. The time must not tell
            which.
        :raises CannotCheck: if it cannot be checked at the moment.
        """


def hash_password(secret: str) -> str:
    """Hash a password, for the operators file. Takes a tenth of a second and 64 MiB.

    :returns: ``$argon2id$...``
    :raises BadHash: if the password is empty or longer than :data:`PASSWORD_LIMIT` bytes.
    """
    data = secret.encode()
    if not data:
        raise BadHash("an empty password lets everybody in")
    if len(data) > PASSWORD_LIMIT:
        raise BadHash(f"the password is longer than {PASSWORD_LIMIT} bytes")
    return PasswordHasher().hash(data)


def check_hash(text: str) -> None:
    """Check that a hash is valid, and not so expensive that logins would stop the machine.

    :raises BadHash: if it is not.
    """
    try:
        if len(text) > HASH_LIMIT:
            raise InvalidHash
        found = extract_parameters(text)
        for field in text.split("$")[-2:]:
            base64.b64decode(field + "=" * (-len(field) % 4), validate=True)
    except (InvalidHash, ValueError):
        raise BadHash("this is not an argon2id hash; make one with `vmproxy hash-password'") from None
    if found.type is not Type.ID:
        raise BadHash("this is another kind of argon2 than argon2id; make one with `vmproxy hash-password'")
    costs = (
        ("memory cost", found.memory_cost, 8 * found.parallelism, MEMORY_LIMIT),
        ("time cost", found.time_cost, 1, TIME_LIMIT),
        ("parallelism", found.parallelism, 1, LANES_LIMIT),
        ("salt's length", found.salt_len, 8, 64),
        ("length", found.hash_len, 16, 64),
    )
    for what, cost, least, most in costs:
        if not least <= cost <= most:
            raise BadHash(f"its {what} is {cost}; {least} to {most} can be used")


def verify(hashed: str, secret: bytes) -> bool:
    """Whether a password matches a hash; as slow as hashing."""
    try:
        return PasswordHasher().verify(hashed, secret)
    except InvalidHash:
        return False
    except VerificationError as error:
        # The wrong password, or not memory enough: either way nobody gets in.
        if type(error) is VerificationError:
            _log.error("a password could not be checked: {error}", error=error)
        return False


def dummy_like(hashed: str | None) -> str:
    """A hash that matches no password and costs as much to check as another.

    :param hashed: the other; None for the cost of our own hashes.
    """
    if hashed is not None:
        head, salt, digest = hashed.rsplit("$", 2)
        sizes = (len(salt) * 3 // 4, len(digest) * 3 // 4)
    else:
        usual = PasswordHasher()
        head = f"$argon2id$v=19$m={usual.memory_cost},t={usual.time_cost},p={usual.parallelism}"
        sizes = (usual.salt_len, usual.hash_len)
    return "$".join([head, *(base64.b64encode(os.urandom(size)).decode().rstrip("=") for size in sizes)])


class FairExecutor:
    """Runs slow calls on threads, a few at once, in turns between neighbourhoods.

    :ivar waiting: the number of calls that wait.
    """

    __slots__ = ("_at_once", "_each", "_in_thread", "_limit", "_queues", "_running", "waiting")

    def __init__(
        self,
        in_thread: Callable[[Callable[[], object]], Deferred[object]],
        at_once: int = AT_ONCE,
        limit: int = WAITING_LIMIT,
        each: int = WAITING_EACH,
    ) -> None:
        """
        :param limit: the number of calls that may wait.
        :param each: the number of them for one neighbourhood.
        """
        self._in_thread = in_thread
        self._at_once = at_once
        self._limit = limit
        self._each = each
        self._running = 0
        self.waiting = 0
        self._queues: dict[str, deque[_Turn]] = {}  # the first one is next

    async def run(self, address: str, call: Callable[[], T], wanted: Callable[[], bool]) -> T:
        """Run a call.

        :param address: the address that it is for.
        :param wanted: whether the result is still wanted; asked before the call runs.
        :raises TooBusy: if too many wait.
        :raises Unwanted: if it was no longer wanted when its turn came, or when its place was needed.
        """
        where = neighbourhood(address)
        if len(self._queues.get(where, ())) >= self._each:
            self._clear(where)
            if len(self._queues.get(where, ())) >= self._each:
                raise TooBusy(f"too many passwords from {where} are waiting to be checked")
        if self.waiting >= self._limit:
            for other in list(self._queues):
                self._clear(other)
            if self.waiting >= self._limit:
                raise TooBusy("too many passwords are waiting to be checked")
        result: Deferred[T] = Deferred()

        def start() -> None:
            self._in_thread(call).addBoth(self._finished, result)

        self._queues.setdefault(where, deque()).append(_Turn(start, wanted, result.errback))
        self.waiting += 1
        self._start()
        return await result

    def _clear(self, where: str) -> None:
        """Remove the calls from a queue that are no longer wanted."""
        queue = self._queues.get(where, ())
        wanted = deque(turn for turn in queue if turn.wanted())
        gone = [turn for turn in queue if turn not in wanted]
        if wanted:
            self._queues[where] = wanted
        else:
            self._queues.pop(where, None)
        self.waiting -= len(gone)
        for turn in gone:
            turn.give_up(_unwanted())

    def _finished(self, outcome: object | Failure, result: Deferred[T]) -> None:
        self._running -= 1
        self._start()
        result.callback(outcome)  # type: ignore[arg-type]  # a Failure as well

    def _start(self) -> None:
        while self._running < self._at_once and self._queues:
            address = next(iter(self._queues))
            queue = self._queues.pop(address)
            turn = queue.popleft()
            if queue:
                self._queues[address] = queue  # behind the others
            self.waiting -= 1
            if turn.wanted():
                self._running += 1
                turn.start()
            else:
                turn.give_up(_unwanted())


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    """A waiting call."""

    start: Callable[[], None]
    wanted: Callable[[], bool]
    give_up: Callable[[Failure], None]


def _unwanted() -> Failure:
    return Failure(Unwanted("the connection was closed before the password was checked"))


class PasswordFile:
    """The :class:`PasswordChecker` for the hashes of the operators file."""

    def __init__(
        self,
        hashes: Callable[[], Mapping[str, str]],
        in_thread: Callable[[Callable[[], object]], Deferred[object]],
    ) -> None:
        """:param hashes: gives the hashes in force, by operator."""
        self._hashes = hashes
        self._turns = FairExecutor(in_thread)

    async def check(self, name: str, secret: bytes, address: str, wanted: Callable[[], bool]) -> str | None:
        hashes = self._hashes()
        hashed = hashes.get(name) or dummy_like(next(iter(hashes.values()), None))
        return name if await self._turns.run(address, lambda: verify(hashed, secret), wanted) else None
