"""Whatever arrives, dataReceived does not raise; whoever looks on, the VM goes on."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.support.fakes import VM_B, FakeViewer
from tests.support.properties import examples
from tests.support.scripts import SEQUENCE, SESSIONS
from tests.support.vm import (
    ABORT,
    BEGIN,
    COM_PORT,
    COMPLETE,
    DO_PROXY,
    EXT,
    IAC,
    NAME,
    PEER,
    SB,
    SE,
    SPELLED_A,
    SPELLED_B,
    VC_UUID,
    WILL,
    Host,
    VMWorld,
    com,
    parse,
    session,
    sub,
    verb,
    world,
)
from vmproxy.console.notices import Demoted, Notice

# What a fuzzer likes best: whole pieces of the protocol, and pieces of pieces.
PIECES = [
    session(),
    session(SPELLED_B, b"vmproxy?port=2", b"\xff\xff"),
    *(sub(code, b"x") for code in range(90)),
    sub(VC_UUID, SPELLED_A),
    sub(VC_UUID, SPELLED_B),
    sub(NAME, b"\x1b]0;\x07\n/../"),
    sub(BEGIN, SEQUENCE),
    sub(PEER, SEQUENCE + b"secret-0"),
    sub(COMPLETE, SEQUENCE),
    sub(ABORT),
    sub(DO_PROXY, b"Svmproxy"),
    verb(WILL, COM_PORT),
    *(com(command, value) for command in range(15) for value in (b"", b"\x05", bytes(4))),
    bytes((IAC, SB)),
    bytes((IAC, SB, EXT)),
    bytes((IAC, SB, COM_PORT)),
    bytes((IAC, SE)),
    bytes((IAC,)),
    bytes((IAC, SB, IAC, SE)),
    *(bytes((IAC, code)) for code in range(256)),
    b"\r\n\r\0\r",
    b"x" * 5000,
]
junk = st.lists(st.one_of(st.binary(max_size=30), st.sampled_from(PIECES)), max_size=25).map(b"".join)
REAL = [data for script in SESSIONS.values() for _, data in script if data]


def still_well(w: VMWorld) -> None:
    """Whatever a connection said, others are served, and what was sent is Telnet."""
    for host in list(w.front.connections):
        parse(host.transport.value())  # type: ignore[attr-defined]  # a HostTransport
    good = w.connect("10.7.7.7").feed(session(VM_B.hex.encode(), b"vmproxy?port=well") + b"well")
    (console,) = [c for c in w.directory if c.port == "well"]
    assert console.link is good.protocol
    assert w.logged(console) == b"well"
    w.clock.advance(1000)
    w.turn()
    assert w.delayed() == []
    assert all(link is None or link in w.front.connections for link in (c.link for c in w.directory))


@given(data=junk, cuts=st.lists(st.integers(0, 3000), max_size=20))
@examples(200, suppress_health_check=[HealthCheck.too_slow])
def test_random_bytes_and_pieces_of_the_protocol_never_raise(data: bytes, cuts: list[int]) -> None:
    with world(secrets=(b"secret-%d" % n for n in range(10_000))) as w:
        w.connect().feed(data, cuts)
        still_well(w)


@given(data=junk, cuts=st.lists(st.integers(0, 3000), max_size=20))
@examples(100, suppress_health_check=[HealthCheck.too_slow])
def test_random_bytes_on_a_connection_in_service_never_raise(data: bytes, cuts: list[int]) -> None:
    with world(secrets=(b"secret-%d" % n for n in range(10_000))) as w:
        host, console = w.vm()
        viewer = FakeViewer()
        console.viewers.attach(viewer, write=True)
        console.send(b"typed")
        host.feed(data, cuts)
        console.send(b"typed")
        assert w.logged(console).startswith(viewer.seen)
        still_well(w)


@given(
    base=st.sampled_from(REAL),
    changes=st.lists(st.tuples(st.integers(0, 400), st.sampled_from("frdi"), st.integers(0, 255)), max_size=6),
    cuts=st.lists(st.integers(0, 600), max_size=10),
)
@examples(250, suppress_health_check=[HealthCheck.too_slow])
def test_mutated_real_sessions_never_raise(base: bytes, changes: list[tuple[int, str, int]], cuts: list[int]) -> None:
    data = bytearray(base)
    for where, how, value in changes:
        at = where % max(1, len(data))
        if how == "f" and data:
            data[at] ^= 1 << value % 8
        elif how == "r" and data:
            data[at] = value
        elif how == "d":
            del data[at : at + value % 5]
        else:
            data[at:at] = bytes((value, IAC))[: 1 + value % 2]
    with world(secrets=(b"secret-%d" % n for n in range(100))) as w:
        w.connect().feed(bytes(data), cuts)
        still_well(w)


@pytest.mark.slow
@pytest.mark.parametrize("name", SESSIONS)
def test_a_real_session_that_ends_anywhere_leaves_nothing_behind(name: str) -> None:
    for who, data in SESSIONS[name]:
        if who == "operator" or data is None:
            continue
        for end in range(0, len(data), 3):
            with world(secrets=(b"secret-%d" % n for n in range(10))) as w:
                host = w.connect().feed(data[:end])
                host.die()
                w.clock.advance(1000)
                assert w.delayed() == []
                assert len(w.front.connections) == 0


@pytest.mark.parametrize("seed", range(5))
def test_many_connections_that_say_anything_at_all(seed: int) -> None:
    # Random, but with the pairs that are really pending, so that the odd paths through a vMotion are taken.
    random = Random(seed)
    made: list[bytes] = []

    def secrets() -> Iterator[bytes]:
        while True:
            made.append(b"secret-%d" % len(made))
            yield made[-1]

    with world(secrets=secrets()) as w:
        hosts: list[Host] = []
        for _ in range(1500):
            if not hosts or random.random() < 0.15:
                hosts.append(w.connect(f"10.0.{random.randrange(3)}.{random.randrange(9)}"))
                if random.random() < 0.3:
                    hosts[-1].feed(random.choice(PIECES[:2]))
            host = random.choice(hosts)
            what = random.random()
            if host.closed:
                hosts.remove(host)
            elif what < 0.02:
                host.die()
                hosts.remove(host)
            elif what < 0.1:
                w.clock.advance(random.random() * 5)
            elif what < 0.3:
                for secret in made[-3:]:
                    host.feed(sub(PEER, SEQUENCE + secret))
            elif what < 0.6:
                host.feed(sub(random.choice([BEGIN, COMPLETE]), SEQUENCE))
            elif what < 0.65:
                host.feed(sub(ABORT))
            elif what < 0.8 and w.directory:
                random.choice(list(w.directory)).send(b"typed")
            else:
                host.feed(random.choice(PIECES))
            links = [c.link for c in w.directory if c.link is not None]
            assert len(links) == len(set(links))
        # The odd paths were taken: else this shows nothing.
        assert w.migrations.completed + w.migrations.aborted > 2
        still_well(w)


# Viewers that fail.


class Broken(FakeViewer):
    """A viewer of which some part raises."""

    def __init__(self, *parts: str) -> None:
        super().__init__("mallory@10.6.6.6")
        self.parts = parts

    def output(self, data: bytes) -> None:
        if "output" in self.parts:
            raise RuntimeError("output")
        super().output(data)

    def notice(self, notice: Notice) -> None:
        if "notice" in self.parts:
            raise RuntimeError("notice")
        super().notice(notice)

    def hold_input(self, on: bool) -> None:
        if "hold_input" in self.parts and self.seen:
            raise RuntimeError("hold_input")
        super().hold_input(on)


@pytest.mark.parametrize("parts", [("output",), ("notice",), ("output", "notice"), ("output", "notice", "hold_input")])
def test_a_viewer_that_fails_is_taken_off_and_the_vm_its_log_and_the_others_go_on(
    w: VMWorld, parts: tuple[str, ...]
) -> None:
    host, console = w.vm()
    host.feed(verb(WILL, COM_PORT))
    broken, alice = Broken(*parts), FakeViewer()
    broken.seen = b"armed"
    console.viewers.all = (broken, alice)
    console.write_access.take(broken)
    console.write_access.take(alice)
    host.feed(b"one " + com(5, b"\x05") + b"two")
    assert console.viewers.all == (alice,)
    assert console.write_access.writer is alice
    assert alice.seen == w.logged(console) == b"one two"


def test_a_viewer_that_fails_to_go_on_does_not_stop_a_vmotion(w: VMWorld) -> None:
    # The pressure on the operator ends with the COMPLETE: what a viewer does then must not raise into the host's
    # connection, which Twisted would close for it.
    source, console = w.vm()
    broken = Broken("hold_input")
    console.viewers.attach(broken, write=True)
    pair = source.begin()
    console.send(b"x" * 100_000)
    broken.seen = b"armed"
    destination = w.destination(pair)
    destination.feed(sub(COMPLETE, b"\x01\x02\x03\x04") + b"on")
    assert console.link is destination.protocol
    assert w.logged(console) == b"on"


def test_a_viewer_that_fails_at_losing_the_pen_does_not_keep_it(w: VMWorld) -> None:
    _, console = w.vm()
    broken, alice = Broken("notice"), FakeViewer()
    console.viewers.attach(broken, write=True)
    assert console.viewers.attach(alice, write=True, force=True)
    assert console.write_access.writer is alice
    assert alice.told(Demoted) == []


def test_no_connection_is_taken_while_the_process_is_being_stopped(w: VMWorld) -> None:
    address = w.connect().transport.peerAddr
    w.front.stop()
    assert w.factory.buildProtocol(address) is None
