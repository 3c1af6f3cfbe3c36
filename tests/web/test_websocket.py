"""Websockets: messages whole however the stream is cut, bounds, back-pressure both ways, and how they end."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from wsproto.events import CloseConnection, Ping, Pong
from wsproto.frame_protocol import FrameDecoder, FrameProtocol

from tests.support.fakes import Logged
from tests.support.properties import examples
from tests.support.websocket import Client, Heard, SocketTransport, sockets
from vmproxy.web.websocket import BadHandshake, WebSocket, WebSockets, accept
from vmproxy.web.websocket_frames import MESSAGE_LIMIT, Binary, Broken, Close, MessageReader, Text, text_frame

HEADERS = {
    "upgrade": "websocket",
    "connection": "keep-alive, Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-protocol": "other, vmproxy.v1",
}


def masked(opcode: int, payload: bytes, fin: bool = True, mask: bytes = b"\1\2\3\4", size: int | None = None) -> bytes:
    """A client's frame; ``size``: another than it has."""
    size = len(payload) if size is None else size
    head = bytes((opcode | (0x80 if fin else 0),))
    if size < 126:
        head += bytes((0x80 | size,))
    else:
        head += (b"\xfe" + pack("!H", size)) if size < 65536 else (b"\xff" + pack("!Q", size))
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def events(*pieces: bytes) -> list[object]:
    reader = MessageReader()
    found: list[object] = []
    for piece in pieces:
        reader.feed(piece)
        while (event := reader.next()) is not None:
            found.append(event)
    return found


class Setting:
    def __init__(self, early: bytes = b"") -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.sockets: WebSockets = sockets(self.clock)
        self.heard = Heard()
        self.client = Client(self.heard, self.sockets, early)

    def lose(self) -> None:
        self.client.socket.connectionLost(Failure(ConnectionLost()))


@pytest.fixture
def s() -> Setting:
    return Setting()


def test_the_answer_to_a_handshake_is_that_of_the_standard() -> None:
    answer = accept(HEADERS, "vmproxy.v1")
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nSec-WebSocket-Protocol: vmproxy.v1\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("header", "value", "upgrade"),
    [
        ("upgrade", "h2c", True),
        ("connection", "close", True),
        ("sec-websocket-version", "8", True),
        ("sec-websocket-key", "short", False),
        ("sec-websocket-key", "!" * 24, False),
        ("sec-websocket-protocol", "vmproxy.v2", False),
    ],
)
def test_other_requests_are_refused(header: str, value: str, upgrade: bool) -> None:
    with pytest.raises(BadHandshake) as refused:
        accept({**HEADERS, header: value}, "vmproxy.v1")
    assert refused.value.upgrade is upgrade


FRAMES = st.one_of(
    st.builds(
        masked, st.sampled_from((0, 1, 2)), st.binary(max_size=200), st.booleans(), st.binary(min_size=4, max_size=4)
    ),
    st.builds(masked, st.just(2), st.just(b"x" * 70_000), st.booleans()),
    st.builds(masked, st.sampled_from((8, 9, 10)), st.binary(max_size=130)),
    st.builds(lambda text: masked(1, text.encode()), st.text(max_size=40)),
    st.binary(max_size=30),
)


@given(st.lists(FRAMES, max_size=6), st.data())
@examples(200)
def test_every_cut_of_a_stream_gives_the_same(frames: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = events(stream)
    assert events(*pieces) == events(*(masked(10, b""), *pieces))[1:] == whole
    assert all(len(event.data) <= MESSAGE_LIMIT for event in whole if isinstance(event, Binary))
    if len(stream) < 500:
        assert events(*(stream[at : at + 1] for at in range(len(stream)))) == whole


def test_a_message_in_pieces_is_one_with_control_frames_in_between() -> None:
    parts = (
        masked(1, "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}"[:2].encode(), fin=False),
        masked(9, b"?"),
        masked(0, b"\xc3", False),
    )
    found = events(*parts, masked(0, b"\xbc\xc3\x9f"))
    assert found[-1] == Text("gr\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{LATIN SMALL LETTER SHARP S}")


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (masked(2, b"", size=MESSAGE_LIMIT + 1), 1009),  # before it has come
        (masked(2, b"", size=2**62), 1009),
        (masked(2, b"x" * MESSAGE_LIMIT, fin=False) + masked(0, b"x"), 1009),
        (masked(1, b"\xff"), 1007),
        (masked(0, b"x"), 1002),
        (masked(1, b"x", fin=False) + masked(1, b"y"), 1002),
        (masked(3, b"x"), 1002),
        (text_frame("not masked"), 1002),
        (masked(9, b"x" * 126), 1002),
        (masked(9, b"x", fin=False), 1002),
        (masked(8, b"x"), 1002),
        (masked(8, pack("!H", 1005)), 1002),
        (masked(8, pack("!H", 999)), 1002),
        (bytes((0xC1, 0x80)), 1002),  # compressed
    ],
)
def test_who_breaks_the_protocol_is_told_so_and_no_more_is_heard(s: Setting, stream: bytes, code: int) -> None:
    s.client.raw(stream + masked(2, b"more"))
    assert s.heard.said == []
    assert s.client.close is not None
    assert s.client.close[0] == code
    assert s.heard.over is not None
    assert s.heard.over[0] == code


