"""``telnets://``: TLS from the first byte, byte for byte, with OpenSSL as the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from tests.support.fakes import Logged
from tests.support.properties import examples
from tests.support.tls import RawRecords, TLSHost, WaitingTransport, client_context, use_tls, write_pem, write_signed
from tests.support.vm import (
    AUTHENTICATION,
    BEGIN,
    BINARY,
    CAPTURED_LIST,
    COMPLETE,
    DONT,
    GOAHEAD,
    KNOWN_1,
    NEGOTIATION,
    PEER,
    PEER_OK,
    SPELLED_A,
    VC_UUID,
    WILL,
    VMWorld,
    session,
    sub,
    verb,
    world,
)
from vmproxy.base import memory
from vmproxy.base.turns import SPAN
from vmproxy.vm.certificates import names
from vmproxy.vm.openssl import MESSAGES
from vmproxy.vm.sockets import unread
from vmproxy.vm.telnet import HostTelnet
from vmproxy.vm.tls import CLOSING_SECONDS, FEW_RECORDS, SMALL_READ, Layer

SEQUENCE = b"\x01\x02\x03\x04"


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pems")
    write_pem(folder / "one.pem", "one.example.com")
    write_pem(folder / "two.pem", "two.example.com", "*.lab.example.com")
    write_signed(folder / "ca.crt", "VMCA")
    write_signed(folder / "esx.pem", "esx1.example.com", folder / "ca.crt")
    write_signed(folder / "other.crt", "VMCA")
    write_signed(folder / "stranger.pem", "esx1.example.com", folder / "other.crt")
    return folder


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The certificates of five hundred authorities."""
    file = tmp_path_factory.mktemp("many") / "one.crt"
    return b"".join(write_signed(file, f"{n:03d} " + 60 * "a").read_bytes() for n in range(500))


@pytest.fixture(scope="module")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pem(tmp_path_factory.mktemp("rsa") / "rsa.pem", "vmproxy", kind="rsa")


@pytest.fixture
def tls(w: VMWorld, pems: Path) -> VMWorld:
    """A concentrator with a certificate."""
    use_tls(w, pems / "one.pem")
    return w


def layer_of(host: TLSHost) -> Layer:
    layer = host.transport.protocol
    assert isinstance(layer, Layer)
    return layer


def destination(w: VMWorld, pair: bytes) -> TLSHost:
    host = TLSHost(w, "10.0.0.2")
    host.feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(PEER, pair))
    assert PEER_OK in [s[0] for s in host.subs()]
    return host


def test_a_vm_is_served(tls: VMWorld) -> None:
    host = TLSHost(tls).feed(session()).feed(b"login: \xff\xff")
    console = tls.console
    assert (console.state, console.link, tls.logged(console)) == ("up", host.protocol, b"login: \xff")
    host.sent()
    console.send(b"root\r")
    assert host.data() == b"root\r"
    assert host.protocol.encrypted
    assert tls.front.counters["connections by TLSv1.3"] == 1


def test_a_trace_shows_what_travels_in_it(tls: VMWorld) -> None:
    told: list[str] = []
    tls.front.trace(told.append, ["10.0.0.1"])
    TLSHost(tls).feed(session() + b"secret")
    assert '< 70 DO-PROXY "Svmproxy"' in "\n".join(told)
    assert any(line.endswith("> 71 WILL-PROXY") for line in told)
    tls.front.trace(told.append, console=tls.console)
    TLSHost(tls, "10.0.0.2").feed(session())
    assert [line for line in told if line.startswith("10.0.0.2") and "> WILL BINARY" in line]
    assert [line for line in told if line.startswith("10.0.0.2") and "< 80 VM-VC-UUID" in line]


def test_however_the_bytes_are_cut(tls: VMWorld) -> None:
    host = TLSHost(tls, shake=False)
    host.shake(bytewise=True)
    data = session() + b"one\r\ntwo\r\n"
    host.feed(data, range(len(data) + 100))
    assert tls.logged(tls.console) == b"one\r\ntwo\r\n"


def test_what_does_not_begin_with_tls_is_not_believed(tls: VMWorld, logged: list[str]) -> None:
    host = TLSHost(tls, shake=False)
    host.wire(session())
    assert host.closed
    assert len(tls.directory) == 0
    assert not tls.front.connections
    assert any("TLS failed: " in line for line in logged)


