"""Addresses that guess the pairs of vMotions."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from tests.support.vm import (
    BEGIN,
    CAPTURED_LIST,
    KNOWN_1,
    MIGRATION_TIMEOUT,
    NEGOTIATION,
    PEER,
    PEER_OK,
    SPELLED_B,
    VC_UUID,
    Host,
    VMWorld,
    session,
    sub,
)
from vmproxy.vm.peer_lockout import LENIENT_SECONDS, LOCKED_SECONDS, REMEMBERED, WRONG_PAIRS, PeerLockout

GUESSER = "10.6.6.6"


def show(w: VMWorld, address: str, pair: bytes = b"\x01\x02\x03\x04guessing") -> Host:
    """A connection that shows a pair."""
    host = w.connect(address).feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST))
    return host.feed(sub(PEER, pair))


def accepted(host: Host) -> bool:
    return PEER_OK in [s[0] for s in host.subs()]


@pytest.mark.parametrize("address", [GUESSER, "2001:db8:20::6"])
def test_ten_wrong_pairs_in_a_minute_close_out_the_pairs_of_an_address_for_a_minute(
    w: VMWorld, logged: list[str], address: str
) -> None:
    neighbour = address[:-1] + "7"
    w.clock.advance(LENIENT_SECONDS)
    there, console = w.vm(address=address)
    pair = there.begin(b"seq1")
    for n in range(WRONG_PAIRS):
        assert not any("no PEER from its address" in line for line in logged), n
        assert show(w, address).closed
    assert sum("too many wrong migration pairs; no PEER from its address" in line for line in logged) == 1
    assert w.front.counters["addresses closed out"] == 1
    late = show(w, address, pair)
    assert late.closed
    assert not accepted(late)
    # All that a VM needs goes on there, and a neighbour may show its pair.
    there.feed(b"goes on")
    assert w.logged(console) == b"goes on"
    other = w.connect(address).feed(session(SPELLED_B, name=b"db"))
    assert not other.closed
    assert accepted(show(w, neighbour, other.begin(b"seq2")))
    w.clock.advance(LOCKED_SECONDS - 0.1)
    assert not accepted(show(w, address, there.begin(b"seq3")))
    w.clock.advance(0.1)
    assert accepted(show(w, address, there.begin(b"seq4")))


def test_nothing_counts_in_the_first_ten_minutes_after_a_start(w: VMWorld) -> None:
    source, _ = w.vm()
    pair = source.begin()
    for _ in range(20 * WRONG_PAIRS):
        assert show(w, GUESSER).closed
    assert accepted(show(w, GUESSER, pair))
    w.clock.advance(LENIENT_SECONDS - 0.1)
    for _ in range(2 * WRONG_PAIRS):
        show(w, GUESSER)
    assert accepted(show(w, GUESSER, source.begin()))
    assert "addresses closed out" not in w.front.counters


def test_wrong_pairs_that_are_further_apart_close_nobody_out(w: VMWorld) -> None:
    w.clock.advance(LENIENT_SECONDS)
    source, _ = w.vm()
    for _ in range(50):
        show(w, GUESSER)
        w.clock.advance(LOCKED_SECONDS / (WRONG_PAIRS - 1))
    assert accepted(show(w, GUESSER, source.begin()))


def test_one_connection_has_one_guess(w: VMWorld) -> None:
    host = w.connect(GUESSER).feed(NEGOTIATION + b"".join(sub(PEER, b"%d" % n) for n in range(100)))
    assert host.closed
    assert w.front.counters["refused peers"] == 1


def test_an_evacuation_that_takes_too_long_closes_no_host_out(w: VMWorld) -> None:
    # Their pairs are spent, but nobody guessed them.
    w.clock.advance(LENIENT_SECONDS)
    source, _ = w.vm()
    pairs = []
    for n in range(3 * WRONG_PAIRS):
        w.clock.advance(7)  # ten in a minute are answered
        source.feed(sub(BEGIN, b"%d" % n))
        pairs += [s[1:] for s in source.subs() if s[0] == 41]
    w.clock.advance(MIGRATION_TIMEOUT)
    assert len(pairs) == 3 * WRONG_PAIRS
    assert not any(accepted(show(w, "10.0.0.2", pair)) for pair in pairs)
    assert w.front.counters["refused peers"] == 3 * WRONG_PAIRS
    assert accepted(show(w, "10.0.0.2", source.begin()))


def test_the_right_pair_of_another_vm_is_no_guess(w: VMWorld) -> None:
    w.clock.advance(LENIENT_SECONDS)
    pair = w.vm()[0].begin()
    for _ in range(2 * WRONG_PAIRS):
        host = w.connect("10.0.0.2").feed(NEGOTIATION + sub(VC_UUID, SPELLED_B) + sub(PEER, pair))
        assert not accepted(host)
    w.destination(pair, "10.0.0.2")


def test_ten_thousand_others_that_guess_once_open_no_door() -> None:
    clock = Clock()
    one = PeerLockout(clock)
    clock.advance(LENIENT_SECONDS)
    assert [one.wrong_pair(GUESSER) for _ in range(WRONG_PAIRS)] == [False] * (WRONG_PAIRS - 1) + [True]
    for n in range(2 * REMEMBERED):
        assert not one.wrong_pair(f"2001:db8::{n:x}")
    assert one.locked(GUESSER)
    # Who guessed last is kept, with the tries so far.
    for n in range(WRONG_PAIRS - 1):
        assert not one.wrong_pair("10.6.6.7")
        for other in range(REMEMBERED // 20):
            one.wrong_pair(f"2001:db8:{n}::{other:x}")
    assert one.wrong_pair("10.6.6.7")


def test_no_number_of_addresses_makes_it_grow_without_bound() -> None:
    clock = Clock()
    one = PeerLockout(clock)
    clock.advance(LENIENT_SECONDS)
    for n in range(3 * REMEMBERED):
        for _ in range(WRONG_PAIRS if n % 2 else 1):
            one.wrong_pair(f"2001:db8::{n:x}")
        assert len(one) <= 2 * REMEMBERED
    assert one.locked(f"2001:db8::{3 * REMEMBERED - 1:x}")