def test_a_message_of_64_kib_is_taken(s: Setting) -> None:
    s.client.raw(masked(2, b"x" * 40_000, fin=False) + masked(0, b"y" * (MESSAGE_LIMIT - 40_000)))
    assert s.heard.said == [b"x" * 40_000 + b"y" * (MESSAGE_LIMIT - 40_000)]


def test_bytes_behind_the_handshake_count() -> None:
    s = Setting(masked(1, b"early"))
    assert s.heard.said == ["early"]


def test_frames_are_those_of_wsproto() -> None:
    for size in (0, 125, 126, 65535, 65536):
        assert text_frame("x" * size) == FrameProtocol(client=False, extensions=[]).send_data("x" * size)


def test_what_the_socket_does_not_take_waits_and_goes_on_in_order(s: Setting) -> None:
    s.client.full()
    for number in range(5):
        s.client.socket.send_text(str(number))
    assert s.client.got == []
    assert s.client.socket.queued > 0
    s.client.full(False)
    assert s.client.got == [0, 1, 2, 3, 4]
    assert (s.client.socket.queued, s.heard.drains) == (0, 1)


def test_who_never_reads_is_disconnected_before_much_waits(s: Setting) -> None:
    s.client.full()
    frame = text_frame("x" * 60_000)
    for _ in range(40):
        s.client.socket.send(frame)
    assert s.client.transport.aborted
    assert s.heard.over is not None
    assert s.heard.over[0] == 4408
    assert s.client.socket.queued <= 1024 * 1024


def test_while_held_what_comes_stays_in_the_socket(s: Setting) -> None:
    s.client.socket.hold(True)
    assert s.client.transport.producerState == "paused"
    s.client.raw(masked(2, b"under way"))
    assert s.heard.said == []
    s.client.socket.hold(False)
    assert s.heard.said == [b"under way"]
    assert s.client.transport.producerState == "producing"


def test_what_takes_long_is_done_in_turns(s: Setting) -> None:
    class Slow(Heard):
        def binary(self, data: bytes) -> None:
            super().binary(data)
            s.clock.rightNow += 0.003  # each takes so long

    heard = Slow()
    client = Client(heard, s.sockets)
    client.raw(masked(2, b"x") * 20)
    assert len(heard.said) < 5
    assert client.transport.producerState == "paused"
    for _ in range(40):
        s.clock.advance(0)
    assert len(heard.said) == 20
    assert client.transport.producerState == "producing"


