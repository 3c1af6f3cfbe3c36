"""What strangers may cost: connections counted by neighbourhood, delays that grow and are forgotten."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.support.cases import each
from tests.support.fakes import Logged
from vmproxy.auth.limits import (
    FORGET_AFTER,
    LONGEST_DELAY,
    NAMES_REMEMBERED,
    REMEMBERED,
    UNMISSED_SECONDS,
    WAIT_SECONDS,
    ConnectionLimiter,
    LoginBackoff,
    LoginLimits,
    Quota,
)
from vmproxy.base.addresses import neighbourhood
from vmproxy.base.ratelimit import REFUSALS_EVERY


@each(
    ("address", "whole"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("local", "local"),
        ("", ""),
    ],
)
def test_addresses_count_for_whoever_has_them(address: str, whole: str) -> None:
    assert neighbourhood(address) == whole


class Guest:
    """A connection that has not logged in."""

    def __init__(self, number: int, silent: bool = True) -> None:
        self.number = number
        self.silent = silent
        self.told: list[str] = []

    def come_in(self) -> None:
        self.told.append("come in")

    def make_place(self) -> None:
        self.told.append("make place")


@cache
def guest(number: int) -> Guest:
    return Guest(number)


class Trail:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def __call__(self, event: str, **fields: object) -> None:
        self.events.append((event, fields))


def test_connections_of_one_neighbourhood_are_bounded_and_leave_room_when_they_go() -> None:
    gate = ConnectionLimiter(Clock(), Trail(), LoginLimits(in_all=3, per_address=2))
    first, late = Guest(1), Guest(3)
    assert gate.enter(first, "2001:db8::1")
    assert gate.enter(Guest(2), "2001:db8::2")
    assert not gate.enter(late, "2001:db8::3")
    assert late.told == ["make place"]  # too few places in all for a waiting room
    assert gate.enter(Guest(4), "2001:db8:0:1::1")
    gate.leave(first)
    gate.leave(first)
    assert gate.enter(Guest(5), "2001:db8::3")
    assert not gate.enter(Guest(6), "2001:db8::5")
    assert (len(gate), gate.refused) == (3, 2)


def test_fifty_logins_at_once_from_one_address_need_no_setting() -> None:
    gate = ConnectionLimiter(Clock(), Trail())
    assert all(gate.enter(Guest(n), "10.0.0.1") for n in range(50))


def test_who_finds_no_place_waits_for_one_in_order() -> None:
    gate = ConnectionLimiter(Clock(), Trail(), LoginLimits(in_all=40, per_address=2))
    inside = [Guest(n) for n in range(2)]
    waiting = [Guest(n) for n in range(10, 15)]
    assert all(gate.enter(one, "10.0.0.1") for one in inside)
    assert not any(gate.enter(one, "10.0.0.1") for one in waiting)
    assert not any(one.told for one in waiting)
    gate.leave(inside[0])
    assert [one.told for one in waiting] == [["come in"], [], [], [], []]
    gate.leave(waiting[1])  # it has hung up while it waited
    gate.leave(inside[1])
    assert [one.told for one in waiting] == [["come in"], [], ["come in"], [], []]
    assert gate.refused == 0


def test_a_wait_ends() -> None:
    clock, trail = Clock(), Trail()
    gate = ConnectionLimiter(clock, trail, LoginLimits(in_all=40, per_address=1))
    waiting = Guest(2)
    gate.enter(Guest(1), "10.0.0.1")
    gate.enter(waiting, "10.0.0.1")
    clock.advance(WAIT_SECONDS)
    assert waiting.told == ["make place"]
    assert (len(gate), gate.refused) == (1, 1)
    assert "ssh.connections-per-address" in str(trail.events[0][1]["reason"])
    assert clock.getDelayedCalls() == []


def test_few_wait_and_not_all_of_them_from_one_neighbourhood() -> None:
    gate = ConnectionLimiter(Clock(), Trail(), LoginLimits(in_all=40, per_address=1))
    there = [Guest(n) for n in range(30)]
    others = [Guest(n) for n in range(30)]
    for one, other in zip(there, others, strict=True):
        gate.enter(one, "10.0.0.1")
        gate.enter(other, "10.0.0.2")
    assert [one.told for one in there].count(["make place"]) == 24
    assert [one.told for one in others].count(["make place"]) == 24
    gate.stop()
    assert [one.told for one in there].count(["make place"]) == 29
    assert len(gate) == 2


def test_the_oldest_silent_one_of_those_who_have_most_makes_place() -> None:
    clock = Clock()
    gate = ConnectionLimiter(clock, Trail(), LoginLimits(in_all=8, per_address=8))
    known = Guest(0, silent=False)
    many = [known, *(Guest(n) for n in range(1, 6))]
    for one in many:
        assert gate.enter(one, "10.0.0.1")
    assert gate.enter(Guest(10), "10.0.0.2")
    assert gate.enter(Guest(11), "10.0.0.3")
    assert not gate.enter(Guest(12), "10.0.0.4")  # all came just now
    clock.advance(UNMISSED_SECONDS)
    assert gate.enter(Guest(13), "10.0.0.5")
    assert [one.told for one in many] == [[], ["make place"], [], [], [], []]
    assert len(gate) == 8
    assert not gate.enter(Guest(14), "10.0.0.1")  # they themselves get nobody's


def test_the_one_that_made_place_is_named_and_not_who_got_it() -> None:
    clock, trail = Clock(), Trail()
    gate = ConnectionLimiter(clock, trail, LoginLimits(in_all=3, per_address=3))
    for n in range(3):
        gate.enter(Guest(n), "10.0.0.1")
    clock.advance(UNMISSED_SECONDS)
    assert gate.enter(Guest(9), "10.0.0.2")
    assert [fields["from"] for _, fields in trail.events] == ["10.0.0.1"]


@pytest.mark.parametrize("strangers", [1, 10, 200])
def test_strangers_keep_no_operator_out(strangers: int) -> None:
    clock = Clock()
    gate = ConnectionLimiter(clock, Trail())
    for n in range(2000):
        gate.enter(Guest(n), f"192.0.2.{n % strangers}")
    clock.advance(UNMISSED_SECONDS)
    for n in range(50):
        operator = Guest(3000 + n)
        address = f"10.0.0.{n}"
        if not gate.enter(operator, address):
            clock.advance(WAIT_SECONDS)
        assert "make place" not in operator.told
        gate.leave(operator)
        for again in range(20):
            gate.enter(Guest(again), f"192.0.2.{again % strangers}")
        clock.advance(UNMISSED_SECONDS)


def test_who_waits_takes_a_place_that_is_free_and_throws_nobody_out_before_the_wait_is_over() -> None:
    clock = Clock()
    gate = ConnectionLimiter(clock, Trail(), LoginLimits(in_all=16, per_address=16))
    many = [Guest(n) for n in range(9)]
    few = [Guest(n) for n in range(10, 15)]
    assert all(gate.enter(one, "10.0.0.1") for one in many)
    assert all(gate.enter(one, "10.0.0.2") for one in few)
    waiting, passing = Guest(20), Guest(21)
    assert not gate.enter(waiting, "10.0.0.2")
    clock.advance(UNMISSED_SECONDS)
    assert gate.enter(passing, "10.0.0.3")
    gate.leave(passing)
    assert not any(one.told for one in (*many, waiting))
    gate.leave(few[0])
    assert waiting.told == ["come in"]
    assert not any(one.told for one in many)


def test_who_gets_a_place_at_the_end_of_the_wait_has_it() -> None:
    clock = Clock()
    gate = ConnectionLimiter(clock, Trail(), LoginLimits(in_all=16, per_address=16))
    many = [Guest(n) for n in range(14)]
    assert all(gate.enter(one, "10.0.0.1") for one in many)
    assert all(gate.enter(Guest(n), f"10.0.1.{n}") for n in range(2))
    waiting = Guest(20)
    assert not gate.enter(waiting, "10.0.0.2")
    clock.advance(WAIT_SECONDS)
    assert (waiting.told, many[0].told) == (["come in"], ["make place"])
    assert len(gate) == 16
    gate.leave(waiting)
    assert len(gate) == 15


def test_the_last_places_are_for_those_who_have_none() -> None:
    gate = ConnectionLimiter(Clock(), Trail(), LoginLimits(in_all=16, per_address=16))
    came = sum(gate.enter(Guest(n), "10.0.0.1") for n in range(16))
    assert came == 14
    assert gate.enter(Guest(20), "10.0.0.2")


def test_connections_in_all_are_bounded() -> None:
    gate = ConnectionLimiter(Clock(), Trail(), LoginLimits(in_all=3, per_address=2))
    assert [gate.enter(guest(n), f"10.0.0.{n}") for n in range(5)] == [True, True, True, False, False]
    gate.leave(guest(4))  # it never was inside
    assert not gate.enter(guest(5), "10.0.0.9")
    gate.leave(guest(0))
    assert gate.enter(guest(5), "10.0.0.9")


def test_refusals_are_told_at_a_bounded_rate_and_none_is_forgotten(logged: Logged) -> None:
    clock, trail = Clock(), Trail()
    gate = ConnectionLimiter(clock, trail, LoginLimits(in_all=3, per_address=0))
    for n in range(1000):
        gate.enter(guest(n), "10.0.0.1")
    assert [fields["connections"] for _, fields in trail.events] == [1]
    clock.advance(REFUSALS_EVERY)
    gate.enter(guest(0), "10.0.0.1")
    assert [fields["connections"] for _, fields in trail.events] == [1, 1000]
    assert trail.events[1][0] == "login-refused"
    assert trail.events[1][1]["from"] == "10.0.0.1"
    assert len(logged) == 2
    assert gate.refused == 1001


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 3)), max_size=60))
def test_the_gate_is_right_whatever_comes_and_goes(steps: list[tuple[bool, int, int]]) -> None:
    gate = ConnectionLimiter(Clock(), Trail(), LoginLimits(in_all=3, per_address=2))
    inside: dict[int, int] = {}
    for enters, connection, address in steps:
        if enters and connection not in inside:
            may = len(inside) < 3 and list(inside.values()).count(address) < 2
            assert gate.enter(guest(connection), f"10.0.0.{address}") is may
            if may:
                inside[connection] = address
        elif not enters:
            gate.leave(guest(connection))
            inside.pop(connection, None)
        assert len(gate) == len(inside)


def test_delays_double_up_to_the_longest_and_are_the_neighbourhoods_own() -> None:
    delays = LoginBackoff(Clock())
    assert delays.present("10.0.0.1") == 0
    assert [delays.failed("10.0.0.1", "alice") for _ in range(7)] == [0.5, 1, 2, 4, 8, LONGEST_DELAY, LONGEST_DELAY]
    assert delays.present("10.0.0.1") == LONGEST_DELAY
    assert delays.failed("10.0.0.2", "alice") == 0.5
    assert delays.failed("2001:db8::1", "alice") == 0.5
    assert delays.failed("2001:db8::2", "alice") == 1
    for _ in range(5000):
        assert delays.failed("10.0.0.1", "alice") == LONGEST_DELAY


def test_a_success_ends_the_delay_and_so_does_time() -> None:
    clock = Clock()
    delays = LoginBackoff(clock)
    delays.failed("10.0.0.1", "alice")
    delays.failed("10.0.0.2", "alice")
    delays.succeeded("10.0.0.1", "alice")
    delays.succeeded("10.0.0.9", "alice")
    assert delays.present("10.0.0.1") == 0
    clock.advance(FORGET_AFTER - 1)
    assert delays.failed("10.0.0.2", "alice") == 1, "counted from the last failure"
    clock.advance(FORGET_AFTER - 1)
    assert delays.present("10.0.0.2") == 1
    clock.advance(1)
    assert delays.present("10.0.0.2") == 0
    assert len(delays) == 0
    delays.failed("10.0.0.2", "alice")
    clock.advance(FORGET_AFTER)
    assert delays.failed("10.0.0.2", "alice") == 0.5


def test_no_more_neighbourhoods_are_remembered_than_may_be() -> None:
    delays = LoginBackoff(Clock())
    for n in range(REMEMBERED + 10):
        delays.failed(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "alice")
    assert len(delays) == REMEMBERED
    assert delays.present("10.0.0.0") == 0, "the one heard of longest ago goes first"
    assert delays.present("10.0.0.10") > 0


def test_a_success_forgives_ones_own_failures_and_nobody_elses() -> None:
    delays = LoginBackoff(Clock())
    for _ in range(3):
        delays.failed("2001:db8::1", "alice")
    delays.failed("2001:db8::2", "mallory")
    delays.succeeded("2001:db8::3", "mallory")
    assert delays.present("2001:db8::1") == 2, "three are left"
    delays.succeeded("2001:db8::3", "mallory")
    delays.succeeded("2001:db8::3", "alice")
    assert delays.present("2001:db8::1") == 0
    assert len(delays) == 0


def test_however_many_names_are_tried_few_are_remembered_and_every_failure_counts() -> None:
    delays = LoginBackoff(Clock())
    for n in range(1000):
        delays.failed("10.0.0.1", f"operator{n}")
        delays.failed("10.0.0.2", "x" * 1000)
    for n in range(1000):
        delays.succeeded("10.0.0.1", f"operator{n}")
    delays.succeeded("10.0.0.2", "x" * 1000)
    assert NAMES_REMEMBERED < 100
    assert delays.present("10.0.0.1") == delays.present("10.0.0.2") == LONGEST_DELAY


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.sampled_from("abc")), max_size=60))
def test_shares_are_right_whatever_is_taken_and_given_back(steps: list[tuple[bool, int, str]]) -> None:
    shares: Quota[int] = Quota(2, 4)
    held: dict[int, str] = {}
    for takes, holder, name in steps:
        if takes and holder not in held:
            mine = list(held.values()).count(name)
            problem = "2 of yours are open" if mine >= 2 else "4 in all are open" if len(held) >= 4 else ""
            assert shares.problem(name) == problem
            assert shares.take(holder, name) is not bool(problem)
            if not problem:
                held[holder] = name
        elif not takes:
            shares.give_back(holder)
            held.pop(holder, None)
        assert dict(shares) == held
        assert len(shares) == len(held)
