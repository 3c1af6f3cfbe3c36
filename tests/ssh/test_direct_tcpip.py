"""The raw stream: eight bits both ways, nothing lost, and broken rather than wrong."""

from __future__ import annotations

import os
import random
from uuid import UUID

import pytest

from tests.support.fakes import VM_A, VM_B, FakeViewer, Logged
from tests.support.ssh import RemoteChannel, SSHWorld
from vmproxy.log.stream import BLOCK, FILES_LIMIT
from vmproxy.operators import viewer_queue
from vmproxy.operators.viewer_queue import LOOK_SECONDS, RECENT_LIMIT
from vmproxy.ssh.direct_tcpip import QUEUE_LIMIT


def test_every_byte_passes_both_ways_with_nothing_added(w: SSHWorld) -> None:
    link = w.vm()
    raw = w.login().raw("web01")
    every = bytes(range(256)) * 3
    raw.type(every)
    w.console().feed(every)
    raw.client.pump()
    assert link.written == every
    assert raw.screen == every


def test_there_is_no_escape(w: SSHWorld) -> None:
    link = w.vm()
    raw = w.login().raw("web01")
    raw.type(b"\x05c.\x05")
    assert link.written == b"\x05c.\x05"
    assert not raw.ended


@pytest.mark.parametrize(("host", "port"), [("web01", 0), ("web01", 1), (str(VM_A), 1), ("WEB", 1), ("web01.2", 0)])
def test_a_console_is_named_like_a_host(w: SSHWorld, host: str, port: int) -> None:
    w.vm()
    w.vm("web01", port="2")
    assert w.login().raw(host, port).id is not None


def test_the_port_tells_serial_ports_apart(w: SSHWorld) -> None:
    first, second = w.vm(), w.vm("web01", port="2")
    client = w.login()
    client.raw("web01", 2).type(b"two")
    client.raw("web01", 1).type(b"one")
    assert (first.written, second.written) == (b"one", b"two")


def test_port_1_is_also_that_of_a_vm_whose_only_port_has_another_label(w: SSHWorld) -> None:
    link = w.vm("web01", port="com2")
    w.login().raw("web01", 1).type(b"x")
    assert link.written == b"x"


@pytest.mark.parametrize(
    ("host", "port", "told"),
    [
        ("nosuch", 1, "no such console"),
        ("", 1, "no such console"),
        ("web01", 7, "no such console"),
        ("web01", 65535, "no such console"),
        ("db", 1, "could be 2 consoles"),
        ("down", 1, "down (gone)"),
        ("busy", 1, "bob@10.1.2.9 is attached"),
        ("\x1b[2J", 1, "\\x1b[2J: no such console"),
        ("b\u00fcro", 1, "b\\xfcro: no such console"),
    ],
)
def test_a_refusal_says_why(w: SSHWorld, host: str, port: int, told: str, logged: Logged) -> None:
    w.vm()
    w.vm("db01", uuid=VM_B)
    w.vm("db02", uuid=UUID(int=5))
    w.directory.lost(w.console("db01"), w.vm("down", uuid=UUID(int=6)), "")
    link = w.vm("down", uuid=UUID(int=6))
    w.directory.lost(w.console("down"), link, "gone")
    w.vm("busy", uuid=UUID(int=7))
    w.console("busy").viewers.attach(FakeViewer("bob@10.1.2.9"), write=True)
    refusal = w.login().raw(host, port).refusal
    assert refusal is not None
    assert told in refusal
    assert not logged.tracebacks


def test_it_takes_the_pen_and_gives_it_to_the_next_in_line(w: SSHWorld) -> None:
    w.vm()
    raw = w.login().raw("web01")
    waiting = FakeViewer("bob@10.1.2.9")
    w.console().viewers.attach(waiting, write=True)
    assert w.console().write_access.writer is not waiting
    raw.close()
    assert w.console().write_access.writer is waiting
    assert waiting in w.console().viewers.all
    assert len(w.console().viewers.all) == 1


def test_where_input_is_recorded_there_is_no_raw_stream_because_it_could_not_say_so(w: SSHWorld) -> None:
    w.vm()
    client = w.login()
    before = client.raw("web01")
    assert before.refusal is None
    w.use_policy(None, [{"on": "*", "record-input": True}])
    client.pump()
    assert before.ended
    assert client.raw("web01").refusal == ("web01: what is typed there is recorded, which a raw stream cannot tell you")
    w.use_policy(None, None)
    assert client.raw("web01").refusal is None


