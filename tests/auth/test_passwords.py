"""Passwords: hashes that are hashes, a bounded number of them computed, and the same cost for whoever is not there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from argon2 import PasswordHasher, Type, extract_parameters
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, execute
from twisted.python.failure import Failure

from tests.support.cases import each
from vmproxy.auth import passwords
from vmproxy.auth.passwords import (
    PASSWORD_LIMIT,
    BadHash,
    FairExecutor,
    PasswordFile,
    TooBusy,
    Unwanted,
    check_hash,
    dummy_like,
    hash_password,
    verify,
)

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
SALT = b"0123456789abcdef"  # fixed: a hash stands in the names of tests, which are the same each time
GOOD = CHEAP.hash("secret", salt=SALT)


def test_a_password_that_was_hashed_is_found_right_and_no_other() -> None:
    hashed = hash_password("pässword")
    check_hash(hashed)
    assert hashed.startswith("$argon2id$")
    assert verify(hashed, "pässword".encode())
    assert not verify(hashed, b"password")
    assert not verify(hashed, b"")


def test_passwords_that_are_none_are_not_hashed() -> None:
    for secret in ("", "x" * (PASSWORD_LIMIT + 1)):
        with pytest.raises(BadHash):
            hash_password(secret)


@each(
    "text",
    [
        "",
        "secret",
        "$2b$12$abcdefghijklmnopqrstuv",
        "$argon2id$",
        GOOD[:-30],
        GOOD + "\n",
        GOOD.replace("m=8", "m=x"),
        GOOD[:-4] + "\xff\xff\xff\xff",
        "$argon2id$v=19$m=8,t=1,p=1$$",
        GOOD + "A" * 1000,
        PasswordHasher(1, 8, 1, type=Type.I).hash("secret", salt=SALT),
        GOOD.replace("m=8", "m=999999999"),
        GOOD.replace("t=1", "t=1000000"),
        GOOD.replace("t=1", "t=0"),
        GOOD.replace("p=1", "p=255"),
        GOOD.replace("m=8", "m=1"),
    ],
)
def test_what_is_no_hash_or_costs_too_much_is_refused_before_it_is_ever_used(text: str) -> None:
    with pytest.raises(BadHash) as caught:
        check_hash(text)
    assert "secret" not in str(caught.value)


@given(
    st.text(max_size=120) | st.builds(lambda n, c: GOOD[:n] + c + GOOD[n + 1 :], st.integers(0, 90), st.characters())
)
def test_no_text_makes_the_check_or_the_comparison_raise_anything_else(text: str) -> None:
    try:
        check_hash(text)
    except BadHash:
        return
    if extract_parameters(text).memory_cost <= 64:
        verify(text, b"x")


def test_a_dummy_costs_what_the_other_costs_and_lets_nobody_in() -> None:
    for hashed in (GOOD, PasswordHasher(2, 64, 2, 20, 12).hash("secret")):
        dummy = dummy_like(hashed)
        check_hash(dummy)
        assert extract_parameters(dummy) == extract_parameters(hashed)
        assert not verify(dummy, b"secret")
    usual = dummy_like(None)
    check_hash(usual)
    assert extract_parameters(usual) == extract_parameters(hash_password("x"))


class Threads:
    """Threads whose work is done when a test says so."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], object], Deferred[object]]] = []

    def __call__(self, call: Callable[[], object]) -> Deferred[object]:
        self.jobs.append((call, Deferred()))
        return self.jobs[-1][1]

    def finish(self) -> None:
        call, done = self.jobs.pop(0)
        execute(call).chainDeferred(done)


def started(
    turns: FairExecutor, address: str, call: Callable[[], object], wanted: Callable[[], bool] = lambda: True
) -> list[object]:
    outcome: list[object] = []
    Deferred.fromCoroutine(turns.run(address, call, wanted)).addBoth(outcome.append)
    return outcome


def test_a_few_are_computed_at_once_and_the_others_wait() -> None:
    threads = Threads()
    turns = FairExecutor(threads, at_once=2)
    outcomes = [started(turns, "a", lambda n=n: n) for n in range(5)]
    assert (len(threads.jobs), turns.waiting) == (2, 3)
    while threads.jobs:
        threads.finish()
        assert len(threads.jobs) <= 2
    assert outcomes == [[0], [1], [2], [3], [4]]
    assert turns.waiting == 0


