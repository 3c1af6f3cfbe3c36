"""Serial data both ways: 8 bits wide, nothing mixed in, nothing lost; port control, breaks, back-pressure."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes import FakeViewer
from tests.support.properties import examples
from tests.support.vm import (
    BINARY,
    BRK,
    COM_PORT,
    DO,
    DO_PROXY,
    DONT,
    EXT,
    IAC,
    NAME,
    NEGOTIATION,
    SPELLED_A,
    UNKNOWN_2,
    VC_UUID,
    WILL,
    WONT,
    Host,
    VMWorld,
    com,
    doubled,
    session,
    sub,
    verb,
    world,
)
from vmproxy.console.notices import GuestBreak

ALL_BYTES = bytes(range(256))
AWKWARD = [b"\r\n", b"\r\0", b"\r", b"\n\r", b"\r\r\n", b"\0", b"\xff", b"\xff\xff", b"\xff\r\0\xff", b"\r\xff\0"]
INPUT_LIMIT = 1024 * 1024
INPUT_HIGH = 64 * 1024

# Data in which the troublesome bytes are frequent.
serial = st.lists(st.one_of(st.sampled_from(AWKWARD), st.binary(max_size=20)), max_size=20).map(b"".join)


# 8 bits.


@pytest.mark.parametrize("data", [ALL_BYTES, ALL_BYTES[::-1], *AWKWARD])
def test_under_binary_the_guests_bytes_arrive_as_they_are_at_any_cut(w: VMWorld, data: bytes) -> None:
    host, console = w.vm()
    seen = FakeViewer()
    console.viewers.attach(seen, write=False)
    wire = doubled(data)
    sofar = b""
    for cut in range(len(wire) + 1):
        host.feed(wire, (cut,))
        sofar += data
    assert seen.seen == sofar
    assert w.logged(console) == sofar


@pytest.mark.parametrize("data", [ALL_BYTES, ALL_BYTES[::-1], *AWKWARD])
def test_under_binary_the_operators_bytes_arrive_as_they_are_however_they_are_sent(w: VMWorld, data: bytes) -> None:
    host, console = w.vm()
    assert console.send(data)
    for byte in data:
        console.send(bytes((byte,)))
    sent = host.sent()
    assert sent == doubled(data) * 2


@given(pieces=st.lists(serial, max_size=8), cuts=st.lists(st.integers(0, 500), max_size=30))
@examples(80)
def test_any_data_with_commands_in_between_comes_out_whole_and_clean(pieces: list[bytes], cuts: list[int]) -> None:
    between = [sub(99), verb(DO, 24), com(5, b"\x05"), sub(NAME, b"\xff\r\0"), bytes((IAC, 241)), verb(WILL, BINARY)]
    with world() as w:
        host, console = w.vm()
        host.feed(verb(WILL, COM_PORT))
        wire = b"".join(doubled(p) + between[n % len(between)] for n, p in enumerate(pieces))
        host.feed(wire, cuts)
        assert w.logged(console) == b"".join(pieces)


@given(data=serial, cuts=st.lists(st.integers(0, 500), max_size=30))
@examples(80)
def test_without_binary_a_cr_nul_is_a_cr_at_any_cut(data: bytes, cuts: list[int]) -> None:
    # The host encodes as RFC 854 says: every CR that starts no CR LF is followed by NUL.
    encoded = bytearray()
    for byte, following in pairwise(data + b"\0"):
        encoded.append(byte)
        if byte == 13 and following != 10:
            encoded.append(0)
    if data.endswith(b"\r"):
        assert encoded.endswith(b"\r\0")
    with world() as w:
        host = w.connect().feed(verb(WILL, EXT) + sub(DO_PROXY, b"Svmproxy") + sub(VC_UUID, SPELLED_A))
        host.feed(doubled(bytes(encoded)), cuts)
        assert w.logged(w.console) == data


def test_without_binary_the_operators_lone_cr_goes_as_cr_nul(w: VMWorld) -> None:
    host = w.connect().feed(verb(WILL, EXT) + sub(DO_PROXY, b"Svmproxy") + sub(VC_UUID, SPELLED_A))
    host.sent()
    w.console.send(b"a\rb\r\nc\r")
    assert host.sent() == b"a\r\0b\r\nc\r\0"
    host.feed(verb(DO, BINARY))
    host.sent()
    w.console.send(b"a\rb\r\nc\r")
    assert host.sent() == b"a\rb\r\nc\r"
    host.feed(verb(DONT, BINARY))
    host.sent()
    w.console.send(b"\r")
    assert host.sent() == b"\r\0"


def test_binary_of_one_direction_says_nothing_of_the_other(w: VMWorld) -> None:
    host = w.connect().feed(verb(WILL, EXT) + verb(DO, BINARY) + sub(DO_PROXY, b"Svmproxy") + sub(VC_UUID, SPELLED_A))
    host.sent()
    w.console.send(b"\r")
    assert host.sent() == b"\r"
    host.feed(b"\r\0")
    assert w.logged(w.console) == b"\r"


def test_data_of_one_read_with_commands_reaches_the_viewer_before_what_follows_it(w: VMWorld) -> None:
    host, console = w.vm()
    seen = FakeViewer()
    console.viewers.attach(seen, write=False)
    host.feed(b"one" + verb(DO, 99) + b"two" + sub(98) + b"three\xff\xff")
    assert seen.seen == b"onetwothree\xff"
    assert host.tokens() == [("wont", 99), ("sub", EXT, bytes((UNKNOWN_2, 98)))]


# The stock class's pitfalls.


def test_an_empty_subnegotiation_does_no_harm(w: VMWorld, logged: list[str]) -> None:
    host, console = w.vm()
    host.feed(b"a" + bytes((255, 250, 255, 240)) + b"b" + bytes((255, 250, 232, 255, 240)) + b"c")
    assert w.logged(console) == b"abc"
    assert not host.closed


@pytest.mark.parametrize("code", [0, 1, 127, 236, 237, 238, 239, 240, 241, 242, 243, 244, 245, 246, 247, 248, 249])
def test_a_command_without_meaning_here_loses_no_data_of_the_same_read(w: VMWorld, code: int) -> None:
    host, console = w.vm()
    host.feed(b"before" + bytes((IAC, code)) + b"after")
    assert w.logged(console) == b"beforeafter"
    assert not host.closed


@pytest.mark.parametrize("option", [0, 1, 3, 37, 44, 232, 24, 200, 255])
def test_wont_and_dont_of_what_was_never_on_do_no_harm(w: VMWorld, option: int) -> None:
    host = w.connect().feed((verb(WONT, option) + verb(DONT, option)) * 2 + session() + b"data")
    assert w.logged(w.console) == b"data"
    assert not host.closed


@pytest.mark.parametrize("option", [0, 1, 3, 232])
def test_do_and_will_of_one_option_at_once_are_two_things(w: VMWorld, option: int) -> None:
    # The stock class raises AlreadyNegotiating when both sides of one option are under way.
    host = w.connect().feed(verb(DO, option) + verb(WILL, option) + verb(WILL, option) + verb(DO, option))
    assert not host.closed
    host.feed(session() + b"data")
    assert w.logged(w.console) == b"data"


def test_cr_lf_under_binary_is_untouched(w: VMWorld) -> None:
    host, console = w.vm()
    host.bytewise(b"\r\n\r\0\n\r").feed(b"\r\n\r\0\n\r")
    assert w.logged(console) == b"\r\n\r\0\n\r" * 2


# Port control.


@pytest.fixture
def port(w: VMWorld) -> Host:
    """A VM whose port control is on; what that made us send is gone."""
    host, _ = w.vm()
    host.feed(verb(WILL, COM_PORT) + com(7))
    host.sent()
    return host


def test_nothing_is_said_of_the_port_before_the_host_speaks_of_it_and_then_the_lines_are_up(w: VMWorld) -> None:
    host, _ = w.vm()
    host.feed(verb(WILL, COM_PORT) + b"data")
    assert host.tokens() == [("do", COM_PORT)]
    host.feed(com(1, bytes(4)))
    answer, state = host.subs(COM_PORT)
    assert (answer[0], state[0]) == (101, 107)
    assert state[1] & 0b1011_0000 == 0b1011_0000  # CD, DSR, CTS
    host.feed(com(1, bytes(4)))
    assert [s[0] for s in host.subs(COM_PORT)] == [101]


def test_a_host_that_wants_to_hear_nothing_of_the_lines_hears_nothing(w: VMWorld) -> None:
    host, _ = w.vm()
    host.feed(verb(WILL, COM_PORT) + com(11, b"\0"))
    assert [s[0] for s in host.subs(COM_PORT)] == [111]


def test_port_control_is_refused_where_it_is_configured_so() -> None:
    with world(com_port=False) as w:
        host, console = w.vm()
        host.feed(verb(WILL, COM_PORT) * 2 + com(1, bytes(4)) + com(8) + b"data")
        assert host.tokens() == [("dont", COM_PORT)]
        console.send(b"in")
        assert host.data() == b"in"
        assert w.logged(console) == b"data"


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (com(0), b"\x64vmproxy"),
        (com(1, bytes((0, 0, 0x25, 0x80))), b"\x65\0\0\x25\x80"),
        (com(1, bytes(4)), b"\x65\0\x01\xc2\0"),
        (com(1, b"\xff\xff\xff\xff"), b"\x65\xff\xff\xff\xff"),
        (com(2, b"\x07"), b"\x66\x07"),
        (com(2, b"\0"), b"\x66\x08"),
        (com(2, b"\x63"), b"\x66\x08"),
        (com(3, b"\x03"), b"\x67\x03"),
        (com(3, b"\0"), b"\x67\x01"),
        (com(4, b"\x02"), b"\x68\x02"),
        (com(4, b"\0"), b"\x68\x01"),
        (com(5, b"\x03"), b"\x69\x03"),
        (com(5, b"\0"), b"\x69\x01"),
        (com(5, b"\x04"), b"\x69\x06"),
        (com(5, b"\x05"), b"\x69\x05"),
        (com(5, b"\x07"), b"\x69\x08"),
        (com(5, b"\x09"), b"\x69\x09"),
        (com(5, b"\x0c"), b"\x69\x0c"),
        (com(10, b"\xff"), b"\x6e\xff"),
        (com(11, b"\x0f"), b"\x6f\x0f"),
        (com(12, b"\x03"), b"\x70\x03"),
    ],
)
def test_a_command_is_answered_with_the_value_in_force(port: Host, command: bytes, answer: bytes) -> None:
    port.feed(command)
    assert port.subs(COM_PORT) == [answer]


@pytest.mark.parametrize("command", [com(8), com(9), com(13), com(100), com(255), com(5, b"\x63"), com(5)])
def test_suspend_resume_and_what_is_unknown_get_no_answer(port: Host, command: bytes) -> None:
    # 108 and 109 from us would ask the VM to hold the guest's output.
    port.feed(command)
    assert port.sent() == b""


def test_the_settings_are_kept_for_people_to_read_also_when_the_vm_is_gone(w: VMWorld, port: Host) -> None:
    port.feed(com(1, bytes((0, 0, 0x25, 0x80))) + com(2, b"\x07") + com(3, b"\x03") + com(4, b"\x02"))
    assert w.console.settings.startswith("9600 7E2")
    port.lose()
    assert w.console.settings.startswith("9600 7E2")


def test_suspend_holds_what_is_for_the_vm_until_resume(w: VMWorld, port: Host) -> None:
    port.feed(com(8))
    assert w.console.send(b"he")
    assert w.console.send(b"ld")
    assert port.data() == b""
    port.feed(b"the other way goes on")
    assert w.logged(w.console) == b"the other way goes on"
    port.feed(com(9))
    assert port.data() == b"held"
    w.console.send(b" and on")
    assert port.data() == b" and on"


def test_suspend_again_and_resume_without_suspend_do_no_harm(w: VMWorld, port: Host) -> None:
    port.feed(com(9) + com(8) + com(8))
    w.console.send(b"x")
    assert port.data() == b""
    port.feed(com(9))
    assert port.data() == b"x"


def test_suspend_does_not_outlive_port_control(w: VMWorld, port: Host) -> None:
    # A guest that turns port control off (a reboot into other firmware) will never say RESUME.
    port.feed(com(8))
    w.console.send(b"held")
    port.feed(verb(WONT, COM_PORT))
    assert port.data() == b"held"


def test_commands_are_not_answered_after_port_control_was_turned_off(port: Host) -> None:
    port.feed(verb(WONT, COM_PORT))
    port.sent()
    port.feed(com(1, bytes(4)))
    assert port.sent() == b""


def test_port_control_that_comes_back_tells_the_lines_again(port: Host) -> None:
    # The VM's side of the port is a new one: without CTS it would wait for ever.
    port.feed(verb(WONT, COM_PORT) + verb(WILL, COM_PORT) + com(1, bytes(4)))
    assert [s[0] for s in port.subs(COM_PORT)] == [101, 107]


def test_suspend_and_a_full_transport_have_both_to_end(w: VMWorld, port: Host) -> None:
    port.feed(com(8))
    port.transport.producer.pauseProducing()
    w.console.send(b"x")
    port.feed(com(9))
    assert port.data() == b""
    port.transport.producer.resumeProducing()
    assert port.data() == b"x"


def test_a_break_from_the_guest_is_an_event_at_its_place_and_told(w: VMWorld, port: Host) -> None:
    viewer = FakeViewer()
    w.console.viewers.attach(viewer, write=False)
    port.feed(b"12345" + com(5, b"\x05") + b"6" + com(5, b"\x06") + b"7")
    assert [e["offset"] for e in w.trail(w.console, "guest-break")] == [5]
    assert viewer.told(GuestBreak) == [GuestBreak()]
    assert viewer.seen == b"1234567"


def test_a_break_to_the_guest_is_iac_brk(w: VMWorld, port: Host) -> None:
    assert w.console.send_break("alice@10.1.2.9")
    assert port.sent() == bytes((IAC, BRK))
    assert [e["who"] for e in w.trail(w.console, "break")] == ["alice@10.1.2.9"]


@pytest.mark.parametrize("how", ["suspend", "transport"])
def test_a_break_never_overtakes_the_input_before_it(w: VMWorld, port: Host, how: str) -> None:
    # Break and then a letter is SysRq to a Linux guest: a letter typed before the break must not become the command.
    if how == "suspend":
        port.feed(com(8))
    else:
        port.transport.producer.pauseProducing()
    assert w.console.send(b"foo")
    taken = w.console.send_break("alice@10.1.2.9")
    w.console.send(b"h")
    port.feed(com(9)) if how == "suspend" else port.transport.producer.resumeProducing()
    assert port.sent() == (b"foo\xff\xf3h" if taken else b"fooh")


@pytest.mark.parametrize("what", ["break", "nothing"])
def test_breaks_and_empty_input_that_are_held_are_bounded_too(
    w: VMWorld, port: Host, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    # A held-down key must not grow us while the VM takes nothing.
    monkeypatch.setattr("vmproxy.console.input_queue.INPUT_LIMIT", 100)
    port.feed(com(8))
    for _ in range(300):
        if what == "break":
            w.console.send_break("alice@10.1.2.9")
        else:
            w.console.send(b"")
    assert w.console.undelivered <= 100


# Back-pressure.


def test_what_a_vm_does_not_take_is_held_and_the_writer_told_to_stop_above_the_mark(w: VMWorld) -> None:
    host, console = w.vm()
    alice, bob = FakeViewer(), FakeViewer("bob@10.1.2.8")
    console.viewers.attach(alice, write=True)
    console.viewers.attach(bob, write=False)
    host.transport.producer.pauseProducing()
    console.send(b"x" * INPUT_HIGH)
    assert not alice.held
    console.send(b"y")
    assert (alice.held, bob.held) == (True, False)
    host.transport.producer.resumeProducing()
    assert not alice.held
    assert host.data() == b"x" * INPUT_HIGH + b"y"


def test_what_is_held_for_a_vm_is_bounded_and_refused_beyond(w: VMWorld) -> None:
    host, console = w.vm()
    host.transport.producer.pauseProducing()
    piece = b"z" * 60_000
    taken = 0
    for _ in range(100):
        if not console.send(piece):
            break
        taken += len(piece)
    else:
        pytest.fail("it takes everything")
    assert taken <= INPUT_LIMIT
    assert host.transport.value() == b""
    host.transport.producer.resumeProducing()
    assert host.data() == b"z" * taken


def test_a_transport_that_fills_up_again_at_once_gets_no_more_than_one_piece(w: VMWorld) -> None:
    host, console = w.vm()
    producer = host.transport.producer
    producer.pauseProducing()
    for n in range(5):
        console.send(bytes((65 + n,)))
    write = host.transport.write

    def full(data: bytes) -> None:
        write(data)
        producer.pauseProducing()

    host.transport.write = full
    got = b""
    for _ in range(5):
        producer.resumeProducing()
        got += host.sent()
        assert len(got) in range(1, 6)
    assert got == b"ABCDE"


def test_the_pen_that_changes_hands_takes_the_pressure_along(w: VMWorld) -> None:
    host, console = w.vm()
    alice, bob = FakeViewer(), FakeViewer("bob@10.1.2.8")
    console.viewers.attach(alice, write=True)
    host.transport.producer.pauseProducing()
    console.send(b"x" * (INPUT_HIGH + 1))
    console.viewers.attach(bob, write=True, force=True)
    assert (alice.held, bob.held) == (False, True)
    console.viewers.detach(bob)
    assert (alice.held, bob.held) == (True, False)
    host.transport.producer.resumeProducing()
    assert not alice.held


def test_a_log_that_is_behind_holds_the_vm_and_only_while_it_is(w: VMWorld) -> None:
    host, console = w.vm()
    console.log_congested(True)
    assert host.paused
    console.log_congested(False)
    assert not host.paused
    # A connection that takes over meanwhile is held as well.
    console.log_congested(True)
    other = w.connect("10.0.0.2").feed(NEGOTIATION + session())
    assert (console.link, other.paused) == (other.protocol, True)


def test_input_that_cannot_be_delivered_any_more_is_told_and_not_kept_for_the_next_time(w: VMWorld) -> None:
    host, console = w.vm()
    alice = FakeViewer()
    console.viewers.attach(alice, write=True)
    host.transport.producer.pauseProducing()
    console.send(b"x" * (INPUT_HIGH + 1))
    host.die()
    assert [e["bytes"] for e in w.trail(console, "input-lost")] == [INPUT_HIGH + 1]
    assert not alice.held
    assert not console.send(b"more")
    again, _ = w.vm()
    assert again.sent() == b""
