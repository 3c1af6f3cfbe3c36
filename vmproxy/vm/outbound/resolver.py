"""The addresses of a host, looked up on own threads, with a deadline and a bound.

The system's own way of looking up is used (``getaddrinfo``, so ``/etc/hosts`` counts), by Twisted's resolver. But not
on the threads that the rest of the process uses: a name server that does not answer must not keep operators waiting.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet._resolver import GAIResolver
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorThreads,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from vmproxy.errors import VMProxyError
from vmproxy.wire.dialuri import Address, literal

LOOKUP_SECONDS = 10.0
LOOKUPS_LIMIT = 1000
THREADS = 8
ADDRESSES_LIMIT = 64  # of one host: whoever runs a name server may answer with thousands, and each has to be judged


class LookupFailed(VMProxyError):
    """The addresses of a host were not found, or not in time."""


@implementer(IResolutionReceiver)
class _Receiver:
    def __init__(self, done: Callable[[list[Address]], None]) -> None:
        self._done = done
        self._found: list[Address] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """It has begun."""

    def addressResolved(self, address: IAddress) -> None:
        """One of the addresses."""
        if len(self._found) >= ADDRESSES_LIMIT:
            return
        found = literal(address.host) if isinstance(address, IPv4Address | IPv6Address) else None
        if found is not None:
            self._found.append(found)

    def resolutionComplete(self) -> None:
        """Those were all."""
        self._done(self._found)


class Lookup:
    """Looks up hosts."""

    def __init__(self, clock: IReactorTime, resolver: IHostnameResolver) -> None:
        self._clock = clock
        self._resolver = resolver
        self._under_way = 0

    def find(self, host: str, port: int) -> Deferred[list[Address]]:
        """Look up a host.

        :returns: fires with its addresses, at least one and :data:`ADDRESSES_LIMIT` at most, in the order in which to
            try them; or fails with :class:`LookupFailed`.
        """
        answer: Deferred[list[Address]] = Deferred()
        if self._under_way >= LOOKUPS_LIMIT:
            answer.errback(LookupFailed("too many hosts are being looked up at the same time"))
            return answer
        self._under_way += 1

        def done(found: list[Address]) -> None:
            self._under_way -= 1  # however late: the thread was busy until now
            if late:
                return
            if found:
                answer.callback(found)
            else:
                answer.errback(LookupFailed(f"{host}: there is no such host"))

        def too_late(_: object, seconds: float) -> None:
            late.append(True)
            raise LookupFailed(f"{host}: the name server has not answered within {seconds:g} s")

        late: list[bool] = []
        answer.addTimeout(LOOKUP_SECONDS, self._clock, onTimeoutCancel=too_late)
        self._resolver.resolveHostName(_Receiver(done), host, port, transportSemantics="TCP")
        return answer


def system_resolver(reactor: IReactorThreads) -> IHostnameResolver:
    """The system's resolver, on own threads that do not keep the process alive."""
    pool = ThreadPool(0, THREADS, name="lookup")
    pool.threadFactory = partial(threading.Thread, daemon=True)  # type: ignore[assignment]

    def get() -> ThreadPool:
        if not pool.started:
            pool.start()
        return pool

    return GAIResolver(reactor, get, _addresses)


def _addresses(*wanted: Any, **how: Any) -> Any:
    # What fails on a thread of Twisted's is kept by the frames there until the cyclic collector comes.
    try:
        return socket.getaddrinfo(*wanted, **how)
    except (OSError, UnicodeError):
        return []


def is_own(address: Address) -> bool:
    """Whether an address is this machine's own, by its routes; nothing is sent."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            probe.connect((str(address), 9))
            return literal(probe.getsockname()[0]) == address
    except OSError:  # there is no way there at all
        return False


def addresses_of(found: Sequence[Address], family: int) -> list[Address]:
    """Those of a family, 4 or 6; all where it is 0."""
    return [address for address in found if family in (0, address.version)]
