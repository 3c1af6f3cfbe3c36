"""Who may be a VM: networks, how many, how fast, and what all that remembers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.support.vm import (
    IDENTIFY_TIMEOUT,
    SPELLED_A,
    SPELLED_B,
    VMWorld,
    session,
)
from vmproxy.base.addresses import network
from vmproxy.base.ratelimit import REFUSALS_EVERY
from vmproxy.vm.admission import RATE_SECONDS, REMEMBERED, Admission, AdmissionLimits
from vmproxy.vm.frontend import UNMISSED_SECONDS
from vmproxy.vm.settings import VMSettings

EPOCH = 1_700_000_000.0


def admission(clock: Clock | None = None, room: int = 1_000_000, **limits: Any) -> Admission:
    clock = clock or Clock()
    clock.advance(EPOCH)
    return Admission(clock, AdmissionLimits(**limits), room)


def knock(w: VMWorld, address: str = "10.0.0.1") -> bool:
    """Somebody connects; whether he was let in."""
    before = len(w.front.connections)
    try:
        w.connect(address)
    except AssertionError:
        return False
    assert len(w.front.connections) == before + 1
    return True


def limited(w: VMWorld, **limits: Any) -> None:
    settings = VMSettings(service_uri=("*",), identify_timeout=IDENTIFY_TIMEOUT, limits=AdmissionLimits(**limits))
    w.front.reconfigure(settings)


# Networks.


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", True),
        ("10.2.0.1", False),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("fe80::1%eth0", True),
        ("UNIXAddress(None)", True),
    ],
)
def test_only_hosts_of_the_networks_get_in(address: str, allowed: bool) -> None:
    one = admission(networks=(network("10.1.0.0/16"), network("2001:db8::/32"), network("fe80::/10")))
    assert one.enter(address) is allowed
    assert one.enter(address) is allowed
    assert one.refusals.counts["networks"] == (0 if allowed else 2)
    assert len(one) == (2 if allowed else 0)


def test_who_is_refused_gets_no_connection_and_nobody_hears_more_of_it(w: VMWorld, logged: list[str]) -> None:
    limited(w, networks=(network("10.1.0.0/16"),))
    assert not any(knock(w, "10.2.0.1") for _ in range(1000))
    assert knock(w, "10.1.0.1")
    assert logged == ["10.2.0.1: connection refused: its address is in none of vm.networks (1 refused)"]
    w.clock.advance(REFUSALS_EVERY)
    assert not knock(w, "10.2.0.1")
    assert logged[1:] == ["10.2.0.1: connection refused: its address is in none of vm.networks (1000 refused)"]
    assert w.front.admission.refusals.counts == {"networks": 1001}


def test_other_networks_hold_for_who_comes_and_drop_nobody(w: VMWorld) -> None:
    host, console = w.vm(address="10.2.0.1")
    limited(w, networks=(network("10.1.0.0/16"),))
    assert not knock(w, "10.2.0.1")
    host.feed(b"still here")
    assert w.logged(console) == b"still here"
    limited(w)
    assert knock(w, "10.2.0.1")


# How many.


def test_the_connections_of_an_address_are_bounded_and_leave_room_when_they_go(w: VMWorld) -> None:
    limited(w, per_address=2)
    first, _ = w.connect("2001:db8::1"), w.connect("2001:db8::2")
    assert not knock(w, "2001:db8::3"), "a /64 is one address"
    assert knock(w, "2001:db8:0:1::1")
    first.lose()
    assert knock(w, "2001:db8::3")
    assert w.front.admission.refusals.counts == {"per address": 1}


def test_the_connections_in_all_are_bounded_by_the_setting_and_by_the_room_there_is() -> None:
    one = admission(room=10, connections=3)
    assert [one.enter(f"10.0.0.{n}") for n in range(5)] == [True, True, True, False, False]
    one.leave("10.0.0.0")
    assert one.enter("10.0.0.9")
    more = admission(room=2, connections=3)
    assert [more.enter(f"10.0.0.{n}") for n in range(3)] == [True, True, False]


def test_sixteen_thousand_vms_from_one_address_get_in_at_once_by_default() -> None:
    one = admission(room=18_000, per_second=1000)
    assert all(one.enter("127.0.0.1") for _ in range(16_000))


def test_all_that_comes_and_goes_is_counted_whichever_way_it_goes(w: VMWorld) -> None:
    hosts = [w.connect(f"10.0.{n % 3}.1") for n in range(9)]
    hosts[0].lose()
    hosts[1].die()
    hosts[2].protocol.close("for a test")
    w.turn()
    assert len(w.front.admission) == len(w.front.connections) == 6
    w.clock.advance(IDENTIFY_TIMEOUT)
    w.turn()
    assert len(w.front.admission) == len(w.front.connections) == 0
    source, _ = w.vm()
    w.destination(source.begin())
    w.front.stop()
    assert len(w.front.admission) == 0


# How fast.


def test_new_connections_a_second_are_bounded_over_a_while(w: VMWorld) -> None:
    limited(w, per_second=2)
    assert [knock(w) for _ in range(41)] == [True] * 40 + [False]
    assert knock(w, "10.0.0.2"), "another address has its own"
    w.clock.advance(1)
    assert [knock(w) for _ in range(3)] == [True, True, False]
    w.clock.advance(RATE_SECONDS)
    assert sum(knock(w) for _ in range(50)) == 40
    assert set(w.front.admission.refusals.counts) == {"per second"}


def test_a_clock_that_is_set_back_keeps_nobody_out() -> None:
    clock = Clock()
    one = admission(clock, per_second=1)
    assert sum(one.enter("10.0.0.1") for _ in range(30)) == 20
    clock.rightNow -= 3600
    one.enter("10.0.0.1")
    clock.advance(RATE_SECONDS)
    assert one.enter("10.0.0.1")


# When room is scarce.


def test_who_has_not_said_who_it_is_for_longest_makes_room(w: VMWorld) -> None:
    limited(w, connections=16)
    host, console = w.vm(address="10.0.0.1")
    silent = [w.connect("10.6.6.6") for _ in range(14)]
    assert not any(h.closed for h in silent)
    assert not silent[0].closed, "it came just now, and may be a host"
    w.clock.advance(UNMISSED_SECONDS)
    assert knock(w, "10.0.0.2")
    assert [h.closed for h in silent] == [True] + [False] * 13
    for _ in range(200):
        w.clock.advance(UNMISSED_SECONDS)
        assert knock(w, "10.6.6.6"), "whoever scans, the next host finds room"
    host.feed(b"not dropped")
    assert w.logged(console) == b"not dropped"


def test_those_who_are_served_make_no_room(w: VMWorld, logged: list[str]) -> None:
    limited(w, connections=2)
    for n, spelled in enumerate((SPELLED_A, SPELLED_B)):
        w.connect(f"10.0.0.{n}").feed(session(spelled))
    w.clock.advance(3600)
    assert not knock(w, "10.0.0.9")
    assert logged[-1] == "10.0.0.9: connection refused: 2 connections in all (vm.connections) (1 refused)"
    assert [c.state for c in w.directory] == ["up", "up"]


# What is remembered.


def test_no_number_of_addresses_makes_it_grow_without_bound() -> None:
    clock = Clock()
    one = admission(clock, per_second=1000)
    for n in range(5 * REMEMBERED):
        _come_and_go(one, n)
        assert one.remembered <= REMEMBERED
    clock.advance(10 * RATE_SECONDS)
    assert one.enter("10.9.9.9")


def test_a_used_up_budget_outlives_a_cleanup() -> None:
    clock = Clock()
    one = admission(clock, per_second=1)
    for n in range(REMEMBERED - 6):
        _come_and_go(one, n)
    clock.advance(RATE_SECONDS + 1)  # those may be forgotten now
    while one.enter("192.0.2.1"):
        one.leave("192.0.2.1")
    for n in range(REMEMBERED, REMEMBERED + 20):
        _come_and_go(one, n)
    assert one.remembered < 100
    assert not one.enter("192.0.2.1")


def _come_and_go(one: Admission, n: int) -> None:
    address = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
    assert one.enter(address)
    one.leave(address)


def test_what_holds_of_those_who_are_there_is_not_forgotten() -> None:
    one = admission(per_address=1)
    assert one.enter("192.0.2.1")
    for n in range(2 * REMEMBERED):
        _come_and_go(one, n)
    assert not one.enter("192.0.2.1")


@given(st.lists(st.tuples(st.sampled_from("eel"), st.integers(0, 3), st.floats(0, 40)), max_size=80))
def test_its_counts_are_right_whatever_comes_and_goes(steps: list[tuple[str, int, float]]) -> None:
    clock = Clock()
    one = admission(clock, room=4, per_address=2)
    inside: list[str] = []
    for step, number, seconds in steps:
        address = f"10.0.0.{number}"
        if step == "e":
            may = len(inside) < 4 and inside.count(address) < 2
            assert one.enter(address) is may
            if may:
                inside.append(address)
        elif step == "l" and address in inside:
            inside.remove(address)
            one.leave(address)
        clock.advance(seconds)
        assert len(one) == len(inside)