def test_the_end_of_its_input_frees_the_pen_and_output_goes_on(w: SSHWorld) -> None:
    w.vm()
    raw = w.login().raw("web01")
    raw.send(96)
    assert w.console().write_access.writer is None
    w.console().feed(b"still")
    raw.client.pump()
    assert raw.out == b"still"


def test_who_is_forced_off_is_closed_rather_than_left_with_a_stream_that_goes_nowhere(w: SSHWorld) -> None:
    link = w.vm()
    raw = w.login().raw("web01")
    w.login("web01,force").attach()
    raw.client.pump()
    assert raw.ended
    assert link.written == b""
    assert len(w.console().viewers.all) == 1


def test_a_line_that_goes_down_ends_the_stream_behind_its_last_byte(w: SSHWorld) -> None:
    link = w.vm()
    raw = w.login().raw("web01")
    w.console().feed(b"last words")
    w.directory.lost(w.console(), link, "gone")
    raw.client.pump()
    assert raw.out == b"last words"
    assert raw.ended
    assert w.console().viewers.all == ()


def test_a_vm_that_connects_anew_without_having_been_down_keeps_the_stream(w: SSHWorld) -> None:
    w.vm()
    raw = w.login().raw("web01")
    link = w.vm(peer="10.1.2.4")
    raw.type(b"x")
    assert link.written == b"x"
    assert not raw.ended
    assert raw.screen == b""


def test_input_that_can_no_longer_be_delivered_breaks_the_stream(w: SSHWorld) -> None:
    w.vm()
    raw = w.login().raw("web01")
    raw.send(96)
    raw.type(b"after the end")
    assert raw.ended
    assert "raw-closed" in [e["event"] for e in w.events()]


def test_several_streams_and_sessions_share_one_connection(w: SSHWorld) -> None:
    first, second = w.vm(), w.vm("db01", uuid=VM_B)
    client = w.login()
    a, b, c = client.raw("web01"), client.raw("db01"), client.attach("web01")
    a.type(b"a")
    b.type(b"b")
    c.type(b"c")
    assert (first.written, second.written) == (b"a", b"b")
    w.console("web01").feed(b"out")
    client.pump()
    assert (a.out, b.out, c.out) == (b"out", b"", b"out")
    a.close()
    c.type(b"now mine")
    assert first.written == b"anow mine"


def test_input_is_held_while_the_vm_takes_nothing(w: SSHWorld) -> None:
    link = w.vm()
    link.ready = False
    raw = w.login().raw("web01")
    sent = 0
    while sent < 1_000_000 and (room := min(8192, raw.stream.localWindowLeft)):
        raw.type(b"x" * room)
        sent += room
    assert 64 * 1024 <= sent <= 256 * 1024
    link.ready = True
    w.console().link_ready()
    assert link.written == b"x" * sent


# Who may


def test_a_console_that_may_not_be_seen_is_refused_like_one_that_is_not_there(w: SSHWorld) -> None:
    w.vm()
    w.vm("hidden", uuid=VM_B)
    w.rules(("*", "admin", "web*"))
    client = w.login()
    for name in ("hidden", "nosuch", "hidde", str(VM_B), str(VM_A)[:-1], "hidden.1"):
        for port, told in ((0, name), (1, name), (2, f"{name}, port 2")):
            assert client.raw(name, port).refusal == f"{told}: no such console"
    assert client.raw("web01").id is not None


@pytest.mark.parametrize("may", ["see", "spy", "write", "force"])
def test_a_raw_stream_needs_a_right_of_its_own(w: SSHWorld, may: str) -> None:
    w.vm()
    w.rules(("*", may, "*"))
    assert w.login().raw("web01").refusal == "web01: you have no right to a raw stream"
    assert w.console().viewers.all == ()


def test_who_loses_the_right_loses_the_stream(w: SSHWorld) -> None:
    w.vm()
    raw = w.login().raw("web01")
    w.rules(("*", "raw", "*"))
    assert not raw.ended
    w.rules(("*", "write", "*"))
    raw.client.pump()
    assert raw.ended
    assert w.events()[-2]["reason"] == "the rules have changed"


def test_where_several_may_write_a_stream_is_one_of_them(w: SSHWorld) -> None:
    link = w.vm()
    w.use_policy(None, [{"on": "*", "write": "shared"}])
    other = FakeViewer("bob@10.1.2.9")
    w.console().viewers.attach(other, write=True)
    raw = w.login().raw("web01")
    raw.type(b"beside bob")
    assert link.written == b"beside bob"
    assert w.console().write_access.writer is other


def test_who_is_sent_off_is_closed(w: SSHWorld) -> None:
    w.vm()
    raw = w.login().raw("web01")
    w.console().viewers.kick(w.console().viewers.all[0], "root", "maintenance")
    raw.client.pump()
    assert raw.ended


