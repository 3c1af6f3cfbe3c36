"""Operators who type nothing lose write access to whoever waits, or are disconnected."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.consoles import World
from tests.support.fakes import VM_A, FakeViewer, one_turn
from vmproxy.access.idle_times import NO_LIMITS, IdleTimes
from vmproxy.access.policy_file import parse_policy
from vmproxy.base.sanitize import human_span
from vmproxy.base.turns import SPAN
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

    def use_rules(self, *rules: dict[str, Any]) -> None:
        policy, problems = parse_policy(list(rules), None)
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


def test_who_is_no_operator_has_no_limit(w: Office) -> None:
    w.use(idle_disconnect="1m", idle_write="1m")
    w.alice.idle = None  # a far end
    w.bank.viewers.attach(w.bob, write=True)
    w.minutes(0.5)
    assert w.bank.viewers.all == (w.alice, w.bob)
    w.minutes(5)
    assert w.writes(w.alice)


def test_of_the_limits_of_the_rule_and_of_the_console_the_shorter_one_applies(w: Office) -> None:
    w.use(idle_disconnect="30m")
    w.bank.viewers.attach(w.bob, write=False)
    w.bob.idle = IdleTimes(idle_disconnect=600)
    w.alice.idle = IdleTimes(idle_disconnect=3600)
    w.minutes(11)
    assert w.bob.told(Kicked) == [Kicked("the time limit", f"nothing typed for {human_span(600)}")]
    assert w.alice in w.bank.viewers.all
    w.minutes(20)
    assert w.alice.told(Kicked) == [Kicked("the time limit", f"nothing typed for {human_span(1800)}")]


def test_a_limit_of_a_rule_is_enough_to_be_looked_for(w: Office) -> None:
    rule = {"who": ["*"], "may": ["write"], "on": ["*"]}
    w.use_rules(rule)
    assert not w.looking
    w.use_rules({**rule, "idle-write": "10m"}, rule)
    assert w.looking
    w.alice.idle = IdleTimes(idle_write=600)
    w.bank.viewers.attach(w.bob, write=True)
    w.minutes(11)
    assert w.writes(w.bob)
    w.use_rules(rule)
    assert not w.looking


def test_the_rule_that_decides_has_the_limits() -> None:
    rules: list[dict[str, Any]] = [
        {"who": ["alice"], "may": ["admin"], "on": ["*"]},
        {"who": ["*"], "may": ["write"], "on": ["bank*"], "idle-write": "10m", "idle-disconnect": "1h"},
        {"who": ["*"], "may": ["spy"], "on": ["*"], "idle-disconnect": 60},
    ]
    policy, problems = parse_policy(list(rules), None)
    assert problems == []
    bank, web = (SimpleNamespace(uuid=VM_A, port="1", name=name, uri="") for name in ("bank01", "web01"))
    assert [policy.grants(name).idle_times(bank) for name in ("alice", "bob")] == [NO_LIMITS, IdleTimes(600, 3600)]
    assert policy.grants("bob").idle_times(web) == IdleTimes(0, 60)
    assert policy.grants("alice").idle_times(web) == NO_LIMITS
    _, problems = parse_policy([{**rules[2], "idle-disconnect": "soon", "idle-wrte": 1}], None)
    assert sorted(str(problem.path[-1]) for problem in problems) == ["idle-disconnect", "idle-wrte"]


def test_thousands_are_looked_at_in_turns(w: Office) -> None:
    class SlowViewer(FakeViewer):
        def idle_times(self) -> IdleTimes | None:
            w.clock.rightNow += SPAN / 10
            asked.append(self)
            return self.idle

    asked: list[FakeViewer] = []
    w.use(idle_disconnect="1m")
    w.bank.viewers.detach(w.alice)
    crowd = [SlowViewer(f"v{n}") for n in range(35)]
    for viewer in crowd:
        w.bank.viewers.attach(viewer, write=False)
    w.clock.rightNow += LOOK_SECONDS
    one_turn(w.clock)
    assert 0 < len(asked) < 20
    w.clock.advance(0)
    assert asked == crowd
    w.minutes(0.9)
    assert w.bank.viewers.all == tuple(crowd)
    w.clock.rightNow += 2 * LOOK_SECONDS
    one_turn(w.clock)
    assert 0 < len(w.bank.viewers.all) < 35
    w.bank.viewers.detach(crowd[-1])  # in the middle of a look
    w.clock.advance(0)
    assert w.bank.viewers.all == ()
    assert all(len(viewer.told(Kicked)) == 1 for viewer in crowd[:-1])
    assert not crowd[-1].told(Kicked)
