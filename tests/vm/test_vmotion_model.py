"""vMotion against a model: two VMs and any number of connections that do anything in any order.

The model is what the protocol promises, written down a second time and as simply as possible: who serves, what has been
printed, what is held and where it went. It shares nothing with the code but the order of events.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.fakes import VM_A, VM_B, FakeViewer
from tests.support.properties import examples
from tests.support.vm import (
    ABORT,
    BEGIN,
    COMPLETE,
    GOAHEAD,
    IDENTIFY_TIMEOUT,
    MIGRATION_TIMEOUT,
    NEGOTIATION,
    NOTNOW,
    PEER,
    PEER_OK,
    SPELLED,
    VC_UUID,
    Host,
    VMWorld,
    doubled,
    session,
    sub,
)

RETIRED = 10.0
SEQUENCES = [b"\x01\x02\x03\x04", b"\xff", b""]
INPUT_LIMIT = 1024 * 1024


@dataclass(eq=False)
class Line:
    """A connection, as the model sees it."""

    host: Host
    role: str = "nobody"  # nobody, serving, destination, overtaken, retired, gone
    sequence: bytes = b""  # of the vMotion that it was the destination of, overtaken
    vm: Vm | None = None
    early: bytes = b""
    told: str = ""  # the identity that it told, where that was not by its session
    due: float = 0.0  # when it is closed for its role's sake; 0 is never
    got: bytes = b""  # the input that it should have been sent
    sent: bytes = b""  # the input that it was


@dataclass(eq=False)
class Pending:
    source: Line | None
    pair: bytes
    sequence: bytes
    due: float | None  # a host that has shown the pair may take its time
    destination: Line | None = None
    arrived: bool = False


@dataclass(eq=False)
class Vm:
    index: int
    serving: Line | None = None
    pending: Pending | None = None
    log: bytes = b""
    held: bytes = b""
    known: bool = False
    viewer: FakeViewer = field(default_factory=FakeViewer)

    @property
    def uri(self) -> bytes:
        return b"vmproxy"


class VMotion(RuleBasedStateMachine):
    lines: Bundle[Line] = Bundle("lines")

    completed = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.secrets = self._secrets()
        self.w = VMWorld(self.folder, secrets=self.secrets)
        self.w.migrations.reconfigure(MIGRATION_TIMEOUT, True, 1_000_000)
        self.vms = [Vm(0), Vm(1)]
        self.uuids = [VM_A, VM_B]
        self.all: list[Line] = []
        self.made: list[bytes] = []
        self.count = 0

    def _secrets(self) -> Iterator[bytes]:
        while True:
            self.made.append(b"secret%02d" % len(self.made))
            yield self.made[-1]

    def teardown(self) -> None:
        # Whatever was begun ends, by itself or with a host that is there: nothing is held, and nothing waits, for ever.
        self.pass_time(MIGRATION_TIMEOUT + 1)
        for line in list(self.all):
            if line.role == "overtaken":
                self.close_it(line, broken=True)
        for vm in self.vms:
            if vm.pending is not None and vm.pending.destination is not None:
                self.complete_on(vm.pending.destination, None)
        self.pass_time(IDENTIFY_TIMEOUT + 1)
        self.check()
        assert self.w.delayed() == []
        assert len(self.w.migrations) == 0
        assert all(vm.held == b"" for vm in self.vms)
        VMotion.completed += self.w.migrations.completed
        self.w.stop()
        shutil.rmtree(self.folder)

    # The model's steps.

    @property
    def now(self) -> float:
        return self.w.clock.seconds()

    def text(self, who: str) -> bytes:
        self.count += 1
        # Not two alike, and with bytes that need care on the way.
        return b"%s%d\xff\r\0 " % (who.encode(), self.count)

    def serve(self, vm: Vm, line: Line) -> None:
        line.role, line.vm, line.due = "serving", vm, 0.0
        vm.serving = line
        vm.log += line.early
        line.early = b""
        self.flow(vm)

    def flow(self, vm: Vm) -> None:
        if vm.serving is not None and vm.pending is None:
            vm.serving.got += vm.held
            vm.held = b""

    def go_down(self, vm: Vm) -> None:
        vm.held = b""

    def let_go(self, line: Line | None) -> None:
        """A destination that is no longer wanted."""
        if line is not None:
            line.role, line.vm, line.early, line.due = "gone", None, b"", 0.0

    def expire(self) -> None:
        for vm in self.vms:
            pending = vm.pending
            if pending is not None and pending.due is not None and pending.due <= self.now:
                vm.pending = None
                if pending.source is not None:
                    self.flow(vm)
                elif pending.destination is not None:
                    self.serve(vm, pending.destination)
                else:
                    self.go_down(vm)
        for line in self.all:
            if line.due and line.due <= self.now and line.role in ("nobody", "retired"):
                line.role, line.vm = "gone", None

    def pass_time(self, seconds: float) -> None:
        # In small steps, so that the order of what expires is that of its times.
        while seconds > 0:
            step = min(seconds, 0.5)
            seconds -= step
            self.w.clock.advance(step)
            self.expire()
            self.w.turn()

    # The rules.

    @initialize(target=lines)  # type: ignore[arg-type]  # a fake
    def begin_with_both(self) -> object:
        return multiple(self.start(self.vms[0]), self.start(self.vms[1]))

    def start(self, vm: Vm) -> Line:
        line = Line(self.w.connect(f"10.0.0.{len(self.all) % 250 + 1}"))
        self.all.append(line)
        early = self.text("early")
        old, pending = vm.serving, vm.pending
        line.host.feed(doubled(early) + session(SPELLED[self.uuids[vm.index]], vm.uri))
        # CR NUL before BINARY was agreed on is a CR.
        line.early = early.replace(b"\r\0", b"\r")
        if pending is not None:
            vm.pending = None
            if pending.destination is not None:
                pending.destination.role, pending.destination.sequence = "overtaken", pending.sequence
        if old is not None:
            old.role, old.vm = "gone", None
        self.serve(vm, line)
        if not vm.known:
            vm.known = True
            (console,) = [c for c in self.w.directory if c.uuid == self.uuids[vm.index]]
            console.viewers.attach(vm.viewer, write=True)
            vm.viewer.seen = vm.log
        return line

    @rule(target=lines, vm=st.integers(0, 1))
    def connect(self, vm: int) -> Line:
        return self.start(self.vms[vm])

    @rule(target=lines)
    def arrive(self) -> Line:
        return self.arrive_now()

    def arrive_now(self) -> Line:
        line = Line(self.w.connect(f"10.0.0.{len(self.all) % 250 + 1}"), due=self.now + IDENTIFY_TIMEOUT)
        line.host.feed(NEGOTIATION)
        self.all.append(line)
        return line

    @rule(line=lines, sequence=st.sampled_from(SEQUENCES))
    def begin(self, line: Line, sequence: bytes) -> None:
        self.begin_on(line, sequence)

    def begin_on(self, line: Line, sequence: bytes) -> None:
        if line.role == "gone":
            return
        self.collect(line)
        line.host.feed(sub(BEGIN, sequence))
        (answer,) = line.host.subs()
        vm = line.vm
        if line.role != "serving" or vm is None:
            assert answer == bytes((NOTNOW,)) + sequence
            return
        assert answer == bytes((GOAHEAD,)) + sequence + self.made[-1]
        if vm.pending is not None:
            self.let_go(vm.pending.destination)
        vm.pending = Pending(line, sequence + self.made[-1], sequence, self.now + MIGRATION_TIMEOUT)

    @rule(line=lines, which=st.integers(0, 3), spoil=st.booleans(), identity=st.sampled_from(["", "A", "B"]))
    def peer(self, line: Line, which: int, spoil: bool, identity: str) -> None:
        """Show one of the last pairs, which may be pending, used, of the past, or of the other VM; or a wrong one."""
        self.show(line, which, spoil, identity)

    def show(self, line: Line, which: int, spoil: bool, identity: str) -> None:
        if line.role == "gone" or len(self.made) <= which:
            return
        secret = self.made[-1 - which]
        known = [vm.pending for vm in self.vms if vm.pending is not None and vm.pending.pair.endswith(secret)]
        pair = (known[0].pair if known else SEQUENCES[0] + secret) + (b"\0" if spoil else b"")
        self.collect(line)
        if identity and line.role == "nobody" and not line.told:
            # Once and for good: what a contradiction does is for other tests.
            line.told = identity
            line.host.feed(sub(VC_UUID, SPELLED[self.uuids["AB".index(identity)]]))
        line.host.feed(sub(PEER, pair))
        for vm in self.vms:
            pending = vm.pending
            if pending is not None and pending.pair == pair and not pending.arrived and line.role == "nobody":
                if line.told and "AB".index(line.told) != vm.index:
                    break
                pending.arrived, pending.destination = True, line
                pending.due = None if pending.source is not None else self.now + MIGRATION_TIMEOUT
                line.role, line.vm, line.due = "destination", vm, 0.0
                assert line.host.subs() == [bytes((PEER_OK,)) + pending.sequence]
                return
        assert line.host.subs() == []
        if line.role == "nobody":
            line.role = "gone"

    @rule(line=lines, sequence=st.sampled_from([None, *SEQUENCES]))
    def complete(self, line: Line, sequence: bytes | None) -> None:
        self.complete_on(line, sequence)

    def complete_on(self, line: Line, sequence: bytes | None) -> None:
        if line.role == "gone":
            return
        if line.role == "overtaken":
            self.complete_late(line, line.sequence if sequence is None else sequence)
            return
        pending = line.vm.pending if line.vm is not None and line.role == "destination" else None
        if sequence is None:
            sequence = pending.sequence if pending is not None else b""
        line.host.feed(sub(COMPLETE, sequence))
        if pending is None or pending.sequence != sequence:
            return
        vm = line.vm
        assert vm is not None
        vm.pending = None
        if pending.source is not None:
            pending.source.role, pending.source.due = "retired", self.now + RETIRED
        self.serve(vm, line)

    def complete_late(self, line: Line, sequence: bytes) -> None:
        line.host.feed(sub(COMPLETE, sequence))
        vm = line.vm
        assert vm is not None
        if sequence != line.sequence:
            return
        if vm.serving is None and vm.pending is None:
            self.serve(vm, line)
        else:
            self.let_go(line)

    @rule(line=lines, sequence=st.sampled_from([None, b"", b"wrong"]))
    def abort(self, line: Line, sequence: bytes | None) -> None:
        self.abort_on(line, sequence)

    def abort_on(self, line: Line, sequence: bytes | None) -> None:
        if line.role == "gone":
            return
        vm = line.vm
        pending = vm.pending if vm is not None else None
        if sequence is None:
            sequence = pending.sequence if pending is not None else b""
        line.host.feed(sub(ABORT, sequence))
        if vm is not None and pending is not None and pending.source is line and sequence in (b"", pending.sequence):
            vm.pending = None
            self.let_go(pending.destination)
            self.flow(vm)

    # The same, by somebody who knows what he does: chance alone seldom gets through a whole vMotion.

    def pending(self, arrived: bool | None = None, source: bool = False) -> list[Pending]:
        """The vMotions under way: with or without a destination, or all; only those whose source is still there."""
        found = [vm.pending for vm in self.vms if vm.pending is not None]
        found = [p for p in found if arrived is None or arrived == (p.destination is not None)]
        return [p for p in found if p.source is not None] if source else found

    @precondition(lambda self: any(vm.serving and not vm.pending for vm in self.vms))
    @rule(sequence=st.sampled_from(SEQUENCES), last=st.booleans())
    def begin_properly(self, sequence: bytes, last: bool) -> None:
        ready = [vm.serving for vm in self.vms if vm.serving is not None and not vm.pending]
        self.begin_on(ready[-last], sequence)

    @precondition(lambda self: self.pending(arrived=False))
    @rule(target=lines, last=st.booleans(), identity=st.booleans(), fresh=st.booleans())  # type: ignore[arg-type]  # a fake
    def peer_properly(self, last: bool, identity: bool, fresh: bool) -> object:
        pending = self.pending(arrived=False)[-last]
        (vm,) = [vm for vm in self.vms if vm.pending is pending]
        nobodies = [line for line in self.all if line.role == "nobody"]
        line = self.arrive_now() if fresh or not nobodies else nobodies[-1]
        which = len(self.made) - 1 - self.made.index(pending.pair[len(pending.sequence) :])
        self.show(line, which, False, "AB"[vm.index] if identity else "")
        return line if fresh or not nobodies else multiple()

    @precondition(lambda self: self.pending(arrived=True))
    @rule(last=st.booleans())
    def complete_properly(self, last: bool) -> None:
        destination = self.pending(arrived=True)[-last].destination
        assert destination is not None
        self.complete_on(destination, None)

    @precondition(lambda self: self.pending(source=True))
    @rule(last=st.booleans(), long=st.booleans())
    def abort_properly(self, last: bool, long: bool) -> None:
        source = self.pending(source=True)[-last].source
        assert source is not None
        self.abort_on(source, None if long else b"")

    @precondition(lambda self: self.pending(arrived=True, source=True))
    @rule(last=st.booleans(), broken=st.booleans())
    def the_source_closes_first(self, last: bool, broken: bool) -> None:
        source = self.pending(arrived=True, source=True)[-last].source
        assert source is not None
        self.close_it(source, broken)

    @precondition(lambda self: self.pending(arrived=True))
    @rule(last=st.booleans())
    def output_on_both_sides(self, last: bool) -> None:
        pending = self.pending(arrived=True)[-last]
        for line in (pending.destination, pending.source):
            if line is not None:
                self.output_on(line)

    @rule(vm=st.integers(0, 1), identity=st.booleans())
    def one_step_on(self, vm: int, identity: bool) -> None:
        """Whatever comes next where a vMotion goes well."""
        serving, pending = self.vms[vm].serving, self.vms[vm].pending
        if pending is None:
            if serving is not None:
                self.begin_on(serving, SEQUENCES[vm])
        elif pending.destination is not None:
            self.complete_on(pending.destination, None)
        elif not pending.arrived:
            which = len(self.made) - 1 - self.made.index(pending.pair[len(pending.sequence) :])
            self.show(self.arrive_now(), which, False, "AB"[vm] if identity else "")

    @precondition(lambda self: any(line.role == "overtaken" for line in self.all))
    @rule(alone=st.booleans())
    def the_overtaken_completes(self, alone: bool) -> None:
        line = next(line for line in self.all if line.role == "overtaken")
        assert line.vm is not None
        if alone and line.vm.serving is not None and line.vm.pending is None:
            self.close_it(line.vm.serving, broken=False)
        self.complete_on(line, None)

    @precondition(lambda self: self.pending())
    @rule(last=st.booleans(), much=st.booleans())
    def type_meanwhile(self, last: bool, much: bool) -> None:
        pending = self.pending()[-last]
        (vm,) = [vm for vm in self.vms if vm.pending is pending]
        self.type_some(vm, self.text("in") * (3000 if much else 1))

    @rule(line=lines)
    def output(self, line: Line) -> None:
        self.output_on(line)

    def output_on(self, line: Line) -> None:
        if line.role == "gone":
            return
        data = self.text("out")
        line.host.feed(doubled(data))
        if line.role in ("serving", "retired"):
            assert line.vm is not None
            line.vm.log += data
        else:
            line.early += data

    @rule(vm=st.integers(0, 1))
    def type(self, vm: int) -> None:
        self.type_some(self.vms[vm], self.text("in"))

    @rule(vm=st.integers(0, 1))
    def type_much(self, vm: int) -> None:
        self.type_some(self.vms[vm], self.text("in") * 3000)

    def type_some(self, vm: Vm, data: bytes) -> None:
        (console,) = [c for c in self.w.directory if c.uuid == self.uuids[vm.index]]
        taken = console.send(data)
        down = vm.serving is None and vm.pending is None
        full = vm.pending is not None and len(vm.held) + len(data) > INPUT_LIMIT
        if down or full:
            assert not taken
        else:
            assert taken
            vm.held += data
            self.flow(vm)

    @rule(line=consumes(lines), broken=st.booleans())
    def close(self, line: Line, broken: bool) -> None:
        self.close_it(line, broken)

    def close_it(self, line: Line, broken: bool) -> None:
        self.collect(line)
        if line.role == "gone":
            return
        line.host.die() if broken else line.host.lose()
        vm, role = line.vm, line.role
        line.role, line.vm = "gone", None
        if vm is None or role == "retired":
            return
        pending = vm.pending
        if role == "overtaken":
            return
        if role == "destination":
            assert pending is not None
            pending.destination = None
            pending.due = self.now + MIGRATION_TIMEOUT
            if pending.source is None:
                vm.pending = None
                vm.log += line.early  # all that there is of the VM
                self.go_down(vm)
        else:
            vm.serving = None
            if pending is None:
                self.go_down(vm)
            elif pending.arrived and pending.destination is None:
                vm.pending = None
                self.go_down(vm)
            else:
                pending.source = None
                if pending.destination is not None:
                    pending.due = self.now + MIGRATION_TIMEOUT

    @rule(seconds=st.sampled_from([0.5, 0.5, 1.0, 1.0, 4.0, 4.0, 11.0, 31.0, 61.0]))
    def time(self, seconds: float) -> None:
        self.pass_time(seconds)

    # What must hold.

    def collect(self, line: Line) -> None:
        line.sent += line.host.data()

    @invariant()
    def check(self) -> None:
        self.w.turn()
        for line in self.all:
            self.collect(line)
            assert line.sent == line.got, "input lost, doubled, out of order, or on the wrong connection"
            assert line.host.closed == (line.role == "gone")
        consoles = {c.uuid: c for c in self.w.directory}
        for vm in self.vms:
            if not vm.known:
                continue
            console = consoles[self.uuids[vm.index]]
            assert self.w.logged(console) == vm.log
            assert vm.viewer.seen == vm.log
            assert console.link is (vm.serving.host.protocol if vm.serving is not None else None)
            expected = "migrating" if vm.pending is not None else "up" if vm.serving is not None else "down"
            assert console.state == expected
            assert vm.viewer.held <= (len(vm.held) > 16 * 1024)
            if not vm.held:
                assert not vm.viewer.held
        links = [c.link for c in consoles.values() if c.link is not None]
        assert len(links) == len(set(links))
        serving = [line for line in self.all if line.role == "serving"]
        assert len(serving) == len(links)


@pytest.mark.slow  # its last assert needs all of the examples
def test_vmotion_does_what_the_model_says_whatever_happens() -> None:
    VMotion.completed = 0
    run_state_machine_as_test(
        VMotion,
        settings=examples(100, stateful_step_count=60, suppress_health_check=list(HealthCheck)),
    )
    if settings().max_examples >= 100:  # else it was about nothing; a few examples may be
        assert VMotion.completed > 2
