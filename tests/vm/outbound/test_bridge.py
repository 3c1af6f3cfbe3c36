"""A VM with direction "client" and its far end: what passes, who may speak, what happens when one of them goes."""

from __future__ import annotations

import socket
import tracemalloc
from pathlib import Path

import pytest
from twisted.internet.error import ConnectionLost

from tests.support.fakes import VM_A, FakeViewer
from tests.support.outbound import Net, bridged, client, wish
from tests.support.vm import ABORT, COMPLETE, DO_PROXY, WILL_PROXY, WONT_PROXY, VMWorld, doubled, session, sub
from vmproxy.access.console_options import ConsoleOptions
from vmproxy.base.ratelimit import REPEAT_SECONDS, REPEATS_TOLD
from vmproxy.console.notices import Demoted, FarEndDown, FarEndUp, Promoted
from vmproxy.vm.keepalive import LOOK_SECONDS, UnderWay
from vmproxy.vm.outbound.bridge import GOOD_SECONDS, LONGEST_PAUSE, QUEUE_LIMIT, WAITING_LIMIT

ALL_BYTES = bytes(range(256))
SEQUENCE = b"\x4c\x19\xff\xe9"


@pytest.fixture
def net(w: VMWorld) -> Net:
    return Net(w)


def test_bytes_pass_both_ways_and_into_the_log(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net)
    assert far.to == ("10.1.2.3", 4000)
    host.feed(doubled(ALL_BYTES))
    far.say(ALL_BYTES[::-1])
    assert far.heard() == ALL_BYTES
    assert host.data() == ALL_BYTES[::-1]
    assert w.logged(console) == ALL_BYTES
    assert (console.bytes_out, console.bytes_in) == (256, 256)


def test_the_proxy_says_that_it_will(w: VMWorld, net: Net) -> None:
    host = w.connect().feed(wish(b"10.1.2.3:4000?port=com2"))
    assert bytes((WILL_PROXY,)) in host.subs()
    assert (w.console.port, w.console.uri) == ("com2", "tcp://10.1.2.3:4000?port=com2")
    assert w.console.remote is not None
    assert w.console.remote.place == "tcp://10.1.2.3:4000"


def test_the_trails_say_what_was_dialled(w: VMWorld, net: Net) -> None:
    _, console, _ = bridged(net)
    (event,) = w.trail(console, "dialled")
    assert (event["to"], event["address"]) == ("tcp://10.1.2.3:4000", "10.1.2.3")
    (entry,) = net.audit
    assert entry == {
        "event": "dialled",
        "console": "web",
        "uuid": str(VM_A),
        "to": "tcp://10.1.2.3:4000",
        "address": "10.1.2.3",
    }


def test_what_the_vm_says_before_the_far_end_is_there_waits_for_it(w: VMWorld, net: Net) -> None:
    host, console = client(net)
    host.feed(b"one ")
    host.feed(b"two ")
    far = net.call.answer()
    host.feed(b"three")
    assert far.heard() == b"one two three"
    assert w.logged(console) == b"one two three"


def test_what_came_in_the_same_read_as_the_wish_waits_too(w: VMWorld, net: Net) -> None:
    w.connect().feed(wish(b"tcp://10.1.2.3:4000") + b"BIOS")
    assert net.call.answer().heard() == b"BIOS"


