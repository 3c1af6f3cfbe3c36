"""Calls on threads: one after the other, or on threads of one purpose, apart from those of the reactor."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, fail
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from vmproxy.base.tasks import outcome
from vmproxy.errors import VMProxyError

T = TypeVar("T")


class Stops(VMProxyError):
    """The process ends, and begins nothing more."""


class OneAtATime:
    """Runs calls on a thread, one after the other.

    Whoever waits may be cancelled; the call goes on, and the next waits for it.
    """

    def __init__(self, in_thread: Callable[[Callable[[], Any]], Deferred[Any]]) -> None:
        self._in_thread = in_thread
        self._lock = DeferredLock()

    def __call__(self, call: Callable[[], T]) -> Deferred[T]:
        """Run a call when it is its turn; fires with its result."""
        waiter: Deferred[T] = Deferred()
        done = self._lock.run(self._in_thread, call)
        done.addBoth(lambda outcome: None if waiter.called else waiter.callback(outcome))
        return waiter


class OwnThreads:
    """Runs calls on threads that begin with the first call: what waits on them keeps nothing else waiting.

    Invariant: once they are stopped none begins, so that the process comes to an end.
    """

    def __init__(self, reactor: PosixReactorBase, name: str, most: int) -> None:
        """:param most: how many there may be."""
        self._reactor = reactor
        self._name = name
        self._most = most
        self._pool: ThreadPool | None = None
        self._stopped = False

    def __call__(self, call: Callable[[], T]) -> Deferred[T]:
        """Run a call; fires with its result, or fails with :class:`Stops` once they are stopped."""
        if self._stopped:
            return fail(Stops("vmproxy stops"))
        if self._pool is None:
            self._pool = ThreadPool(0, self._most, self._name)
            self._pool.start()
        return deferToThreadPool(self._reactor, self._pool, outcome, call)  # type: ignore[arg-type]  # it may fail

    def stop(self) -> None:
        """End the threads as soon as the calls that run are over; waits for none, and no others are run.

        One may hang for as long as the network lets it, and what the VMs have said is not on the disk yet.
        """
        self._stopped = True
        pool, self._pool = self._pool, None
        if pool is not None:
            threading.Thread(target=pool.stop, name=f"{self._name}-end", daemon=True).start()
