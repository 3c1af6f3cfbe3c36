"""A channel's bounds, both ways, with a connection that only notes what it is told."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmproxy.ssh.channel import WINDOW, FlowChannel
from vmproxy.ssh.connection import OperatorConnection
from vmproxy.ssh.share import Share


class FakeTransport:
    flowing = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.stop_after: int | None = None
        self.turns: list[Callable[[], None]] = []
        self.share = Share(self.turns.append)

    def sendPacket(self, number: int, payload: bytes) -> None:
        kind = {93: "adjust", 94: "data", 95: "err", 96: "eof", 97: "close", 98: "request"}[number]
        if kind in ("data", "err"):
            payload = payload[8 if kind == "data" else 12 :]
            if self.stop_after is not None:
                self.stop_after -= len(payload)
                if self.stop_after <= 0:
                    self.flowing = False
        self.sent.append((kind, payload))

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.sent]

    def data(self, kind: str = "data") -> bytes:
        return b"".join(payload for k, payload in self.sent if k == kind)


class NotingChannel(FlowChannel):
    drains = 0

    def drained(self) -> None:
        self.drains += 1


def channel_of(window: int = 1 << 20, packet: int = 1 << 15) -> tuple[NotingChannel, FakeTransport]:
    transport = FakeTransport()
    connection = OperatorConnection()
    connection.transport = transport  # type: ignore[assignment]  # replaced
    channel = NotingChannel(window, packet)
    channel.conn = connection
    channel.id = 7  # type: ignore[assignment]  # replaced
    connection.channels[7] = channel
    connection.channelsToRemoteChannel[channel] = 3
    connection.localToRemoteChannel[7] = 3
    return channel, transport


def test_data_goes_out_at_once_while_the_client_takes_it() -> None:
    channel, transport = channel_of()
    channel.send(b"one")
    channel.send_err(b"two")
    assert transport.sent == [("data", b"one"), ("err", b"two")]
    assert channel.queued == 0


def test_no_packet_is_larger_than_the_client_takes() -> None:
    channel, transport = channel_of(packet=100)
    channel.send(b"x" * 250)
    channel.send_err(b"y" * 101)
    assert [len(p) for _, p in transport.sent] == [100, 100, 50, 100, 1]


def test_what_exceeds_the_window_waits_for_it_and_keeps_its_order() -> None:
    channel, transport = channel_of(window=4)
    channel.send(b"abcdef")
    channel.send_err(b"gh")
    assert transport.sent == [("data", b"abcd")]
    assert channel.queued == 4
    channel.addWindowBytes(3)
    assert transport.sent[1:] == [("data", b"ef"), ("err", b"g")]
    channel.addWindowBytes(100)
    assert transport.sent[3:] == [("err", b"h")]
    assert channel.queued == 0


def test_nothing_is_handed_to_a_transport_that_does_not_flow() -> None:
    channel, transport = channel_of()
    transport.flowing = False
    channel.send(b"abc")
    channel.addWindowBytes(10)
    assert transport.sent == []
    assert channel.queued == 3
    assert channel.buf == b"", "conch's own buffer knows no bound"
    transport.flowing = True
    channel.pump()
    assert transport.data() == b"abc"


def test_a_transport_that_stops_in_the_middle_gets_no_packet_more() -> None:
    channel, transport = channel_of(packet=100)
    transport.stop_after = 150
    channel.send(b"x" * 1000)
    assert [len(p) for _, p in transport.sent] == [100, 100]
    assert channel.queued == 800


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("send"), st.integers(0, 300)),
            st.tuples(st.just("err"), st.integers(0, 300)),
            st.tuples(st.just("window"), st.integers(0, 200)),
            st.tuples(st.just("flow"), st.booleans()),
        )
    ),
    st.integers(0, 100),
    st.integers(1, 90),
)
def test_every_byte_comes_out_once_in_order_within_the_window(
    steps: list[tuple[str, int]], window: int, packet: int
) -> None:
    channel, transport = channel_of(window, packet)
    put: list[tuple[str, int]] = []
    granted = window
    counter = 0
    for what, size in steps:
        if what == "window":
            granted += size
            channel.addWindowBytes(size)
        elif what == "flow":
            transport.flowing = bool(size)
            channel.pump()
        else:
            data = bytes((counter + n) % 251 for n in range(size))
            counter += size
            put += [("data" if what == "send" else "err", byte) for byte in data]
            (channel.send if what == "send" else channel.send_err)(data)
        while transport.turns:
            transport.turns.pop()()
        sent = [(kind, byte) for kind, payload in transport.sent for byte in payload]
        assert sent == put[: len(sent)]
        assert len(sent) + channel.queued == len(put)
        assert len(sent) <= granted
        assert all(len(payload) <= packet for _, payload in transport.sent)
        if transport.flowing:
            assert len(sent) == min(granted, len(put)), "it waits though it could be sent"


def test_the_exit_status_comes_behind_all_output_and_before_the_close() -> None:
    channel, transport = channel_of(window=2)
    channel.send(b"abcd")
    channel.finish(3)
    assert transport.kinds() == ["data"]
    channel.addWindowBytes(2)
    assert transport.kinds() == ["data", "data", "request", "eof", "close"]
    assert transport.sent[2][1].endswith(b"\x00" + struct.pack(">L", 3))


def test_a_channel_without_a_status_says_none() -> None:
    channel, transport = channel_of()
    channel.finish()
    assert transport.kinds() == ["eof", "close"]


def test_only_the_first_end_counts() -> None:
    channel, transport = channel_of(window=0)
    channel.send(b"x")
    channel.finish(3)
    channel.finish(0)
    channel.send(b"more")
    channel.addWindowBytes(100)
    assert transport.data() == b"x"
    assert transport.kinds().count("close") == 1
    assert transport.sent[1][1].endswith(struct.pack(">L", 3))


def test_what_is_put_in_while_it_drains_is_still_sent_before_the_end() -> None:
    channel, transport = channel_of(window=1)
    channel.send(b"ab")

    def late() -> None:
        NotingChannel.drained(channel)
        if channel.drains == 1:
            channel.send_err(b"late")

    channel.drained = late
    channel.addWindowBytes(100)
    assert transport.sent[-1] == ("err", b"late")
    assert channel.drains >= 1


def test_closing_drops_what_waits() -> None:
    channel, transport = channel_of(window=0)
    channel.send(b"abc")
    channel.loseConnection()
    assert transport.kinds() == ["close"]
    assert channel.queued == 0
    channel.addWindowBytes(100)
    assert transport.kinds() == ["close"]


@pytest.mark.parametrize("end", ["drained", "closed"])
def test_who_waits_for_the_queue_learns_whether_it_was_sent(end: str) -> None:
    channel, _ = channel_of(window=0)
    channel.send(b"abc")
    told: list[bool] = []
    channel.when_drained().addCallback(told.append)
    assert told == []
    if end == "drained":
        channel.addWindowBytes(3)
    else:
        channel.closed()
    assert told == [end == "drained"]


def test_an_empty_queue_is_drained_already_and_a_closed_channel_never_is() -> None:
    channel, _ = channel_of()
    told: list[bool] = []
    channel.when_drained().addCallback(told.append)
    channel.finish(0)
    channel.when_drained().addCallback(told.append)
    assert told == [True, False]


def test_the_window_is_not_opened_again_while_input_is_held() -> None:
    channel, transport = channel_of()
    channel.hold(True)
    channel.localWindowLeft = 10
    channel.conn.adjustWindow(channel, WINDOW - 10)
    assert transport.sent == []
    channel.hold(False)
    assert transport.sent == [("adjust", struct.pack(">2L", 3, WINDOW - 10))]
    assert channel.localWindowLeft == WINDOW


def test_letting_go_of_input_that_was_never_short_says_nothing() -> None:
    channel, transport = channel_of()
    channel.hold(True)
    channel.hold(False)
    channel.hold(False)
    assert transport.sent == []


def test_the_window_of_a_closed_channel_stays_shut() -> None:
    channel, transport = channel_of()
    channel.hold(True)
    channel.localWindowLeft = 0
    channel.loseConnection()
    channel.hold(False)
    assert transport.kinds() == ["close"]
