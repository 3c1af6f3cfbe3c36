"""Consoles are not without end: their number, new ones in a minute, and fakes that make place for real ones."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from twisted.internet.task import Clock

from tests.support.fakes import Logged
from tests.support.vm import Host, VMWorld, session
from vmproxy.console.newcomers import MINUTE, REMEMBERED, UNMISSED_SECONDS, ConsoleLimits, Newcomers
from vmproxy.vm.admission import AdmissionLimits


def spelled(uuid: UUID) -> bytes:
    return f"{uuid.bytes[:8].hex(' ')}-{uuid.bytes[8:].hex(' ')}".encode()


def come(w: VMWorld, address: str = "10.0.0.1", uuid: UUID | None = None) -> Host:
    return w.connect(address).feed(session(spelled(uuid or uuid4())))


def test_new_consoles_of_one_neighbourhood_are_counted(w: VMWorld, logged: Logged) -> None:
    w.directory.use_limits(ConsoleLimits(1000, 5))
    known = uuid4()
    come(w, uuid=known).lose()
    hosts = [come(w) for _ in range(20)]
    assert [host.closed for host in hosts] == [False] * 4 + [True] * 16
    assert len(w.directory) == 5
    assert any("vm.new-consoles-per-minute" in line for line in logged)
    assert not come(w, uuid=known).closed  # it is not new
    assert not come(w, "10.0.0.2").closed
    assert not come(w, "2001:db8::1").closed
    w.clock.advance(MINUTE)
    assert not come(w).closed


def test_neighbourhoods_without_end_are_not_remembered_and_not_looked_through() -> None:
    clock = Clock()
    newcomers = Newcomers(clock)
    newcomers.use(ConsoleLimits(1000, 2))
    looked = 0

    class Counted(float):
        def __rsub__(self, other: float) -> float:
            nonlocal looked
            looked += 1
            return other - float(self)

    clock.rightNow = Counted(1.0)
    for n in range(REMEMBERED + 500):
        assert not newcomers.problem(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert newcomers.remembered == REMEMBERED
    assert looked < 2 * (REMEMBERED + 500)  # each asks about itself, not about all the others
    last = f"10.0.{n >> 8 & 255}.{n & 255}"
    assert [bool(newcomers.problem(last)) for _ in range(3)] == [False, True, True]
    assert not newcomers.problem("10.0.0.1")  # forgotten: others have come since


def test_fakes_make_place_oldest_first_and_nothing_else_does(w: VMWorld, logged: Logged) -> None:
    w.directory.use_limits(ConsoleLimits(6, 0))
    printed = come(w).feed(b"login: ")
    watched = come(w)
    gone = come(w)
    gone.lose()
    fakes = [come(w) for _ in range(3)]
    assert come(w, "10.0.0.2").closed  # all came just now
    assert any("vm.consoles" in line for line in logged)
    w.clock.advance(UNMISSED_SECONDS)
    watched.feed(b"$ ")
    path = next(c for c in w.directory if c.link is fakes[0].protocol).log.path
    real = [come(w, "10.0.0.2").feed(b"real") for _ in range(4)]
    w.turn()
    assert [host.closed for host in (printed, watched, *fakes)] == [False, False, True, True, True]
    assert not any(host.closed for host in real)
    assert len(w.directory) == 6
    w.store.flush()
    assert not path.exists()
    assert come(w, "10.0.0.3").closed
    assert not any("Traceback" in line for line in logged)


def test_a_fake_whose_commands_wait_for_their_turn_makes_place_as_well(w: VMWorld) -> None:
    w.directory.use_limits(ConsoleLimits(3, 0))
    fakes = [come(w) for _ in range(3)]
    w.clock.advance(UNMISSED_SECONDS)
    flooding = next(c for c in w.directory if c.link is fakes[0].protocol)
    fakes[0].feed(b"\xff\xf1" * 2000 * 3)  # NOPs, more than it may send in a second
    come(w, "10.0.0.2").feed(b"real")
    w.turn()
    for _ in range(10):
        w.clock.advance(1)
    assert len(w.directory) == 3
    assert flooding.forgotten


def test_one_that_has_come_back_as_it_makes_place_makes_place_later(w: VMWorld) -> None:
    w.directory.use_limits(ConsoleLimits(1, 0))
    uuid = uuid4()
    come(w, uuid=uuid)
    w.clock.advance(UNMISSED_SECONDS)
    w.directory.displace()
    again = come(w, uuid=uuid)
    w.turn()
    assert not again.closed
    w.clock.advance(UNMISSED_SECONDS)
    assert not come(w, "10.0.0.2").closed
    w.turn()
    assert again.closed
    assert len(w.directory) == 1


def test_what_was_known_before_the_start_makes_no_place(w: VMWorld) -> None:
    for _ in range(3):
        come(w)
    after = w.restarted()
    try:
        after.directory.use_limits(ConsoleLimits(3, 0))
        after.clock.advance(60)
        assert come(after).closed
        assert len(after.directory) == 3
    finally:
        after.stop()


@pytest.mark.parametrize("address", ["10.0.0.2", "10.0.0.1"])
def test_fakes_make_place_where_connections_are_scarce_but_not_for_their_like(w: VMWorld, address: str) -> None:
    w.front.admission.reconfigure(AdmissionLimits(connections=20, per_second=0))
    fakes = [come(w) for _ in range(20)]
    w.clock.advance(UNMISSED_SECONDS)
    peer = w.connect_if_admitted(address)
    w.turn()
    if address == "10.0.0.1":
        assert peer is None
        assert not any(fake.closed for fake in fakes)
        return
    again = w.connect_if_admitted(address)  # the first one may have come too early: hosts dial again
    assert again is not None or peer is not None
    assert [fake.closed for fake in fakes].count(True) in (1, 2)
