"""Coroutines that run on their own: what they held is freed at once, and a failure still says where it came from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from tests.support.living import nothing_left
from vmproxy.base.tasks import outcome, spawn


class Held:
    """What a coroutine has in its hands."""


async def work(waits_for: Deferred[None], held: Held) -> Held:
    await waits_for
    return held


def fail(_: object) -> None:
    raise LookupError("not on the disk")


def fire(waits_for: Deferred[None], _: Deferred[Held]) -> None:
    waits_for.callback(None)


def cancel(_: Deferred[None], task: Deferred[Held]) -> None:
    task.cancel()


@pytest.mark.parametrize(
    ("fails", "ends", "expected"),
    [(True, fire, "LookupError: not on the disk"), (False, cancel, "CancelledError"), (False, fire, "")],
)
def test_a_coroutine_that_is_over_keeps_nothing(
    fails: bool, ends: Callable[[Deferred[None], Deferred[Held]], None], expected: str
) -> None:
    told: list[str] = []
    with nothing_left(Held, Failure):
        waits_for: Deferred[None] = Deferred()
        if fails:
            waits_for.addCallback(fail)
        task = spawn(work(waits_for, Held()))
        ends(waits_for, task)
        task.addErrback(lambda failure: told.append(failure.getTraceback()))
        del waits_for, task
    assert bool(told) == bool(expected)
    assert all(expected in text and "in work" in text for text in told)


def test_a_failure_is_what_it_was() -> None:
    waits_for: Deferred[None] = Deferred()
    task = spawn(work(waits_for, Held()))
    task.cancel()
    seen: list[Failure] = []
    task.addErrback(seen.append)
    assert seen[0].check(CancelledError)


def test_what_fails_on_a_thread_keeps_nothing() -> None:
    def read() -> None:
        held = Held()
        fail(held)

    with nothing_left(Held):
        failed = outcome(read)
        assert isinstance(failed, Failure)
        assert failed.check(LookupError)
        assert "in read" in failed.getTraceback()
        del failed
    assert outcome(lambda: 5) == 5
