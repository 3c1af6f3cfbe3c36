"""Two hosts, one console, any interleaving: every byte once, in order, to the right side.

The hosts here keep to the protocol, unlike those of the model of vMotion; what is arbitrary is all the rest: how their
bytes are cut into reads, which connection is read first, when a connection ends and how, whether a vMotion is aborted,
begun again, given up or completed, whether the guest asks for silence meanwhile. So the promise can be said in full:
what the guest printed is what the log has, whichever of the hosts it ran on; what was typed is what the guest got, and
nothing went to a side on which it did not run.

The connections are real pairs of sockets, because what a host has sent and nobody has read yet is a part of the story.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISystemHandle
from zope.interface import implementer

from tests.support.fakes import FakeViewer
from tests.support.properties import examples
from tests.support.vm import (
    ABORT,
    BEGIN,
    CAPTURED_LIST,
    COM_PORT,
    COMPLETE,
    GOAHEAD,
    KNOWN_1,
    MIGRATION_TIMEOUT,
    NAME,
    NEGOTIATION,
    PEER,
    PEER_OK,
    SPELLED_A,
    VC_UUID,
    WILL,
    Host,
    HostTransport,
    Token,
    VMWorld,
    com,
    doubled,
    parse,
    session,
    sub,
    verb,
)

SUSPEND, RESUME = com(8), com(9)
SIZES = st.sampled_from([1, 1, 2, 3, 5, 8, 20, 60, 65536])


@implementer(ISystemHandle)
class SocketTransport(HostTransport):
    """Our end of a pair of sockets, read when the test says so."""

    bufferSize = 65536

    def __init__(self, world: VMWorld, address: str) -> None:
        super().__init__(world.clock, address)
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.consumed = 0

    def getHandle(self) -> socket.socket:
        return self.near

    def doRead(self) -> None:
        """What Twisted's does, but for the errors."""
        if self.lost:
            return
        try:
            data = self.near.recv(self.bufferSize)
        except BlockingIOError:
            return
        if data:
            self.consumed += len(data)
            self.protocol.dataReceived(data)
        else:
            self.lose(ConnectionDone())

    def close(self) -> None:
        self.near.close()
        self.far.close()


class Line(Host):
    """One host's end: what it writes waits until it is read."""

    def __init__(self, world: VMWorld, address: str) -> None:
        self.world = world
        self.address = address
        self.transport: SocketTransport = SocketTransport(world, address)
        protocol = world.factory.buildProtocol(self.transport.peerAddr)
        assert protocol is not None
        self.protocol = self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        self.written = 0
        self.ended = False  # the host has closed it, or it is broken

    def put(self, data: bytes) -> int:
        """The host sends; :returns: how much it has sent so far."""
        with contextlib.suppress(BrokenPipeError):  # it may have been closed from our side
            self.transport.far.sendall(data)
        self.written += len(data)
        return self.written

    def end(self) -> None:
        self.ended = True
        self.transport.far.shutdown(socket.SHUT_WR)

    @property
    def unread(self) -> bool:
        return not self.transport.lost and (self.transport.consumed < self.written or self.ended)

    def read(self, size: int) -> None:
        if self.paused:
            return
        # The protocol may set a size of its own for a host that floods: that is for other tests.
        self.transport.bufferSize = size
        self.transport.doRead()
        self.transport.bufferSize = 65536
        self.world.turn()

    def has_read(self, offset: int) -> bool:
        return self.transport.consumed >= offset