def test_whoever_floods_waits_behind_himself() -> None:
    threads = Threads()
    turns = FairExecutor(threads, at_once=1, each=10)
    order: list[str] = []
    for _ in range(10):
        started(turns, "flood", lambda: order.append("flood"))
    started(turns, "other", lambda: order.append("other"))
    while threads.jobs:
        threads.finish()
    assert order.index("other") <= 2


def test_what_is_over_the_bound_is_refused_and_room_comes_back() -> None:
    threads = Threads()
    turns = FairExecutor(threads, at_once=1, limit=3)
    for _ in range(4):
        started(turns, "a", lambda: None)
    (failure,) = started(turns, "a", lambda: None)
    assert isinstance(failure, Failure)
    assert failure.check(TooBusy)
    threads.finish()
    assert started(turns, "a", lambda: None) == []


def refused(outcome: list[object], error: type[Exception]) -> bool:
    return len(outcome) == 1 and isinstance(outcome[0], Failure) and outcome[0].check(error) is not None


def test_no_neighbourhood_takes_all_places() -> None:
    threads = Threads()
    turns = FairExecutor(threads, at_once=1, limit=100, each=3)
    outcomes = [started(turns, f"2001:db8::{n}", lambda: None) for n in range(1, 9)]
    assert [refused(outcome, TooBusy) for outcome in outcomes] == [False] * 4 + [True] * 4
    assert turns.waiting == 3
    assert started(turns, "2001:db8:0:1::1", lambda: None) == []
    threads.finish()
    assert started(turns, "2001:db8::1", lambda: None) == [], "room comes back"


def test_what_nobody_waits_for_is_not_computed() -> None:
    threads = Threads()
    turns = FairExecutor(threads, at_once=1)
    there = {"first": True, "second": True, "third": True}
    done: list[str] = []
    outcomes = {
        name: started(turns, "a", lambda name=name: done.append(name), lambda name=name: there[name]) for name in there
    }
    there["first"] = there["second"] = False
    while threads.jobs:
        threads.finish()
    assert done == ["first", "third"], "the first was under way"
    assert refused(outcomes["second"], Unwanted)
    assert turns.waiting == 0


@pytest.mark.parametrize("limits", [{"limit": 4}, {"each": 4}])
def test_what_nobody_waits_for_gives_its_place_to_the_next(limits: dict[str, int]) -> None:
    threads = Threads()
    turns = FairExecutor(threads, at_once=1, **limits)
    there = True
    left = [started(turns, "a", lambda: None, lambda: there) for _ in range(5)]
    assert refused(started(turns, "a", lambda: None), TooBusy)
    there = False
    assert started(turns, "a", lambda: None) == []
    assert [refused(outcome, Unwanted) for outcome in left] == [False] + [True] * 4
    assert turns.waiting == 1


def test_a_call_that_fails_keeps_nobody_waiting() -> None:
    threads = Threads()
    turns = FairExecutor(threads, at_once=1)
    (first, second) = (started(turns, "a", lambda: 1 // 0), started(turns, "a", lambda: 2))
    threads.finish()
    threads.finish()
    assert isinstance(first[0], Failure)
    assert first[0].check(ZeroDivisionError)
    assert second == [2]


def test_the_same_work_is_done_for_who_has_a_password_and_who_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = passwords.verify

    def counted(hashed: str, secret: bytes) -> bool:
        asked.append(hashed)
        return real(hashed, secret)

    monkeypatch.setattr(passwords, "verify", counted)
    checker = PasswordFile(lambda: {"alice": GOOD}, execute)
    found: list[object] = []
    for name, secret in (("alice", b"secret"), ("alice", b"wrong"), ("nobody", b"secret"), ("", b"")):
        Deferred.fromCoroutine(checker.check(name, secret, "10.0.0.1", lambda: True)).addBoth(found.append)
    assert found == ["alice", None, None, None]
    assert len(asked) == 4
    assert all(extract_parameters(hashed) == extract_parameters(GOOD) for hashed in asked)
