"""Consoles that have been down for too long are forgotten, and no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from twisted.internet.interfaces import IDelayedCall

from tests.support.consoles import World
from tests.support.fakes import EPOCH, VM_A, VM_B, VM_C, FakeViewer
from vmproxy.access.policy_file import parse_policy
from vmproxy.console.expiry import FORGOTTEN_PER_TURN, LOOK_SECONDS, Expiry

DAY = 86400.0


class Aged(World):
    """A world with the rules of a site that forgets after 90 days."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.recorded: list[dict[str, Any]] = []
        self.expiry = Expiry(self.clock, self.directory, lambda event, **fields: self.recorded.append(fields))
        self.set({"forget-after": "90d"})

    def set(self, table: Any) -> None:
        policy, problems = parse_policy(None, table)
        assert problems == []
        self.directory.use(policy)
        self.expiry.reconfigure()

    def days(self, number: float) -> None:
        """Days pass, hour by hour, and a little more."""
        for _ in range(int(number * 24)):
            self.clock.advance(LOOK_SECONDS)
            self.clock.advance(0.001)
            self.clock.advance(0)

    @property
    def names(self) -> list[str]:
        return sorted(console.name for console in self.directory)


@pytest.fixture
def w(tmp_path: Path) -> Aged:
    return Aged(tmp_path)


def test_one_that_is_down_for_long_is_forgotten(w: Aged) -> None:
    w.lose(w.claim("old"))
    w.claim("up", VM_B)
    w.days(89)
    assert w.names == ["old", "up"]
    w.lose(w.claim("later", VM_C))
    w.days(2)
    assert w.names == ["later", "up"]
    (entry,) = w.recorded
    assert (entry["who"], entry["console"], entry["uuid"], entry["removed"]) == (
        "forget-after",
        "old",
        str(VM_A),
        False,
    )
    w.days(90)
    assert w.names == ["up"]


def test_one_that_somebody_waits_for_stays(w: Aged) -> None:
    console = w.claim("old")
    w.lose(console)
    viewer = FakeViewer()
    console.viewers.attach(viewer, write=False)
    w.days(100)
    assert w.names == ["old"]
    console.viewers.detach(viewer)
    w.days(1)
    assert w.names == []


def test_some_only_or_none(w: Aged) -> None:
    for name, uuid in (("ci-1", VM_A), ("web01", VM_B)):
        w.lose(w.claim(name, uuid))
    w.set([{"on": ["ci-*"], "forget-after": "1d"}])
    w.days(2)
    assert w.names == ["web01"]
    w.set(None)
    w.clock.advance(0)
    assert w.clock.getDelayedCalls() == []
    w.days(100)
    assert w.names == ["web01"]


def test_many_are_forgotten_a_few_in_a_turn(w: Aged, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(3 * FORGOTTEN_PER_TURN):
        w.lose(w.claim(f"vm{n}", UUID(int=n + 1)))
    left = []
    later = w.clock.callLater

    def next_turn(seconds: float, call: Callable[..., object], *arguments: object) -> IDelayedCall:
        if not seconds:
            left.append(len(w.directory))
        return later(seconds, call, *arguments)

    monkeypatch.setattr(w.clock, "callLater", next_turn)
    w.clock.advance(100 * DAY)
    assert left == [2 * FORGOTTEN_PER_TURN, FORGOTTEN_PER_TURN, 0]


def test_one_that_was_up_at_the_end_counts_from_the_start(w: Aged) -> None:
    w.claim("old")
    w.store.flush()
    again = Aged(w.folder)
    again.expiry.stop()
    again.clock.advance(10 * DAY)
    again.expiry = Expiry(again.clock, again.directory, lambda event, **fields: None)
    again.expiry.reconfigure()
    assert again.console.since == 0
    again.days(1)
    assert again.console.since == EPOCH + 10 * DAY
    # Another restart does not begin it anew.
    again.store.flush()
    last = Aged(w.folder)
    assert last.console.since == EPOCH + 10 * DAY
    last.days(99)
    assert last.names == ["old"]
    last.days(2)
    assert last.names == []


def test_a_clock_that_was_set_forgets_nothing(w: Aged, monkeypatch: pytest.MonkeyPatch) -> None:
    w.lose(w.claim("old"))
    monkeypatch.setattr(w.expiry, "_wall", lambda: w.clock.seconds() + 1000 * DAY)
    w.days(0.05)
    assert w.names == ["old"]