class TwoHosts(RuleBasedStateMachine):
    moved = aborted = replaced = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.w = VMWorld(self.folder)
        self.w.migrations.reconfigure(MIGRATION_TIMEOUT, True, 1_000_000)
        self.lines: list[Line] = []
        self.count = 0
        self.printed = b""
        self.typed = b""
        self.received = b""
        self.viewer = FakeViewer()
        # What the hosts are at: idle, begun, granted, peered, ok, lost, aborting, completed, coming.
        self.phase = "idle"
        self.offset = 0  # where the message stands whose reading ends the phase
        self.sequence = self.pair = b""
        self.early = False  # the guest runs at the destination although COMPLETE has not been said
        self.suspended = False
        self.line = self.open()
        self.line.read(65536)
        self.other: Line | None = None
        (self.console,) = self.w.directory
        self.console.viewers.attach(self.viewer, write=True)
        self.look()

    def teardown(self) -> None:
        try:
            self.settle()
            assert self.w.logged(self.console) == self.viewer.seen == self.printed
            assert self.w.delayed() == []
            assert self.received == self.typed
        finally:
            for line in self.lines:
                line.transport.close()
            self.w.stop()
            shutil.rmtree(self.folder)

    def settle(self) -> None:
        """Everything is read, the guest takes what it is sent, and whatever was begun ends."""
        for _ in range(6):
            for line in self.lines:
                while line.unread and not line.paused:
                    line.read(65536)
                    self.look()
            self.check()
            self.w.clock.advance(1)
            self.look()
        if self.phase == "ok" and self.early:
            self.completes()
            self.speaking.read(65536)
            self.look()
        if self.phase == "ok" and not self.line.ended:
            self.let_go()
            self.offset = self.line.put(sub(ABORT, self.sequence))
            self.phase = "aborting"
            self.line.read(65536)
            self.look()
        if self.phase in ("granted", "peered", "ok", "lost"):
            self.give_up()
        self.pass_time(MIGRATION_TIMEOUT)
        self.look()
        if self.suspended:
            self.speaking.put(RESUME)
            self.suspended = False
            self.speaking.read(65536)
            self.look()
        self.check()

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds * 2)):
            self.w.clock.advance(0.5)

    # What the hosts see.

    def open(self) -> Line:
        """The VM connects."""
        line = self.connect()
        line.put(session(SPELLED_A) + verb(WILL, COM_PORT))
        # Its name stands behind its identity, and is not waited for.
        self.offset = line.written - len(sub(NAME, b"web") + verb(WILL, COM_PORT))
        return line

    def connect(self) -> Line:
        line = Line(self.w, f"10.0.0.{len(self.lines) % 250 + 1}")
        self.lines.append(line)
        return line

    def text(self, who: str) -> bytes:
        self.count += 1
        return b"%s%d\xff\r\0\n " % (who.encode(), self.count)

    @property
    def held(self) -> bool:
        """Whether the guest is between two hosts, and must be sent nothing."""
        return self.phase in ("granted", "peered", "ok", "lost", "aborting", "completed")

    @property
    def speaking(self) -> Line:
        """The line of the host that the guest runs on."""
        if self.other is not None and (self.early or self.phase == "completed"):
            return self.other
        return self.line

    def look(self) -> None:
        """Take in what the concentrator has sent since the last time."""
        held, line = self.held, self.line
        if self.phase in ("aborting", "completed", "coming"):
            at = line if self.phase == "aborting" else self.other
            assert at is not None
            if at.has_read(self.offset):
                self.arrived()
        for one in self.lines:
            tokens = parse(one.sent())
            data = self.take(one, tokens)
            if data:
                right = self.line if not self.held else None
                # What was on its way when BEGIN was read is the source's still; so it is when another replaces it.
                before = line if not held else None
                assert one in (right, before), "input went to a side where the guest does not run"
                self.received += data
        assert self.typed.startswith(self.received), "input lost, doubled or out of order"

    def take(self, one: Line, tokens: list[Token]) -> bytes:
        data = b""
        for token in tokens:
            if token[0] == "data":
                assert not (self.held and one is self.line and self.phase == "granted"), "input behind GOAHEAD"
                data += token[1]  # type: ignore[operator]
            elif token[:2] == ("sub", 232):
                said: bytes = token[2]  # type: ignore[assignment]
                if said[0] == GOAHEAD:
                    assert self.phase == "begun"
                    assert one is self.line
                    self.phase, self.pair = "granted", said[1:]
                elif said[0] == PEER_OK and one is self.other:  # else it has left, or was left, meanwhile
                    assert self.phase == "peered"
                    self.phase = "ok"
        return data

    def arrived(self) -> None:
        """What ends the phase has been read."""
        if self.phase == "aborting":
            TwoHosts.aborted += 1
        else:
            assert self.other is not None
            if self.phase == "completed":
                TwoHosts.moved += 1
                self.retire(self.line)
            else:
                TwoHosts.replaced += 1
            self.line, self.other, self.early = self.other, None, False
        self.phase = "idle"

    def retire(self, line: Line) -> None:
        if not line.ended:
            line.end()

    def let_go(self) -> None:
        """The destination has no part in it any more, and closes."""
        if self.other is not None and not self.other.ended:
            self.other.end()
        self.other = None

    def give_up(self) -> None:
        """Nobody says COMPLETE or ABORT for long: whoever is alone goes on, and two wait for each other."""
        self.pass_time(MIGRATION_TIMEOUT + 1)
        if self.phase == "ok" and not self.line.ended:
            assert self.console.state == "migrating"
            return
        if self.line.ended and self.other is not None:
            self.line, self.other, self.early = self.other, None, False
        else:
            self.let_go()
        self.phase = "idle"

    # The guest, and whoever types.

    @rule()
    def prints(self) -> None:
        line = self.speaking
        if line.ended or self.phase == "coming":
            return
        data = self.text("out")
        self.printed += data
        line.put(doubled(data))

    @rule(much=st.booleans())
    def types(self, much: bool) -> None:
        data = self.text("in") * (200 if much else 1)
        assert self.console.send(data)
        self.typed += data
        self.look()

    @precondition(lambda self: self.phase == "idle" and not self.line.ended)
    @rule()
    def suspends_or_resumes(self) -> None:
        self.suspended = not self.suspended
        self.line.put(SUSPEND if self.suspended else RESUME)

    # The reactor.

    @rule(size=SIZES, which=st.integers(0, 3))
    def reads(self, size: int, which: int) -> None:
        ready = [line for line in self.lines if line.unread and not line.paused]
        if ready:
            ready[which % len(ready)].read(size)
            self.look()

    @rule(size=SIZES, times=st.integers(1, 30))
    def reads_all_by_turns(self, size: int, times: int) -> None:
        for _ in range(times):
            for line in list(self.lines):
                if line.unread:
                    line.read(size)
                    self.look()

    @rule(seconds=st.sampled_from([0.02, 0.1, 0.3]))
    def waits(self, seconds: float) -> None:
        self.w.clock.advance(seconds)
        self.look()

    # The hosts.

    @precondition(lambda self: self.phase in ("idle", "granted", "peered", "ok", "lost") and not self.line.ended)
    @rule()
    def begins(self) -> None:
        # Behind a SUSPEND nothing would be left to move: a host resumes before it stuns its guest.
        if self.early:
            return
        if self.suspended:
            self.suspended = False
            self.line.put(RESUME)
        self.let_go()
        self.count += 1
        self.sequence = b"%c%c\xff" % (self.count % 256, self.count // 256)
        self.line.put(sub(BEGIN, self.sequence))
        self.phase = "begun"

    @precondition(lambda self: self.phase == "granted")
    @rule(identity=st.sampled_from(["", "before", "behind"]))
    def the_destination_connects(self, identity: str) -> None:
        self.other = self.connect()
        told = sub(VC_UUID, SPELLED_A)
        hello = NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + (told if identity == "before" else b"")
        self.other.put(hello + sub(PEER, self.pair) + (told if identity == "behind" else b""))
        self.phase = "peered"

    @precondition(lambda self: self.phase == "ok")
    @rule()
    def the_guest_runs_early(self) -> None:
        self.early = True

    @precondition(lambda self: self.phase == "ok")
    @rule()
    def completes(self) -> None:
        assert self.other is not None
        self.offset = self.other.put(sub(COMPLETE, self.sequence))
        self.phase = "completed"

    @rule(size=SIZES, times=st.integers(1, 12))
    def one_step_on(self, size: int, times: int) -> None:
        """Whatever comes next where a vMotion goes well: chance alone seldom gets through a whole one."""
        match self.phase:
            case "idle" if not self.line.ended:
                self.begins()
            case "granted":
                self.the_destination_connects("behind")
            case "ok":
                self.completes()
        self.reads_all_by_turns(size, times)

    @precondition(lambda self: self.phase in ("ok", "completed") and not self.line.ended)
    @rule()
    def the_source_closes(self) -> None:
        self.line.end()
        self.early = True

    @precondition(lambda self: self.phase in ("granted", "peered", "ok", "lost") and not self.line.ended)
    @rule(named=st.booleans())
    def aborts(self, named: bool) -> None:
        if self.early:
            return
        self.let_go()
        self.offset = self.line.put(sub(ABORT, self.sequence if named else b""))
        self.phase = "aborting"

    @precondition(lambda self: self.phase in ("peered", "ok") and not self.line.ended)
    @rule(broken=st.booleans())
    def the_destination_is_lost(self, broken: bool) -> None:
        if self.early or self.other is None:
            return
        if broken:
            self.other.ended = True
            self.other.die()
        else:
            self.other.end()
        self.other, self.phase = None, "lost"

    @precondition(lambda self: self.phase in ("granted", "peered", "ok", "lost") and self.line.ended >= self.early)
    @rule()
    def nobody_says_anything_for_long(self) -> None:
        for line in list(self.lines):
            while line.unread and not line.paused:
                line.read(65536)
                self.look()
        self.give_up()
        self.look()

    @precondition(lambda self: self.phase == "idle")
    @rule()
    def connects_anew(self) -> None:
        """The host lost the connection, it thinks; ours has not ended, and what it has sent there may be unread."""
        self.other = self.open()
        self.suspended = False
        self.phase = "coming"

    @precondition(lambda self: self.phase == "idle" and not self.line.ended)
    @rule()
    def breaks(self) -> None:
        """The host dies: what it has not been read is gone, and what is held for the guest too. It comes back."""
        self.line.ended = True
        self.line.die()
        self.look()
        seen = self.w.logged(self.console)
        assert self.printed.startswith(seen), "output lost in the middle, doubled or out of order"
        self.printed, self.typed, self.suspended = seen, self.received, False
        self.line = self.open()
        assert not self.console.send(b"nobody is there")
        self.line.read(65536)
        self.look()

    # What must hold.

    @invariant()
    def check(self) -> None:
        log = self.w.logged(self.console)
        assert self.printed.startswith(log), "output lost, doubled or out of order"
        assert self.viewer.seen == log
        quiet = not any(line.unread for line in self.lines)
        if quiet and not self.suspended and self.phase == "idle":
            assert self.received == self.typed, "input is held although the guest runs and takes it"


@pytest.mark.slow  # its last assert needs all of the examples
def test_two_hosts_and_one_console_in_any_interleaving() -> None:
    TwoHosts.moved = TwoHosts.aborted = TwoHosts.replaced = 0
    run_state_machine_as_test(
        TwoHosts,
        settings=examples(100, stateful_step_count=50, suppress_health_check=list(HealthCheck)),
    )
    if settings().max_examples >= 100:  # else it was about nothing; a few examples may be
        assert TwoHosts.moved > 2
        assert TwoHosts.aborted > 2
        assert TwoHosts.replaced > 2