def test_no_switch_is_offered_where_it_is_tls_already(tls: VMWorld) -> None:
    host = TLSHost(tls)
    host.sent()
    host.feed(verb(WILL, AUTHENTICATION))
    assert host.sent() == verb(DONT, AUTHENTICATION)


@pytest.mark.parametrize("half", [False, True])
def test_a_handshake_has_a_deadline(tls: VMWorld, logged: list[str], half: bool) -> None:
    host = TLSHost(tls, shake=False)
    if half:
        with pytest.raises(SSL.WantReadError):
            host.tls.do_handshake()
        host.wire(host.outgoing())
    tls.clock.advance(19.9)
    assert not host.closed
    tls.clock.advance(0.2)
    assert host.closed
    tls.turn()
    assert not tls.front.connections
    assert any("the TLS handshake was not completed in time" in line for line in logged)
    assert not tls.front.handshakes


@pytest.mark.parametrize("waits", [False, True])
def test_what_we_have_not_come_to_is_not_counted_against_the_host(tls: VMWorld, waits: bool) -> None:
    transport = WaitingTransport(tls.clock, "10.0.0.1")
    try:
        host = TLSHost(tls, shake=False, transport=transport)
        if waits:
            transport.far.sendall(b"as if it were its first words")
        tls.clock.pump([1.0] * 60)  # longer than it may take to say who it is
        assert host.closed is not waits
        if waits:
            transport.near.recv(100)
            host.shake()
            tls.clock.pump([1.0] * 29)
            host.feed(session() + b"here at last")
            assert tls.logged(tls.console) == b"here at last"
    finally:
        transport.close()


def test_but_not_for_ever(tls: VMWorld) -> None:
    transport = WaitingTransport(tls.clock, "10.0.0.1")
    try:
        host = TLSHost(tls, shake=False, transport=transport)
        transport.far.sendall(b"never read")
        tls.clock.pump([1.0] * 300)
        assert host.closed
    finally:
        transport.close()


def test_a_handshake_that_is_completed_has_none(tls: VMWorld) -> None:
    host = TLSHost(tls).feed(session())
    tls.clock.advance(1000)
    assert not host.closed
    assert not tls.front.handshakes


@examples(50)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x16\x03\x01\x00\x20", b"\x17\x03\x03\x00\x04", b"\x15\x03\x01\x00\x02"]),
)
def test_whatever_comes_in_place_of_tls_harms_nobody(pems: Path, garbage: bytes, beginning: bytes) -> None:
    with world() as w:
        use_tls(w, pems / "one.pem")
        strangers = [TLSHost(w, "10.0.0.66", shake=False), TLSHost(w, "10.0.0.67")]
        for stranger in strangers:
            stranger.wire(beginning + garbage, range(0, 200, 7))
        TLSHost(w).feed(session() + b"fine")
        assert w.logged(w.console) == b"fine"
        w.clock.pump([5.0] * 8)
        assert [stranger.closed for stranger in strangers] == [True, True]
        assert len(w.front.connections) == 1


# What has arrived and was not read.


@given(
    st.lists(st.integers(0, 40), max_size=8),
    st.binary(max_size=4),
    st.lists(st.integers(1, 30), max_size=30),
)
def test_what_is_kept_of_a_record_is_counted(bodies: list[int], rest: bytes, cuts: list[int]) -> None:
    layer = Layer(cast(Any, None), cast(Any, None))
    stream = b"".join(b"\x17\x03\x03" + size.to_bytes(2, "big") + b"x" * size for size in bodies) + rest
    ends = [0]
    for size in bodies:
        ends.append(ends[-1] + 5 + size)
    at = 0
    for cut in [*cuts, len(stream)]:
        piece = stream[at : at + cut]
        at += len(piece)
        layer._count(piece)
        assert layer.partial == at - max(end for end in ends if end <= at)


def test_half_a_record_counts_as_unread(tls: VMWorld) -> None:
    host = TLSHost(tls).feed(session())
    record = host.encrypted(b"half a word")
    host.wire(record[:-3])
    assert unread(host.protocol.transport) == len(record) - 3
    assert tls.logged(tls.console) == b""
    host.wire(record[-3:])
    assert unread(host.protocol.transport) == 0
    assert tls.logged(tls.console) == b"half a word"


