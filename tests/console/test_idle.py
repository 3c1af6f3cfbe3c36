"""Operators who type nothing lose write access to whoever waits, or are disconnected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.consoles import World
from tests.support.fakes import FakeViewer
from vmproxy.access.policy_file import parse_policy
from vmproxy.base.sanitize import human_span
from vmproxy.console.idle import LOOK_SECONDS, IdleLimits
from vmproxy.console.notices import Demoted, Kicked, Promoted


class Office(World):
    """A world with limits, and alice, who writes, and bob, who waits."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.limits = IdleLimits(self.clock, self.directory)
        self.bank = self.claim("bank01")
        self.alice, self.bob = FakeViewer("alice"), FakeViewer("bob")
        self.bank.viewers.attach(self.alice, write=True)

    def use(self, **options: Any) -> None:
        table = {"on": ["bank*"], **{key.replace("_", "-"): value for key, value in options.items()}}
        policy, problems = parse_policy(None, [table])
        assert problems == []
        self.directory.use(policy)
        self.limits.reconfigure()

    def minutes(self, number: float, typing: FakeViewer | None = None) -> None:
        for _ in range(int(number * 60 / LOOK_SECONDS)):
            if typing is not None:
                typing.last_input += 1
            self.clock.advance(LOOK_SECONDS)

    @property
    def looking(self) -> bool:
        return any("IdleLimits" in str(call) for call in self.clock.getDelayedCalls())

    def writes(self, viewer: FakeViewer) -> bool:
        return self.bank.write_access.writes(viewer)


@pytest.fixture
def w(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_a_writer_who_types_nothing_gives_write_access_to_whoever_waits(w: Office) -> None:
    w.use(idle_write="15m")
    w.minutes(14)
    w.bank.viewers.attach(w.bob, write=True)
    assert w.writes(w.alice)
    w.minutes(2)
    assert w.writes(w.bob)
    assert w.bob.told(Promoted)
    assert w.alice.told(Demoted) == [Demoted("the time limit", f"nothing typed for {human_span(900)}")]
    assert w.alice in w.bank.viewers.all


def test_a_writer_who_types_or_for_whom_nobody_waits_keeps_it(w: Office) -> None:
    w.use(idle_write="15m")
    w.minutes(60)
    assert w.writes(w.alice)
    w.alice.last_input += 1
    w.bank.viewers.attach(w.bob, write=True)
    w.minutes(60, typing=w.alice)
    assert w.writes(w.alice)


def test_an_operator_who_types_nothing_is_disconnected_also_one_who_only_reads(w: Office) -> None:
    w.use(idle_disconnect="8h")
    w.bank.viewers.attach(w.bob, write=False)
    w.minutes(8 * 60 + 1, typing=w.alice)
    assert w.bob.told(Kicked) == [Kicked("the time limit", f"nothing typed for {human_span(8 * 3600)}")]
    assert w.bank.viewers.all == (w.alice,)
    w.minutes(8 * 60 + 1)
    assert w.bank.viewers.all == ()


def test_other_consoles_and_other_times_have_no_limit(w: Office) -> None:
    w.use(write="shared")
    assert not w.looking
    w.use(idle_disconnect="1m")
    web = w.claim("web01", port="2")
    web.viewers.attach(w.bob, write=True)
    w.minutes(5)
    assert web.viewers.all == (w.bob,)
    assert w.bank.viewers.all == ()
    w.use()
    assert not w.looking


def test_a_clock_that_is_set_disconnects_nobody(w: Office) -> None:
    w.use(idle_disconnect="8h")
    w.alice.last_input -= 86400  # as if the time of day had been set between the input and now
    w.minutes(60)
    assert w.bank.viewers.all == (w.alice,)