def test_a_guest_does_not_hang_because_its_peer_is_away(w: VMWorld, net: Net) -> None:
    host, console = client(net)
    for _ in range(2 * WAITING_LIMIT // 1000):
        host.feed(b"x" * 1000)
    assert not host.paused
    far = net.call.answer()
    sent = len(far.heard())
    assert WAITING_LIMIT - 1000 < sent <= WAITING_LIMIT
    (gap,) = w.trail(console, "far-end-gap")
    assert gap["bytes"] == console.bytes_out - sent  # nothing is lost without a word, and the log has all of it
    assert len(w.logged(console)) == console.bytes_out
    host.feed(b"and on")
    assert far.heard() == b"and on"


def test_a_far_end_that_reads_slowly_has_the_vm_wait(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net)
    far.full(True)
    assert host.paused
    host.protocol.dataReceived(b"what was under way")
    assert far.heard() == b""
    far.full(False)
    assert far.heard() == b"what was under way"
    assert not host.paused
    assert w.logged(console) == b"what was under way"


def test_what_waits_for_a_slow_far_end_is_bounded(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net)
    far.full(True)
    for _ in range(QUEUE_LIMIT // 65536 + 3):  # what was in the systems' buffers: the VM is not read from any more
        host.protocol.dataReceived(b"x" * 65536)
    far.full(False)
    assert len(far.heard()) == QUEUE_LIMIT
    assert [e["bytes"] for e in w.trail(console, "far-end-gap")] == [3 * 65536]
    assert net.connector.dropped == 3 * 65536


def test_small_pieces_that_wait_take_no_more_room_than_large_ones(w: VMWorld, net: Net) -> None:
    _, console = client(net)
    assert console.remote is not None
    sent = b"".join(b"%05d" % n for n in range(WAITING_LIMIT // 5))
    tracemalloc.start()
    for at in range(0, len(sent), 5):
        console.remote.output(sent[at : at + 5])
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 3 * WAITING_LIMIT
    assert net.call.answer().heard() == sent


def test_a_log_that_is_behind_and_a_far_end_that_is_are_two_reasons(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net)
    far.full(True)
    console.log_congested(True)
    far.full(False)
    assert host.paused
    console.log_congested(False)
    assert not host.paused
    far.full(True)
    console.log_congested(True)
    console.log_congested(False)
    assert host.paused
    far.full(False)
    assert not host.paused


def test_a_vm_that_reads_slowly_has_the_far_end_wait(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net)
    host.protocol.pauseProducing()
    sent = b"".join(b"%07d " % n for n in range(20_000))
    for at in range(0, len(sent), 10_000):
        if not far.read:
            break
        far.say(sent[at : at + 10_000])
    else:
        pytest.fail("the far end was read from for ever")
    far.say(b"under way")  # what had been read by then
    assert console.undelivered < 128 * 1024
    host.protocol.resumeProducing()
    assert far.read
    got = host.data()
    assert got == sent[: len(got) - 9] + b"under way"


# Whose word it is.


def test_operators_look_on(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net)
    viewer = FakeViewer()
    assert not console.viewers.attach(viewer, write=True)
    host.feed(b"output")
    assert viewer.seen == b"output"
    assert console.write_access.waits(viewer)
    assert console.write_access.writer is not None
    assert console.write_access.writer.who == "tcp://10.1.2.3:4000"
    far.say(b"input")
    assert host.data() == b"input"


def test_who_takes_over_speaks_in_its_place_and_it_waits(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net)
    viewer = FakeViewer()
    console.viewers.attach(viewer, write=True, force=True)
    assert not far.read
    far.say(b"later")  # what had been read by then
    console.send(b"operator ")
    assert host.data() == b"operator "
    host.feed(b"to both")
    assert far.heard() == viewer.seen == b"to both"
    console.viewers.drop_write(viewer)
    assert far.read
    assert host.data() == b"later"
    assert viewer.told(Demoted) == []


def test_where_several_may_write_operators_write_beside_it(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net)
    console.set_options(ConsoleOptions(shared=True))
    viewer = FakeViewer()
    assert console.viewers.attach(viewer, write=True, join=True)
    console.send(b"operator ")
    far.say(b"far end")
    assert host.data() == b"operator far end"


def test_an_operator_who_had_the_pen_of_a_console_that_was_down_looks_on_from_then(w: VMWorld, net: Net) -> None:
    host, console, _ = bridged(net)
    viewer = FakeViewer()
    console.viewers.attach(viewer, write=True)
    host.die()
    assert viewer.told(Promoted)
    client(net)
    assert viewer.told(Demoted)
    net.call.answer().say(b"input")
    assert not console.write_access.writes(viewer)


def test_one_that_is_sent_off_stays_away_until_the_vm_comes_anew(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net)
    dial = console.viewers.all[0]
    console.viewers.kick(dial, "alice", "enough")
    w.turn()
    assert far.closed
    w.clock.advance(300)
    host.feed(b"nobody there")
    assert len(net.calls) == 1
    assert console.remote is None
    host.die()
    client(net)
    assert len(net.calls) == 2


# One of the two goes.


def test_when_the_vm_goes_the_far_end_gets_the_last_word_and_is_closed(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net)
    far.full(True)
    host.protocol.dataReceived(b"last words")
    host.die()
    assert far.heard() == b"last words"
    assert far.closed
    assert console.state == "down"
    assert console.remote is None
    assert not console.viewers.all
    assert [e["event"] for e in w.trail(console, "hung-up", "down")] == ["down", "hung-up"]
    w.clock.advance(300)
    assert len(net.calls) == 1


def test_one_that_does_not_take_the_last_words_is_aborted_after_a_while(w: VMWorld, net: Net) -> None:
    host, _, far = bridged(net)
    far.transport.loseConnection = lambda: None  # it never ends by itself
    host.die()
    assert not far.transport.lost
    w.clock.advance(31)
    assert far.transport.lost


def test_when_the_vm_goes_while_nobody_answered_nothing_is_left(w: VMWorld, net: Net) -> None:
    host, console = client(net)
    host.feed(b"lost")
    host.die()
    assert net.call.state == "disconnected"
    assert [e["bytes"] for e in w.trail(console, "far-end-gap")] == [4]
    assert net.connector.dropped == 4
    assert w.delayed() == []


def test_when_the_far_end_goes_it_is_dialled_again_and_the_vm_stays(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net)
    viewer = FakeViewer()
    console.viewers.attach(viewer, write=False)
    far.lose()
    assert console.state == "up"
    assert console.remote is not None
    assert (console.remote.state, console.remote.reason) == ("down", "closed by the far end")
    assert console.remote.again > w.clock.seconds()
    (event,) = w.trail(console, "far-end-lost")
    assert event["reason"] == "closed by the far end"
    host.feed(b"meanwhile ")
    w.clock.advance(2)
    again = net.call.answer()
    assert again is not far
    host.feed(b"and on")
    assert again.heard() == b"meanwhile and on"
    again.say(b"hello")
    assert host.data() == b"hello"
    (down,), (up,) = viewer.told(FarEndDown), viewer.told(FarEndUp)
    assert isinstance(down, FarEndDown)
    assert isinstance(up, FarEndUp)
    assert down.reason == "closed by the far end"
    assert up.address == "10.1.2.3"


def test_what_people_are_told_of_it_is_by_the_clock_on_the_wall(w: VMWorld) -> None:
    ahead = 0.0
    w.clock.wall = lambda: w.clock.seconds() + ahead  # type: ignore[attr-defined]  # as base.clock has it
    net = Net(w)
    _, console, far = bridged(net)
    ahead = -5 * 3600  # somebody sets it back
    w.clock.advance(GOOD_SECONDS)
    now = w.clock.seconds() + ahead
    far.say(b"x")
    dial = console.remote
    assert dial is not None
    assert dial.last_input == now
    far.lose()
    assert dial.since == now
    assert 0.5 < dial.again - now < 1.5  # a connection that lasted so long was a good one, whatever the wall says
    w.clock.advance(2)
    net.call.answer()
    ahead = 5 * 3600
    net.call.lose()
    assert 1.5 - 0.01 <= dial.again - w.clock.seconds() - ahead <= 2.5  # and one that did not last was none


def test_one_that_vanishes_with_bytes_on_their_way_is_noticed_as_hosts_are(
    w: VMWorld, net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    net.connector.probe_after(300)
    asked: list[object] = []
    found = UnderWay(0, 9)
    with socket.socket() as handle:

        def socket_of(transport: object) -> socket.socket:
            asked.append(transport)
            return handle

        monkeypatch.setattr("vmproxy.vm.keepalive.socket_of", socket_of)
        monkeypatch.setattr("vmproxy.vm.keepalive.under_way", lambda _: found)
        host, console, far = bridged(net)
        assert asked == []
        host.feed(b"is anybody there?")
        w.clock.advance(LOOK_SECONDS)
        assert asked == [far.transport]
        assert not far.closed
        far.full(True)
        assert host.paused
        found = UnderWay(315_000, 9)
        w.clock.advance(LOOK_SECONDS)
        w.turn()
    assert far.closed
    assert not host.paused
    assert console.remote is not None
    assert console.remote.reason == "connection lost to 10.1.2.3: it does not answer"


def test_a_broken_connection_is_told_from_a_closed_one(w: VMWorld, net: Net) -> None:
    _, console, far = bridged(net)
    far.lose(ConnectionLost())
    assert console.remote is not None
    assert console.remote.reason == "connection lost"


def test_the_pauses_grow_and_the_trail_does_not(w: VMWorld, net: Net) -> None:
    _, console = client(net)
    pauses = []
    for _ in range(12):
        before = w.clock.seconds()
        net.call.fail()
        calls = len(net.calls)
        while len(net.calls) == calls:
            w.clock.advance(0.25)
        pauses.append(w.clock.seconds() - before)
    assert pauses[0] < 2
    assert 0.7 * LONGEST_PAUSE < pauses[-1] < 1.3 * LONGEST_PAUSE
    assert sum(pauses[:3]) < sum(pauses[3:6]) < sum(pauses[6:9])
    assert len(w.trail(console, "dial-failed")) == 1
    net.call.fail(ConnectionLost())
    assert len(w.trail(console, "dial-failed")) == 2  # another reason is news
    w.clock.advance(LONGEST_PAUSE * 1.3)
    net.call.answer()
    (event,) = w.trail(console, "dialled")
    assert event["tries"] == 14


def test_one_that_answers_and_closes_at_once_has_growing_pauses_too(w: VMWorld, net: Net) -> None:
    client(net)
    for seconds in (2, 3, 6, 12):
        calls = len(net.calls)
        net.call.answer().lose()
        w.clock.advance(seconds / 4)
        assert len(net.calls) == calls
        w.clock.advance(seconds)
        assert len(net.calls) == calls + 1
    net.call.answer()
    w.clock.advance(61)  # a good one
    calls = len(net.calls)
    net.call.lose()
    w.clock.advance(1.3)
    assert len(net.calls) == calls + 1


def test_nobody_answers_in_time(w: VMWorld, net: Net) -> None:
    _, console = client(net)
    w.clock.advance(10)
    assert net.call.state == "disconnected"
    assert console.remote is not None
    assert console.remote.reason == "no answer within 10 s"


# The VM comes another way.


def test_a_vm_that_connects_anew_keeps_its_far_end(w: VMWorld, net: Net) -> None:
    host, _console, far = bridged(net)
    host.feed(b"old ")
    second = w.connect("10.0.0.9").feed(wish(b"tcp://10.1.2.3:4000"))
    w.turn()
    second.feed(b"new")
    w.clock.advance(1)
    assert host.closed
    assert far.heard() == b"old new"
    far.say(b"input")
    assert second.data() == b"input"
    assert len(net.calls) == 1


def test_another_destination_is_another_far_end(w: VMWorld, net: Net) -> None:
    _, console, far = bridged(net)
    second = w.connect("10.0.0.9").feed(wish(b"tcp://10.1.2.4:4000?port=1"))
    w.turn()
    assert console.link is second.protocol
    assert far.closed
    assert net.call.to == ("10.1.2.4", 4000)


def test_another_direction_has_no_far_end(w: VMWorld, net: Net) -> None:
    _, console, far = bridged(net, b"tcp://10.1.2.3:4000?port=1")
    host = w.connect("10.0.0.9").feed(session(uri=b"vmproxy?port=1"))
    w.turn()
    assert console.link is host.protocol
    assert far.closed
    assert console.remote is None
    assert not console.viewers.all


def test_a_vm_may_have_a_port_of_each_kind(w: VMWorld, net: Net) -> None:
    server = w.connect().feed(session())
    dialled, _, far = bridged(net)
    assert {(c.port, c.uri) for c in w.directory} == {("1", "vmproxy"), ("2", "tcp://10.1.2.3:4000")}
    server.feed(b"console")
    dialled.feed(b"data")
    assert far.heard() == b"data"
    # Also where the one comes up while the other is down: neither takes the other's place.
    server.die()
    dialled.die()
    client(net)
    w.connect().feed(session())
    assert {(c.port, c.uri, c.state) for c in w.directory} == {
        ("1", "vmproxy", "up"),
        ("2", "tcp://10.1.2.3:4000", "up"),
    }


def test_a_new_kind_of_port_does_not_take_the_place_of_one_that_is_down(w: VMWorld, net: Net) -> None:
    server = w.connect().feed(session())
    server.die()
    client(net)
    assert {(c.port, c.uri) for c in w.directory} == {("1", "vmproxy"), ("2", "tcp://10.1.2.3:4000")}


def test_asking_again_is_answered_and_changes_nothing(w: VMWorld, net: Net) -> None:
    host, _console, far = bridged(net)
    host.feed(sub(DO_PROXY, b"C10.1.2.3:4000"))
    assert host.subs() == [bytes((WILL_PROXY,))]
    host.feed(sub(DO_PROXY, b"Ctcp://10.1.2.4:4000"))
    assert host.subs() == [bytes((WONT_PROXY,))]
    assert len(net.calls) == 1
    host.feed(b"on")
    assert far.heard() == b"on"


# vMotion.


def test_the_far_end_survives_a_vmotion(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net)
    host.feed(b"source ")
    far.say(b"before ")
    assert host.data() == b"before "
    pair = host.begin(SEQUENCE)
    far.say(b"during ")
    destination = w.destination(pair)
    destination.feed(b"early ")
    far.say(b"it ")
    assert host.data() == destination.data() == b""
    host.feed(b"last ")
    host.die()
    destination.feed(sub(COMPLETE, SEQUENCE) + b"destination")
    w.clock.advance(1)
    far.say(b"after")
    assert destination.data() == b"during it after"
    assert far.heard() == b"source last early destination"
    assert w.logged(console) == b"source last early destination"
    assert len(net.calls) == 1
    assert not far.closed


def test_an_aborted_vmotion_changes_nothing_for_it(w: VMWorld, net: Net) -> None:
    host, _, far = bridged(net)
    host.begin(SEQUENCE)
    far.say(b"held ")
    host.feed(sub(ABORT))
    far.say(b"and on")
    assert host.data() == b"held and on"


def test_a_far_end_that_talks_through_a_long_vmotion_is_held_back(w: VMWorld, net: Net) -> None:
    host, _, far = bridged(net)
    pair = host.begin(SEQUENCE)
    sent = b""
    while far.read:
        far.say(b"x" * 10_000)
        sent += b"x" * 10_000
    assert len(sent) < 128 * 1024
    destination = w.destination(pair)
    host.die()
    destination.feed(sub(COMPLETE, SEQUENCE))
    assert far.read
    assert destination.data() == sent


def test_a_far_end_that_reads_nothing_has_the_destination_wait_and_the_source_come_to_an_end(
    w: VMWorld, net: Net
) -> None:
    host, _console, far = bridged(net)
    pair = host.begin(SEQUENCE)
    destination = w.destination(pair)
    far.full(True)
    assert host.paused
    destination.feed(sub(COMPLETE, SEQUENCE))
    assert not host.paused  # it is read out
    host.feed(b"source ")
    host.die()
    destination.protocol.dataReceived(b"destination")
    assert destination.paused
    far.full(False)
    assert far.heard() == b"source destination"
    assert not destination.paused


def test_the_far_end_goes_in_a_vmotion_and_comes_back_after_it(w: VMWorld, net: Net) -> None:
    host, _console, far = bridged(net)
    pair = host.begin(SEQUENCE)
    far.lose()
    destination = w.destination(pair)
    host.feed(b"source ")
    host.die()
    destination.feed(sub(COMPLETE, SEQUENCE) + b"destination")
    w.clock.advance(2)
    again = net.call.answer()
    assert again.heard() == b"source destination"
    again.say(b"input")
    assert destination.data() == b"input"


def test_a_vmotion_that_comes_to_nothing_closes_it(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net)
    host.begin(SEQUENCE)
    far.say(b"held")
    host.die()
    w.clock.advance(61)
    assert console.state == "down"
    assert far.closed
    assert [e["bytes"] for e in w.trail(console, "input-lost")] == [4]


# Stopping.


def test_stopping_sends_the_last_words(w: VMWorld, net: Net, tmp_path: Path) -> None:
    host, console, far = bridged(net)
    far.full(True)
    host.protocol.dataReceived(b"last words")
    w.front.stop()
    assert far.heard() == b"last words"
    assert far.closed
    assert console.remote is None


def test_a_far_end_that_spoke_while_a_vm_came_and_went_too_often_to_be_told_is_heard(w: VMWorld, net: Net) -> None:
    for _ in range(REPEATS_TOLD + 1):
        bridged(net)[0].lose()
    host, _, far = bridged(net)
    dialled = len(net.calls)
    for turn in (b"one", b"two", b"three"):
        host.lose()
        far.say(turn)
        assert not far.read
        host = w.connect().feed(wish(b"tcp://10.1.2.3:4000"))
        assert host.data() == turn
        assert (far.read, far.closed) == (True, False)
    host.feed(b"yes")
    assert far.heard() == b"yes"
    assert len(net.calls) == dialled  # one that comes and goes does not have us dial each time
    host.lose()
    w.clock.advance(REPEAT_SECONDS)
    assert far.closed