def begin(host: TLSHost) -> bytes:
    host.sent()
    host.feed(sub(BEGIN, SEQUENCE))
    (answer,) = host.subs()
    assert answer[0] == GOAHEAD
    return answer[1:]


def test_in_a_vmotion_the_rest_of_a_record_is_waited_for(tls: VMWorld) -> None:
    source = TLSHost(tls).feed(session())
    arriving = destination(tls, begin(source))
    record = source.encrypted(b"the last words of the source, ")
    source.wire(record[:-1])
    arriving.feed(sub(COMPLETE, SEQUENCE) + b"then the destination")
    tls.clock.advance(1)
    assert tls.logged(tls.console) == b""
    source.wire(record[-1:])
    tls.clock.pump([0.25] * 4)
    assert tls.logged(tls.console) == b"the last words of the source, then the destination"
    assert tls.console.link is arriving.protocol


def test_a_source_that_dies_with_half_a_record_holds_nobody_up(tls: VMWorld) -> None:
    source = TLSHost(tls).feed(session())
    arriving = destination(tls, begin(source))
    source.wire(source.encrypted(b"never to be read")[:-1])
    arriving.feed(sub(COMPLETE, SEQUENCE) + b"then the destination")
    source.die()
    assert tls.logged(tls.console) == b"then the destination"


def test_a_source_that_stays_with_half_a_record_is_closed(tls: VMWorld) -> None:
    source = TLSHost(tls).feed(session())
    arriving = destination(tls, begin(source))
    source.wire(source.encrypted(b"never to be read")[:-1])
    arriving.feed(sub(COMPLETE, SEQUENCE) + b"then the destination")
    tls.clock.pump([0.25] * 45)
    assert source.closed
    assert tls.logged(tls.console) == b"then the destination"


def test_the_end_of_the_process_reads_nothing_from_what_has_gone_with_half_a_record(
    tls: VMWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = TLSHost(tls)
    data = host.encrypted(session() + b"to be heard") + host.encrypted(b"never to be read")[:-1]
    assert tls.front.turns.open()
    tls.clock.rightNow += SPAN  # the turn has been used up by others
    host.transport.protocol.dataReceived(data)
    host.transport.lose(ConnectionLost())
    assert host.protocol in tls.front.connections, "what it has said waits for its turn"
    monkeypatch.setattr(host.transport, "doRead", lambda: pytest.fail("there is no socket any more"), raising=False)
    tls.front.stop()
    assert tls.logged(tls.console) == b"to be heard"


# Who comes how, in a vMotion.


@pytest.mark.parametrize("source_has_tls", [True, False])
def test_a_vm_may_move_between_tls_and_none_where_that_is_allowed(tls: VMWorld, source_has_tls: bool) -> None:
    source = TLSHost(tls, from_start=source_has_tls).feed(session())
    pair = begin(source)
    arriving = tls.destination(pair) if source_has_tls else destination(tls, pair)
    arriving.feed(sub(COMPLETE, SEQUENCE))
    assert tls.console.link is arriving.protocol


@pytest.mark.parametrize("source_has_tls", [True, False])
def test_and_not_where_it_is_not(tls: VMWorld, logged: list[str], source_has_tls: bool) -> None:
    tls.migrations.may_differ = False
    source = TLSHost(tls, from_start=source_has_tls).feed(session())
    pair = begin(source)
    wrong = TLSHost(tls, "10.0.0.2", from_start=not source_has_tls)
    wrong.feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(PEER, pair))
    assert PEER_OK not in [s[0] for s in wrong.subs()]
    assert any("PEER refused: it has " in line for line in logged)
    right = TLSHost(tls, "10.0.0.3", from_start=source_has_tls)  # the pair is still good
    right.feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(PEER, pair) + sub(COMPLETE, SEQUENCE))
    assert tls.console.link is right.protocol


# The transport below.


def test_small_reads_reach_tcp(tls: VMWorld) -> None:
    host = TLSHost(tls).feed(session())
    host.protocol.transport.bufferSize = 4096
    assert host.transport.__dict__["bufferSize"] == 4096


def test_reading_is_held_below_tls(tls: VMWorld) -> None:
    host = TLSHost(tls).feed(session())
    host.protocol.hold_output(True)
    assert host.paused
    host.protocol.hold_output(False)
    assert not host.paused