def test_a_message_in_many_pieces_is_put_together_in_turns(s: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    process = FrameDecoder.process_buffer
    frames = 0

    def slow(decoder: FrameDecoder) -> object:
        nonlocal frames
        frames += 1
        s.clock.rightNow += 0.001  # each takes so long
        return process(decoder)

    monkeypatch.setattr(FrameDecoder, "process_buffer", slow)
    s.client.raw(masked(1, b"a", fin=False) + masked(0, b"", fin=False) * 200 + masked(0, b"b"))
    assert frames < 20
    assert s.client.transport.producerState == "paused"
    for _ in range(100):
        s.clock.advance(0)
    assert s.heard.said == ["ab"]


def test_pings_are_answered_only_while_the_socket_takes_it(s: Setting) -> None:
    s.client.raw(masked(9, b"there?"))
    assert s.client.got == [Pong(payload=b"there?")]
    s.client.full()
    s.client.raw(masked(9, b"x" * 125) * 10_000)
    assert s.client.socket.queued == 0


def test_a_client_that_answers_is_asked_for_ever(s: Setting) -> None:
    for number in range(10):
        s.clock.advance(25)
        s.client.read()
        if number == 5:
            s.client.socket.send_text('"something"')
    assert s.heard.over is None
    told = ["ping" if isinstance(event, Ping) else event for event in s.client.got]
    # The first time it has just been opened.
    assert told == ["ping", *["beat", "ping"] * 5, "something", "ping", *["beat", "ping"] * 3]


def test_three_pings_without_an_answer_end_it(s: Setting) -> None:
    s.client.answers = False
    for _ in range(4):
        assert s.heard.over is None
        s.clock.advance(25)
        s.client.read()
    assert s.heard.over == (4408, "no answer")
    assert not s.client.transport.aborted
    s.clock.advance(2)
    assert s.client.transport.aborted


def test_a_client_whose_answers_are_not_read_is_not_asked(s: Setting) -> None:
    s.client.socket.hold(True)
    for _ in range(8):
        s.clock.advance(25)
    assert s.heard.over is None


def test_fifty_text_messages_a_second_are_the_most(s: Setting) -> None:
    for _ in range(3):
        s.client.raw(masked(1, b"x") * 50)
        s.clock.advance(1)
    assert s.heard.over is None
    s.client.raw(masked(1, b"x") * 51)
    assert s.client.close is not None
    assert s.client.close[0] == 1008
    assert len(s.heard.said) == 200


def test_a_close_of_the_client_is_answered_and_the_connection_closed(s: Setting) -> None:
    s.client.full()
    s.client.socket.send_text("1")
    s.client.leave()
    assert s.heard.over == (1000, "")
    assert s.client.close == (1000, "")
    assert s.client.transport.disconnecting
    s.client.raw(masked(2, b"more"))
    s.client.socket.send_text("2")
    s.lose()
    assert s.heard.said == []
    assert s.sockets.closed == {("test", 1000): 1}
    assert not s.sockets.all


def test_a_client_that_does_not_take_the_end_is_cut_off(s: Setting) -> None:
    s.client.leave()
    s.clock.advance(2)
    assert s.client.transport.aborted


def test_behind_a_close_of_the_server_nothing_is_looked_at(s: Setting) -> None:
    s.client.socket.send_text("1")
    s.client.socket.close(4407, "sent off by carol: " + "x" * 200)
    assert s.heard.over is not None
    s.client.raw(masked(2, b"more") + masked(1, b"\xff"[:0]) + masked(9, b""))
    assert s.heard.said == []
    assert [type(event) for event in s.client.got] == [int, CloseConnection]
    assert not s.client.transport.disconnecting
    s.client.raw(masked(8, pack("!H", 4407)))
    assert s.client.transport.disconnecting
    s.clock.advance(1)
    s.lose()
    s.clock.advance(5)
    assert not s.client.transport.aborted
    assert s.clock.getDelayedCalls() == []


def test_who_goes_on_talking_behind_a_close_is_cut_off(s: Setting) -> None:
    s.client.socket.close(1001)
    for _ in range(30):
        s.client.raw(masked(2, b"x" * 10_000))
    assert s.client.transport.aborted


def test_a_lost_connection_is_the_end(s: Setting) -> None:
    s.client.socket.hold(True)
    s.lose()
    assert s.heard.over == (1006, "")
    s.clock.advance(0)
    assert s.clock.getDelayedCalls() == []


def test_of_hundreds_that_are_lost_at_once_the_ends_are_told_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    together = sockets(clock)
    heard = [Heard() for _ in range(100)]
    clients = [Client(one, together) for one in heard]

    def closed(listener: Heard, code: int, reason: str) -> None:
        clock.rightNow += 0.001  # each takes so long
        listener.over = code, reason

    monkeypatch.setattr(Heard, "closed", closed)
    for client in clients:
        client.socket.connectionLost(Failure(ConnectionLost()))
    assert 0 < sum(one.over is not None for one in heard) < 12
    for client in clients:
        client.socket.send_text("1")  # it goes nowhere
    clock.pump([0.0] * 100)
    assert [one.over for one in heard] == [(1006, "")] * 100
    assert not together.all
    assert together.closed == {("test", 1006): 100}


def test_a_fault_of_the_listener_ends_its_socket_alone(s: Setting, logged: Logged) -> None:
    class Faulty(Heard):
        def text(self, text: str) -> None:
            raise RuntimeError("a fault")

    heard = Faulty()
    client = Client(heard, s.sockets)
    client.raw(masked(1, b"x"))
    assert heard.over is not None
    assert heard.over[0] == 1011
    assert s.heard.over is None
    assert len(logged.tracebacks) == 1


def test_the_end_of_the_server_closes_all(s: Setting) -> None:
    s.sockets.stop()
    assert s.client.close == (1001, "the server stops")


def test_a_login_that_has_ended_ends_its_websockets(s: Setting) -> None:
    logins = {"alice": True, "bob": True}
    heard = {name: Heard() for name in logins}
    for name in logins:
        socket = WebSocket(heard[name], s.sockets, name, may_stay=lambda name=name: logins[name])
        socket.makeConnection(SocketTransport())
    logins["alice"] = False
    s.sockets.see_logins()
    assert heard["alice"].over == (4401, "the login has ended")
    assert heard["bob"].over is None
    logins["bob"] = False
    s.clock.advance(25)
    assert heard["bob"].over == (4401, "the login has ended")


def test_idle_websockets_share_their_timers(s: Setting) -> None:
    for _ in range(50):
        Client(Heard(), s.sockets)
    assert len(s.clock.getDelayedCalls()) == 1


def test_reserved_codes_of_a_peer_are_no_codes() -> None:
    assert events(masked(8, b"")) == [Close(1005, "")]
    assert events(masked(8, pack("!H", 4407) + b"why")) == [Close(4407, "why")]
    assert isinstance(events(masked(8, pack("!H", 2000)))[0], Broken)
