"""A VM end to end against a small concentrator in memory: connecting, migrating, and everything that can fail."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import LogEvent, globalLogPublisher

from tests.support.sim import WHO, Link, Net, ext
from vmproxy.sim.counters import Outcome
from vmproxy.sim.interfaces import HostSettings
from vmproxy.sim.migration import AbortPoint
from vmproxy.sim.vm import VM
from vmproxy.wire import telnet as t
from vmproxy.wire.vmware import Sub


@pytest.fixture(autouse=True)
def _no_failure_goes_unheard() -> Iterator[None]:
    failures: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            failures.append(event)

    gc.collect()
    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]  # any callable will do
    yield
    gc.collect()  # a Deferred tells of its unhandled failure when it goes
    globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]  # as above
    assert failures == []


class Recorder:
    """A guest that notes what happens to it."""

    def __init__(self, vm: VM) -> None:
        self.vm = vm
        self.typed = b""
        self.stunned = False
        self.paused = False
        self.events: list[str] = []

    def start(self) -> None:
        self.events.append("start")

    def feed(self, data: bytes) -> None:
        assert not self.stunned
        self.typed += data

    def break_received(self) -> None:
        self.events.append("break")

    def stun(self) -> None:
        assert not self.stunned
        self.stunned = True

    def unstun(self) -> None:
        assert self.stunned
        self.stunned = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def stop(self) -> None:
        self.events.append("stop")


class World:
    def __init__(self, **settings: Any) -> None:
        self.net = Net()
        self.vm = VM(WHO, self.net, self.net.clock, guest=Recorder, settings=HostSettings(**settings))
        self.vm.start()
        self.net.pump()
        self.outcomes: list[Outcome] = []

    @property
    def guest(self) -> Recorder:
        assert isinstance(self.vm.guest, Recorder)
        return self.vm.guest

    @property
    def source(self) -> Link:
        return self.net.links[0]

    @property
    def destination(self) -> Link:
        return self.net.links[1]

    def migrate(self, abort: AbortPoint | None = None, seconds: float = 0) -> None:
        self.vm.migrate(abort).addCallback(self.outcomes.append)
        self.net.pump(seconds)

    def on_source(self) -> None:
        """The guest runs, and on the source."""
        assert not self.guest.stunned
        assert not self.source.gone
        self.guest.typed = self.source.data = b""
        self.source.tell(b"to the source")
        self.vm.write(b"from the source")
        self.net.pump()
        assert (self.guest.typed, self.source.data) == (b"to the source", b"from the source")

    def on_last(self) -> None:
        """The guest runs, and on the latest connection, which is the only one."""
        assert not self.guest.stunned
        assert [link.gone for link in self.net.links] == [True] * (len(self.net.links) - 1) + [False]
        self.guest.typed = self.net.links[-1].data = b""
        self.net.links[-1].tell(b"in")
        self.vm.write(b"out")
        self.net.pump()
        assert (self.guest.typed, self.net.links[-1].data) == (b"in", b"out")


def test_it_connects_and_says_who_it_is() -> None:
    world = World()
    assert world.vm.connected
    assert world.source.last(Sub.DO_PROXY) == b"Svmproxy"
    assert world.source.last(Sub.VM_NAME) == b"web01"
    assert world.source.com  # the UART has been set up
    assert world.guest.events == ["start"]
    world.source.tell(bytes((t.IAC, t.BRK)))
    assert world.guest.events == ["start", "break"]
    world.on_source()


@pytest.mark.parametrize("after", [False, True])
def test_a_migration(after: bool) -> None:
    world = World(close_after_complete=after)
    world.net.journal.clear()
    world.vm.write(b"before")
    world.migrate()
    assert world.outcomes == [Outcome.DONE]
    source, destination = world.net.links
    told = [(link, what) for link, what in world.net.journal if what not in (Sub.KNOWN_SUBOPTIONS_1,)]
    ends = [(source, "closed"), (destination, Sub.VMOTION_COMPLETE)]
    assert told[:2] == [(source, Sub.VMOTION_BEGIN), (destination, Sub.VMOTION_PEER)]
    assert sorted(told[2:], key=str) == sorted(ends, key=str)
    assert source.data == b"before"
    assert Sub.DO_PROXY not in destination.codes()
    sequence = source.last(Sub.VMOTION_BEGIN)
    assert len(sequence) == 4
    assert destination.last(Sub.VMOTION_PEER) == sequence + world.net.secret
    assert destination.last(Sub.VMOTION_COMPLETE) == sequence
    assert destination.com
    world.on_last()
    world.migrate()
    assert world.outcomes == [Outcome.DONE] * 2
    world.on_last()
    assert world.vm.counters.strays == 0
    assert world.vm.counters.stunned.count == world.vm.counters.goahead.count == 2


def test_the_source_closes_before_complete_by_a_gap() -> None:
    world = World(close_gap=0.5)
    world.migrate()
    assert world.source.gone
    assert world.guest.stunned
    assert Sub.VMOTION_COMPLETE not in world.destination.codes()
    world.net.pump(0.5)
    assert world.outcomes == [Outcome.DONE]
    world.on_last()


@pytest.mark.parametrize("lost", [False, True])
def test_a_slow_switchover_keeps_the_guest_stunned_and_may_come_to_nothing(lost: bool) -> None:
    world = World(switchover=100.0)
    world.migrate()
    world.net.pump(99)
    assert (world.guest.stunned, world.source.gone) == (True, False)
    assert Sub.VMOTION_COMPLETE not in world.destination.codes()
    if lost:
        world.destination.drop()
    world.net.pump(2)
    assert world.outcomes == [Outcome.FAILED if lost else Outcome.DONE]
    if lost:
        world.on_source()
    else:
        world.on_last()


def test_the_destination_lost_in_that_gap_means_starting_again() -> None:
    world = World(close_gap=0.5)
    world.migrate()
    world.destination.drop()
    world.net.pump(0.5)
    assert world.outcomes == [Outcome.FAILED]
    world.net.pump(1)
    world.on_last()
    assert world.net.links[-1].last(Sub.DO_PROXY) == b"Svmproxy"


def test_what_is_typed_during_a_stun_arrives_once_and_in_order() -> None:
    world = World()

    def goahead(link: Link, sequence: bytes) -> None:
        link.tell(b"1 before GOAHEAD ")
        link.tell(ext(Sub.VMOTION_GOAHEAD, sequence + world.net.secret) + b"lost on a real host ")

    def peer(link: Link, pair: bytes) -> None:
        link.tell(b"too early " + ext(Sub.VMOTION_PEER_OK, pair[:4]))

    def complete(link: Link, _sequence: bytes) -> None:
        link.tell(b"2 after COMPLETE")

    world.net.answers = {Sub.VMOTION_BEGIN: goahead, Sub.VMOTION_PEER: peer, Sub.VMOTION_COMPLETE: complete}
    world.migrate()
    assert world.outcomes == [Outcome.DONE]
    assert world.guest.typed == b"1 before GOAHEAD 2 after COMPLETE"
    assert world.vm.counters.strays == len(b"lost on a real host too early ")


@pytest.mark.parametrize(("abort", "connections"), [(AbortPoint.AFTER_GOAHEAD, 1), (AbortPoint.AFTER_PEER_OK, 2)])
def test_aborted_on_purpose(abort: AbortPoint, connections: int) -> None:
    world = World()
    world.net.answers[Sub.VMOTION_ABORT] = lambda link, _: link.tell(b"held back")
    world.migrate(abort)
    assert world.outcomes == [Outcome.ABORTED]
    assert len(world.net.links) == connections
    assert world.source.codes().count(Sub.VMOTION_ABORT) == 1
    assert world.guest.typed == b"held back"
    assert all(link.gone for link in world.net.links[1:])
    world.on_source()
    world.migrate()
    assert world.outcomes[-1] is Outcome.DONE
    world.on_last()


def test_a_share_of_migrations_is_aborted() -> None:
    world = World(abort_share=1.0)
    for _ in range(10):
        world.migrate()
    assert world.outcomes == [Outcome.ABORTED] * 10
    assert 1 < len(world.net.links) < 11
    world.on_source()


def test_not_now() -> None:
    world = World()
    world.net.answers[Sub.VMOTION_BEGIN] = lambda link, sequence: link.tell(ext(Sub.VMOTION_NOTNOW, sequence))
    world.migrate()
    assert world.outcomes == [Outcome.NOT_NOW]
    assert Sub.VMOTION_ABORT not in world.source.codes()
    world.on_source()


def test_no_goahead() -> None:
    world = World()
    world.net.answers[Sub.VMOTION_BEGIN] = lambda link, sequence: link.tell(ext(Sub.VMOTION_GOAHEAD, b"old" + sequence))
    world.migrate()
    assert world.guest.stunned
    world.net.pump(4.9)
    assert world.guest.stunned
    world.net.pump(0.1)
    assert world.outcomes == [Outcome.FAILED]
    assert "GOAHEAD" in world.vm.counters.last_error
    assert Sub.VMOTION_ABORT in world.source.codes()
    late = world.source.last(Sub.VMOTION_BEGIN) + world.net.secret
    world.source.tell(ext(Sub.VMOTION_GOAHEAD, late))
    world.on_source()


def test_no_peer_ok() -> None:
    world = World()
    world.net.answers[Sub.VMOTION_PEER] = None
    world.migrate()
    world.net.pump(10)
    assert world.outcomes == [Outcome.FAILED]
    assert world.source.last(Sub.VMOTION_ABORT) == b""
    assert world.destination.gone
    world.on_source()


def test_the_destination_cannot_connect() -> None:
    world = World()
    world.net.refuse = True
    world.migrate()
    assert world.outcomes == [Outcome.FAILED]
    assert "cannot connect" in world.vm.counters.last_error
    world.on_source()


def test_the_destination_is_lost() -> None:
    world = World()
    world.net.answers[Sub.VMOTION_PEER] = lambda link, _: link.drop()
    world.migrate()
    assert world.outcomes == [Outcome.FAILED]
    assert Sub.VMOTION_ABORT in world.source.codes()
    world.on_source()


def test_the_source_is_lost_before_goahead() -> None:
    world = World()
    world.net.answers[Sub.VMOTION_BEGIN] = lambda link, _: link.drop()
    world.migrate()
    assert world.outcomes == [Outcome.FAILED]
    assert not world.guest.stunned
    world.net.pump(1)
    world.on_last()
    assert world.vm.counters.lost == 1


def test_the_source_lost_after_goahead_is_survived() -> None:
    world = World()

    def peer(link: Link, pair: bytes) -> None:
        world.source.drop()
        link.tell(ext(Sub.VMOTION_PEER_OK, pair[:4]))

    world.net.answers[Sub.VMOTION_PEER] = peer
    world.migrate(AbortPoint.AFTER_PEER_OK)
    assert world.outcomes == [Outcome.DONE]
    world.on_last()


def test_both_lost() -> None:
    world = World()

    def peer(link: Link, _pair: bytes) -> None:
        world.source.drop()
        link.drop()

    world.net.answers[Sub.VMOTION_PEER] = peer
    world.migrate()
    assert world.outcomes == [Outcome.FAILED]
    world.net.pump(1)
    world.on_last()
    assert Sub.DO_PROXY in world.net.links[-1].codes()


def test_one_migration_at_a_time_and_none_without_a_connection() -> None:
    world = World()
    world.net.answers[Sub.VMOTION_BEGIN] = None
    world.migrate()
    world.migrate()
    assert world.outcomes == [Outcome.SKIPPED]
    world.net.pump(5)
    world.source.drop()
    world.migrate()
    assert world.outcomes == [Outcome.SKIPPED, Outcome.FAILED, Outcome.SKIPPED]


def test_it_comes_back_with_growing_pauses() -> None:
    world = World()
    world.net.refuse = True
    world.source.drop()
    pauses = []
    for _ in range(8):
        (call,) = world.net.clock.getDelayedCalls()
        pauses.append(call.getTime() - world.net.clock.seconds())
        world.net.pump(pauses[-1])
    assert 0.5 <= pauses[0] <= 1
    assert 2 <= pauses[2] <= 4
    assert 15 <= pauses[-1] <= 30
    assert world.vm.counters.unreached == 8
    world.vm.write(b"into the void")
    world.net.refuse = False
    world.net.pump(30)
    world.on_last()
    assert world.guest.events == ["start"]
    world.net.links[-1].drop()
    (call,) = world.net.clock.getDelayedCalls()
    assert call.getTime() - world.net.clock.seconds() <= 1


def test_wont_proxy_is_reported_and_tried_again() -> None:
    net = Net()
    net.answers[Sub.DO_PROXY] = lambda link, _: link.tell(ext(Sub.WONT_PROXY))
    vm = VM(WHO, net, net.clock, guest=Recorder)
    vm.start()
    net.pump()
    assert "WONT-PROXY" in vm.counters.last_error
    assert not vm.connected
    net.pump(1)
    assert len(net.links) == 2
    assert vm.counters.lost == 0
    vm.stop()


def test_back_pressure_reaches_the_guest_wherever_it_is() -> None:
    world = World()
    world.source.protocol.pauseProducing()
    assert world.guest.paused
    world.migrate()
    assert not world.guest.paused
    world.destination.protocol.pauseProducing()
    assert world.guest.paused
    world.destination.drop()
    assert not world.guest.paused


@pytest.mark.parametrize("where", [None, Sub.VMOTION_BEGIN, Sub.VMOTION_PEER])
def test_stopping_leaves_nothing_behind(where: Sub | None) -> None:
    world = World()
    if where is not None:
        world.net.answers[where] = None
        world.migrate()
        assert world.vm.migrating
    world.vm.stop()
    world.net.pump()
    assert world.guest.events[-1] == "stop"
    assert all(link.gone for link in world.net.links)
    assert world.net.clock.getDelayedCalls() == []
    assert world.vm.counters.up == 0


def test_typing_at_a_real_guest_through_a_migration() -> None:
    net = Net()
    vm = VM(WHO, net, net.clock)
    vm.start()
    for _ in range(200):
        net.pump(0.05)
    net.links[0].tell(b"root\rvmotion\r")
    net.links[0].tell(b"echo st")
    net.pump()
    assert vm.counters.outcomes[Outcome.DONE] == 1
    net.links[1].tell(b"ill here\r")
    net.pump()
    seen = net.links[0].data + net.links[1].data
    assert seen.endswith(b"root@web01:~# echo still here\r\nstill here\r\nroot@web01:~# ")
    vm.stop()