def test_a_host_that_does_not_read_holds_the_input_back(tls: VMWorld) -> None:
    host = TLSHost(tls).feed(session())
    host.sent()
    producer = host.transport.producer
    assert producer is not None
    producer.pauseProducing()
    tls.console.send(b"later")
    assert host.data() == b""
    producer.resumeProducing()
    assert host.data() == b"later"


def test_closing_what_is_gone_already_does_no_harm(tls: VMWorld) -> None:
    host = TLSHost(tls).feed(session())
    layer = layer_of(host)
    host.die()
    host.protocol.close("once more")
    host.protocol.stop()
    assert layer.version == ""


def test_a_hosts_goodbye_ends_the_connection(tls: VMWorld) -> None:
    host = TLSHost(tls).feed(session() + b"bye")
    host.tls.shutdown()
    host.wire(host.outgoing())
    assert host.closed
    assert tls.console.reason == "closed by 10.0.0.1"
    assert tls.logged(tls.console) == b"bye"


def test_the_end_of_tcp_without_a_goodbye_is_told(tls: VMWorld) -> None:
    host = TLSHost(tls).feed(session() + b"bye")
    layer = layer_of(host)
    host.lose()
    assert tls.console.reason.startswith("connection lost to 10.0.0.1")
    assert tls.logged(tls.console) == b"bye"
    assert len(layer.tls.closing) == 0
    assert tls.delayed() == []


def test_what_makes_no_sense_ends_the_connection_and_is_told(tls: VMWorld) -> None:
    host = TLSHost(tls).feed(session())
    record = bytearray(host.encrypted(b"tampered with"))
    record[-1] ^= 1
    host.wire(bytes(record))
    assert host.closed
    assert tls.console.reason.startswith("TLS failed: ")
    assert tls.logged(tls.console) == b""


