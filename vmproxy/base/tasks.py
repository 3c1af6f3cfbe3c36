"""Coroutines that run on their own, and free what they held as soon as they are over."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def spawn(work: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Run a coroutine.

    Where it fails by what it has waited for, the failure and the frame that handed it in keep each other, with all
    that the coroutine has had in its hands. Only the cyclic collector would free that, so the failure keeps its text
    and lets go of the frames.
    """
    return Deferred.fromCoroutine(work).addErrback(_let_go)


def outcome(work: Callable[[], T]) -> T | Failure:
    """The result of a call on a thread, or its failure without frames, as in :func:`spawn`: a pool's keep it."""
    try:
        return work()
    except Exception:  # it is for whoever waits for the result
        return _let_go(Failure())


def _let_go(failure: Failure) -> Failure:
    failure.cleanFailure()
    return failure