def test_an_open_stream_stands_in_the_audit_trail(w: SSHWorld) -> None:
    w.vm()
    w.login().raw("web01")
    w.settle()
    assert ("attach", "web01", "raw") in [(e["event"], e.get("console"), e.get("mode")) for e in w.audited("attach")]


# A reader that is slow


FLOOD = 3 * QUEUE_LIMIT


class Flood:
    """What a VM says, in pieces, and a raw stream whose client has taken little of it."""

    def __init__(self, w: SSHWorld) -> None:
        self.w = w
        self.random = random.Random(7)
        self.link = w.vm()
        self.said = bytearray()
        self.say(b"before anybody looks")
        self.unseen = len(self.said)
        self.raw: RemoteChannel = w.login().raw("web01", window=1000)

    def say(self, data: bytes) -> None:
        self.said += data
        self.w.console().feed(data)
        self.w.store.flush()

    def flood(self, size: int = FLOOD) -> Flood:
        """Say so much, in pieces of all sizes."""
        end = len(self.said) + size
        while len(self.said) < end:
            self.say(self.random.randbytes(min(end - len(self.said), self.random.choice((1, 700, 9000, 70_000)))))
        return self

    @property
    def kept(self) -> int:
        channel = self.raw.stream
        behind = channel._behind
        return channel.queued + (behind.kept if behind is not None else 0)

    def read(self, size: int = 1 << 30) -> Flood:
        """The client takes more."""
        self.raw.adjust(size)
        return self

    @property
    def complete(self) -> bool:
        return self.raw.out == self.said[self.unseen :]

    @property
    def broken(self) -> str:
        """Why the stream was closed."""
        return next((str(e["reason"]) for e in self.w.events() if e["event"] == "raw-closed"), "")


@pytest.fixture
def behind(w: SSHWorld) -> Flood:
    """A stream that has fallen behind."""
    flood = Flood(w).flood()
    assert flood.raw.stream._behind is not None
    return flood


def test_what_a_slow_reader_missed_comes_from_the_log(behind: Flood) -> None:
    assert behind.kept < QUEUE_LIMIT + RECENT_LIMIT + BLOCK
    behind.read()
    assert behind.complete
    behind.say(b"live again")
    behind.raw.client.pump()
    assert behind.complete
    assert not behind.raw.ended
    assert behind.kept == 0
    assert behind.link.written == b""


def test_it_may_fall_behind_again_and_again_and_while_it_catches_up(w: SSHWorld) -> None:
    flood = Flood(w)
    for _ in range(60):
        flood.flood(flood.random.choice((0, 10, 100_000, 2 * QUEUE_LIMIT)))
        flood.read(flood.random.choice((1, 5000, 300_000, QUEUE_LIMIT)))
        assert flood.kept < QUEUE_LIMIT + RECENT_LIMIT + BLOCK
    assert not flood.complete
    flood.read()
    assert flood.complete
    assert len(flood.said) > 10 * QUEUE_LIMIT


def test_input_passes_while_output_is_behind(behind: Flood) -> None:
    behind.raw.type(b"stop that")
    assert behind.link.written == b"stop that"


def test_a_disk_that_takes_its_time_loses_nothing(w: SSHWorld) -> None:
    flood = Flood(w)
    w.runner.held = True
    w.threads_held = True
    flood.flood()
    for n in range(400):
        flood.read(20_000)
        if n % 3 == 0:
            flood.flood(1000)
        w.release_threads()
        if n % 7 == 0:
            w.runner.release()
            w.runner.held = True
    flood.read()
    while w.waiting_for_threads or w.runner.jobs:
        w.release_threads()
        w.runner.release()
        flood.raw.client.pump()
    assert flood.complete
    assert flood.kept == 0


def rename(behind: Flood) -> None:
    """Rotate as logrotate does."""
    path = behind.w.console().log.path
    behind.w.store.flush()
    path.rename(path.with_name(path.name + ".1"))
    behind.w.store.reopen()


def test_a_rotation_meanwhile_loses_nothing(behind: Flood) -> None:
    rename(behind)
    behind.flood()
    behind.read(2 * QUEUE_LIMIT).flood().read()
    assert behind.complete


def test_several_rotations_lose_nothing_if_they_are_not_too_close(behind: Flood) -> None:
    for _ in range(4):
        rename(behind)
        behind.flood(1000)
        behind.w.clock.advance(LOOK_SECONDS)
    path = behind.w.console().log.path
    for old in path.parent.glob(path.name + ".1"):
        old.unlink()
    behind.read()
    assert behind.complete