def test_what_fails_in_a_turn_of_the_handshake_costs_the_connection(
    tls: VMWorld, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(layer: Layer, data: bytes) -> None:
        raise RuntimeError("a fault of ours")

    host = TLSHost(tls, shake=False)
    assert tls.front.turns.open()
    tls.clock.rightNow += SPAN  # the turn has been used up by others
    monkeypatch.setattr(Layer, "_take_in", fails)
    host.wire(b"\x16\x03\x01")
    tls.turn()
    assert logged.tracebacks
    assert host.closed


def test_a_host_that_says_goodbye_and_reads_nothing_does_not_stay(tls: VMWorld) -> None:
    class Stuck(type(TLSHost(tls).transport)):
        def loseConnection(self) -> None: ...  # bytes wait that the host does not take

    host = TLSHost(tls).feed(session())
    host.transport.__class__ = Stuck
    host.tls.shutdown()
    host.wire(host.outgoing())
    assert host.transport.producer is None
    assert not host.closed
    tls.clock.advance(CLOSING_SECONDS)
    tls.turn()
    assert tls.console.state == "down"


def test_the_end_of_the_process_waits_for_no_hosts_goodbye(tls: VMWorld) -> None:
    served = TLSHost(tls).feed(session())
    shaking = TLSHost(tls, "10.0.0.9", shake=False)
    tls.console.send(b"last")
    tls.front.stop()
    assert served.transport.disconnecting
    assert shaking.transport.disconnecting
    assert served.data() == b"last"
    assert served.ended.startswith("ZeroReturnError")
    tls.turn()


# What is shown, what is spoken.


def shown(w: VMWorld, name: str = "") -> str:
    certificate = TLSHost(w, name=name).tls.get_peer_certificate(as_cryptography=True)
    assert certificate is not None
    return names(certificate)[0]


@pytest.mark.parametrize(
    ("name", "common"),
    [
        ("", "one.example.com"),
        ("one.example.com", "one.example.com"),
        ("two.example.com", "two.example.com"),
        ("TWO.example.COM", "two.example.com"),
        ("esx.lab.example.com", "two.example.com"),
        ("a.b.lab.example.com", "one.example.com"),
        ("lab.example.com", "one.example.com"),
        ("unheard.of", "one.example.com"),
    ],
)
def test_the_certificate_by_name(w: VMWorld, pems: Path, name: str, common: str) -> None:
    use_tls(w, pems / "one.pem", pems / "two.pem")
    assert shown(w, name) == common


def test_other_certificates_are_for_who_comes_from_then_on(tls: VMWorld, pems: Path) -> None:
    host = TLSHost(tls).feed(session())
    use_tls(tls, pems / "two.pem")
    assert shown(tls) == "two.example.com"
    host.feed(b"still here")
    assert tls.logged(tls.console) == b"still here"


def test_without_a_certificate_nobody_is_let_in(w: VMWorld) -> None:
    assert w.front.tls.over(w.factory).buildProtocol(w.connect().transport.peerAddr) is None


@pytest.mark.parametrize("newest", [SSL.TLS1_VERSION, SSL.TLS1_1_VERSION])
def test_old_versions_are_refused_unless_they_are_allowed(w: VMWorld, pems: Path, newest: int) -> None:
    use_tls(w, pems / "one.pem")
    refused = TLSHost(w, context=client_context(newest=newest))
    assert refused.closed
    assert refused.ended
    use_tls(w, pems / "one.pem", minimum="1.0")
    TLSHost(w, "10.0.0.2", context=client_context(newest=newest)).feed(session() + b"old but here")
    assert w.logged(w.console) == b"old but here"


@pytest.mark.parametrize(("minimum", "closed"), [("1.2", False), ("1.3", True)])
def test_tls_1_2(w: VMWorld, pems: Path, minimum: str, closed: bool) -> None:
    use_tls(w, pems / "one.pem", minimum=minimum)
    host = TLSHost(w, context=client_context(newest=SSL.TLS1_2_VERSION))
    assert host.closed is closed
    assert w.front.counters["connections by TLSv1.2"] == (not closed)


@pytest.mark.parametrize("newest", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_a_handshake_may_be_long(w: VMWorld, pems: Path, many: bytes, tmp_path: Path, newest: int) -> None:
    # The names of all authorities are part of it. Twisted hands on 32 KiB at a time, and waits for an answer then.
    authorities = (pems / "ca.crt").read_bytes() + many
    bundle = tmp_path / "bundle.crt"
    bundle.write_bytes(authorities)
    use_tls(w, pems / "one.pem", ca=bundle)
    host = TLSHost(w, context=client_context(newest=newest, certificate=pems / "esx.pem"))
    host.feed(session() + b"welcome")
    assert w.logged(w.console) == b"welcome"


def test_nobody_can_make_us_do_handshakes_without_end(tls: VMWorld) -> None:
    host = TLSHost(tls, context=client_context(newest=SSL.TLS1_2_VERSION)).feed(session())
    host.tls.renegotiate()
    with pytest.raises(SSL.WantReadError):
        host.tls.do_handshake()
    host.wire(host.outgoing())
    host.tls.bio_write(host.transport.value())
    with pytest.raises(SSL.Error, match="no renegotiation"):
        host.tls.do_handshake()


@pytest.mark.parametrize("asked", [False, True])
def test_new_keys_may_be_taken_now_and_then(tls: VMWorld, asked: bool) -> None:
    raw = RawRecords()
    host = TLSHost(tls, context=raw.watch())
    host.wire(raw.record(session()))
    host.wire(b"".join(raw.record(b"%d," % n) + raw.new_keys(asked) for n in range(MESSAGES // 2)))
    host.wire(raw.new_keys(asked))
    host.wire(raw.record(b"and on"))
    assert not host.closed
    assert tls.logged(tls.console) == b"".join(b"%d," % n for n in range(MESSAGES // 2)) + b"and on"


@pytest.mark.parametrize("asked", [False, True])
def test_new_keys_without_end_in_one_read_end_the_connection(tls: VMWorld, logged: list[str], asked: bool) -> None:
    raw = RawRecords()
    host = TLSHost(tls, context=raw.watch())
    host.wire(raw.record(session()))
    host.transport.clear()
    host.wire(raw.record(b"before") + b"".join(raw.new_keys(asked) for _ in range(1000)) + raw.record(b"behind"))
    assert host.closed
    assert len(host.transport.value()) < 64 * MESSAGES
    assert tls.logged(tls.console) == b"before"
    assert any("TLS failed: too many messages behind the handshake" in line for line in logged)


def test_who_sends_tiny_records_is_read_in_small_portions_as_long_as_it_does(tls: VMWorld) -> None:
    raw = RawRecords()
    host = TLSHost(tls, context=raw.watch())
    host.wire(raw.record(session()))
    usual = layer_of(host).bufferSize
    host.wire(b"".join(raw.record(b"x") for _ in range(100)))
    assert layer_of(host).bufferSize == usual > SMALL_READ
    for _ in range(2):
        host.wire(b"".join(raw.record(b"x") for _ in range(1000)))
        assert layer_of(host).bufferSize == SMALL_READ
    host.wire(b"".join(raw.record(1000 * b"y") for _ in range(4)))
    assert layer_of(host).bufferSize == usual
    assert tls.logged(tls.console) == 2100 * b"x" + 4000 * b"y"


@pytest.mark.parametrize("lost", [False, True])
def test_tiny_records_have_their_turns_and_keep_their_order(tls: VMWorld, lost: bool) -> None:
    raw = RawRecords()
    host = TLSHost(tls, context=raw.watch())
    host.wire(raw.record(session()))
    layer, turns = layer_of(host), tls.front.turns

    def records(count: int, data: bytes = b"x") -> bytes:
        return b"".join(raw.record(data) for _ in range(count))

    def use_up() -> None:
        tls.turn()
        assert turns.open()
        tls.clock.rightNow += SPAN

    use_up()
    few = records(FEW_RECORDS)
    for at in range(0, len(few), 7):
        layer.dataReceived(few[at : at + 7])
    layer.dataReceived(records(100, 1000 * b"y"))
    assert not layer.waiting, "there are few, or they are large"
    head = records(1)
    layer.dataReceived(head[:3])
    layer.dataReceived(head[3:] + records(FEW_RECORDS))
    waiting = layer.waiting
    assert waiting == FEW_RECORDS * len(head) + len(head) - 3
    assert unread(layer) == waiting + 3
    layer.dataReceived(records(1, b"z"))
    assert host.transport.producerState == "paused"
    if lost:
        layer.connectionLost(Failure(ConnectionLost()))
    else:
        tls.turn()
        assert host.transport.producerState == "producing"
    assert tls.logged(tls.console) == FEW_RECORDS * b"x" + 100_000 * b"y" + (FEW_RECORDS + 1) * b"x" + b"z"


def test_whoever_is_drained_waits_for_no_turn(tls: VMWorld) -> None:
    raw = RawRecords()
    host = TLSHost(tls, context=raw.watch())
    host.wire(raw.record(session()))
    assert tls.front.turns.open()
    tls.clock.rightNow += SPAN
    layer_of(host).dataReceived(b"".join(raw.record(b"x") for _ in range(100)))
    assert layer_of(host).waiting
    host.protocol.drain()
    assert not layer_of(host).waiting
    assert tls.logged(tls.console) == 100 * b"x"


def test_the_end_of_the_process_shakes_no_hands(tls: VMWorld) -> None:
    host = TLSHost(tls, shake=False)
    with pytest.raises(SSL.WantReadError):
        host.tls.do_handshake()
    assert tls.front.turns.open()
    tls.clock.rightNow += SPAN  # thousands of others have used it up
    layer_of(host).dataReceived(host.outgoing())
    assert layer_of(host).waiting
    tls.front.stop()
    assert host.closed
    assert not host.transport.value()


def test_a_host_that_has_us_take_new_keys_and_reads_nothing_is_closed(
    tls: VMWorld, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmproxy.vm.tls.ANSWERS_LIMIT", 1000)
    raw = RawRecords()
    host = TLSHost(tls, context=raw.watch())
    host.wire(raw.record(session()))
    host.transport.clear()
    for _ in range(100):
        host.wire(raw.new_keys(True))
    assert host.closed
    assert 1000 < len(host.transport.value()) < 1100
    assert any("TLS failed: too many questions behind the handshake" in line for line in logged)


@pytest.mark.parametrize("newest", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_hosts_may_have_to_show_a_certificate(w: VMWorld, pems: Path, logged: list[str], newest: int) -> None:
    use_tls(w, pems / "one.pem", ca=pems / "ca.crt")
    assert TLSHost(w, "10.0.0.2", context=client_context(newest=newest)).closed
    assert any("10.0.0.2: TLS failed: peer did not return a certificate" in line for line in logged)
    context = client_context(newest=newest, certificate=pems / "stranger.pem")
    assert TLSHost(w, "10.0.0.3", context=context).closed
    assert any("10.0.0.3: TLS failed: certificate verify failed" in line for line in logged)
    TLSHost(w, context=client_context(newest=newest, certificate=pems / "esx.pem")).feed(session() + b"welcome")
    assert w.logged(w.console) == b"welcome"


@pytest.mark.parametrize("offered", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-RSA-AES256-SHA384"])
def test_a_host_with_weak_suites_only_is_told_with_the_setting_that_lets_it_in(
    w: VMWorld, rsa: Path, logged: list[str], offered: str
) -> None:
    use_tls(w, rsa)
    context = client_context(newest=SSL.TLS1_2_VERSION)
    context.set_cipher_list(offered.encode() + b":@SECLEVEL=0")
    assert TLSHost(w, "10.0.0.2", context=context).closed
    (told,) = [line for line in logged if "TLS failed" in line]
    assert told.startswith("10.0.0.2: TLS failed: no shared cipher: it offers nothing but RSA key exchange or CBC")
    assert told.endswith('vm.tls-minimum = "1.0" let it in')
    use_tls(w, rsa, minimum="1.0")
    TLSHost(w, context=context).feed(session() + b"welcome")
    assert w.logged(w.console) == b"welcome"


# What it costs.


def test_what_comes_in_one_read_is_handed_on_in_one_piece(tls: VMWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    host = TLSHost(tls).feed(session())
    pieces: list[bytes] = []
    monkeypatch.setattr(HostTelnet, "dataReceived", lambda _, data: pieces.append(data))
    said = b"".join(b"%d lines of it\r\n" % n for n in range(3000))
    host.wire(host.encrypted(said))
    assert pieces == [said]


def test_hosts_that_say_the_same_share_what_it_leads_to(tls: VMWorld) -> None:
    said = session()
    place = said.index(sub(VC_UUID, SPELLED_A))
    begun = []
    for n in range(4):
        host = TLSHost(tls, f"10.0.0.{n + 1}").feed(said[:place])
        host.feed(said[place:].replace(b"01 23", b"0%d 23" % n))
        begun.append(host.protocol.session._begun)
    assert begun[2] is begun[3] is not None
    assert len(tls.directory) == 4


def test_what_is_written_before_the_handshake_is_bounded(tls: VMWorld) -> None:
    host = TLSHost(tls, shake=False)
    assert host.protocol.ready
    host.protocol.write(b"behind the opening")
    assert not host.protocol.ready
    host.shake()
    assert host.protocol.ready
    assert host.data() == b"behind the opening"


def test_what_is_answered_in_one_read_goes_out_in_one_piece(tls: VMWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    host = TLSHost(tls, shake=False)
    written: list[bytes] = []
    monkeypatch.setattr(type(host.transport), "write", lambda _, data: written.append(data))
    with pytest.raises(SSL.WantReadError):
        host.tls.do_handshake()
    host.wire(host.outgoing())
    host.tls.bio_write(b"".join(written))
    written.clear()
    host.tls.do_handshake()
    host.wire(host.outgoing())
    assert len(written) == 1, "tickets of TLS' own, and our opening"
    host.transport.io.write(written[0])
    assert host.sent().startswith(verb(WILL, BINARY))


def test_what_comes_right_behind_the_handshake_is_not_lost(tls: VMWorld) -> None:
    host = TLSHost(tls, shake=False)
    with pytest.raises(SSL.WantReadError):
        host.tls.do_handshake()
    host.wire(host.outgoing())
    host.take()
    host.tls.do_handshake()
    host.tls.send(session() + b"at once")
    host.wire(host.outgoing())
    assert tls.logged(tls.console) == b"at once"


@pytest.mark.parametrize("size", [10, 60_000])
def test_openssls_buffers_of_a_silent_connection_are_small(tls: VMWorld, size: int) -> None:
    def buffers() -> object:
        return layer_of(host)._ssl._into_ssl

    host = TLSHost(tls).feed(session())
    before = buffers()
    record = host.encrypted(b"x" * size)
    host.wire(record)
    assert (buffers() != before) is (size > 10), "they would stay as large as they have been once"
    host.feed(b"and on").feed(b"y" * size)
    assert tls.logged(tls.console) == b"x" * size + b"and on" + b"y" * size


def test_the_memory_of_those_who_have_gone_is_given_back(tls: VMWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LEAST", 3)
    given: list[int] = []
    connections = tls.front.tls.connections
    monkeypatch.setattr(connections, "_give_back", lambda: given.append(connections.there))
    hosts = [TLSHost(tls, f"10.0.0.{n}", shake=n % 2 == 0) for n in range(1, 7)]
    assert connections.there == 6
    for host in hosts:
        host.lose()
    assert given == [3, 0]