def test_several_rotations_lose_nothing_of_a_stream_that_is_slow_but_goes_on(behind: Flood) -> None:
    behind.read(QUEUE_LIMIT - 2 * BLOCK)
    for _ in range(4):
        rename(behind)
        behind.flood(1000)
        for _ in range(10):
            behind.read(BLOCK // 2)
            behind.w.clock.advance(LOOK_SECONDS / 9)
    assert not behind.complete
    behind.read()
    assert behind.complete


def test_a_rotation_with_nothing_behind_it_loses_nothing(behind: Flood) -> None:
    rename(behind)
    behind.read()
    assert behind.complete
    behind.flood(100)
    behind.raw.client.pump()
    assert behind.complete


def test_rotations_that_come_too_fast_break_the_stream_rather_than_leaving_a_hole(behind: Flood) -> None:
    for _ in range(2):
        rename(behind)
        behind.flood(QUEUE_LIMIT)
    behind.read()
    assert behind.raw.ended
    assert "the log is not complete" in behind.broken
    assert behind.said[behind.unseen :].startswith(behind.raw.out)


def test_more_rotations_than_files_may_be_kept_open_lose_nothing(behind: Flood) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        rename(behind)
        behind.flood(1000)
        behind.w.clock.advance(LOOK_SECONDS)
        assert len(os.listdir("/proc/self/fd")) < before + 2 * FILES_LIMIT
    behind.read()
    assert behind.complete
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("then", [1000, QUEUE_LIMIT, 2 * FLOOD])
@pytest.mark.parametrize("seconds", [0, 5])
def test_a_log_that_was_cut_breaks_the_stream_also_if_it_is_as_long_again(
    behind: Flood, then: int, seconds: float
) -> None:
    os.truncate(behind.w.console().log.path, 0)
    behind.flood(then)
    behind.w.clock.advance(seconds)
    behind.w.writer.tick()
    behind.read()
    assert behind.raw.ended
    assert behind.broken.startswith("the client reads too slowly, and ")
    assert behind.said[behind.unseen :].startswith(behind.raw.out)


def test_who_is_too_far_behind_is_closed(behind: Flood, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer_queue, "LAG_LIMIT", 2 * FLOOD)
    behind.w.clock.advance(LOOK_SECONDS)
    assert not behind.raw.ended
    behind.flood(2 * FLOOD)
    behind.w.clock.advance(LOOK_SECONDS)
    behind.raw.client.pump()
    assert behind.raw.ended
    assert "too far behind" in behind.broken


def test_a_log_that_is_turned_off_breaks_the_stream(behind: Flood) -> None:
    behind.w.console().set_logging(False, "root@10.1.2.9")
    behind.flood(QUEUE_LIMIT).read()
    assert behind.raw.ended
    assert "the log is not complete" in behind.broken
    assert behind.said[behind.unseen :].startswith(behind.raw.out)


@pytest.mark.parametrize("why", ["off", "gone", "a link"])
def test_what_the_log_does_not_hold_breaks_the_stream_at_once(w: SSHWorld, why: str) -> None:
    flood = Flood(w)
    path = w.console().log.path
    if why == "off":
        w.console().set_logging(False, "root@10.1.2.9")
    else:
        path.unlink()
        if why == "a link":
            path.symlink_to("/dev/zero")
    flood.flood().read()
    assert flood.raw.ended
    if why == "a link":
        path.unlink()
        w.clock.advance(1)
        w.writer.tick()
    assert flood.broken.startswith("the client reads too slowly, and ")
    assert flood.said[flood.unseen :].startswith(flood.raw.out)
    assert w.console().viewers.all == ()


def test_a_line_that_goes_down_ends_a_stream_that_is_behind_when_it_has_everything(behind: Flood, w: SSHWorld) -> None:
    w.directory.lost(w.console(), behind.link, "gone")
    w.vm()
    w.console().feed(b"somebody else's")
    behind.read(QUEUE_LIMIT)
    assert not behind.raw.ended
    rename(behind)
    w.console().feed(b"somebody else's")
    w.clock.advance(LOOK_SECONDS)
    behind.read()
    assert behind.complete
    assert behind.raw.ended
    assert not behind.broken


def test_a_stream_that_is_closed_while_it_is_behind_leaves_nothing_open(behind: Flood, logged: Logged) -> None:
    before = len(os.listdir("/proc/self/fd"))
    behind.raw.close()
    behind.w.clock.advance(10)
    assert len(os.listdir("/proc/self/fd")) < before
    assert behind.w.console().viewers.all == ()
    assert not logged.tracebacks
