"""TLS inside ``telnet://``: offered, required, switched to; and what is not believed."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.error import ConnectionLost
from twisted.protocols.policies import WrappingFactory

from tests.support.fakes import Logged
from tests.support.tls import ACCEPTED, ASKED, DECLINED, OFFER, START, MemoryTransport, TLSHost, use_tls, write_pem
from tests.support.vm import (
    AUTHENTICATION,
    BINARY,
    CAPTURED_LIST,
    COM_PORT,
    COMPLETE,
    DO,
    DO_PROXY,
    DONT,
    ECHO,
    EXT,
    GET_NAME,
    GET_VC_UUID,
    IDENTIFY_TIMEOUT,
    KNOWN_1,
    NAME,
    NEGOTIATION,
    PEER,
    PEER_OK,
    SGA,
    SPELLED_A,
    VC_UUID,
    WILL,
    WONT,
    WONT_PROXY,
    VMWorld,
    session,
    sub,
    verb,
)
from vmproxy.base.turns import SPAN

SEQUENCE = b"\x01\x02\x03\x04"
IDENTITY = sub(KNOWN_1, CAPTURED_LIST) + sub(DO_PROXY, b"Svmproxy") + sub(VC_UUID, SPELLED_A) + sub(NAME, b"web")
# A host that agrees to everything but the extension.
PLAIN_OPTIONS = NEGOTIATION[:-3]


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pem(tmp_path_factory.mktemp("pem") / "one.pem", "one.example.com")


@pytest.fixture
def offering(w: VMWorld, pem: Path) -> VMWorld:
    use_tls(w, pem)
    return w


@pytest.fixture
def requiring(w: VMWorld, pem: Path) -> VMWorld:
    use_tls(w, pem, encryption="require")
    return w


def connect(w: VMWorld, address: str = "10.0.0.1") -> TLSHost:
    return TLSHost(w, address, from_start=False)


def ask_to_be_asked(host: TLSHost) -> bytes:
    host.sent()
    return host.feed(OFFER).sent()


# Whether it is offered.


def test_without_a_certificate_it_is_not_offered(w: VMWorld) -> None:
    assert ask_to_be_asked(connect(w)) == verb(DONT, AUTHENTICATION)


def test_it_can_be_turned_off(w: VMWorld, pem: Path) -> None:
    use_tls(w, pem, encryption="off")
    assert ask_to_be_asked(connect(w)) == verb(DONT, AUTHENTICATION)


def test_with_a_certificate_it_is(offering: VMWorld) -> None:
    assert ask_to_be_asked(connect(offering)) == verb(DO, AUTHENTICATION) + ASKED


def test_who_offers_it_again_and_again_is_asked_once(offering: VMWorld) -> None:
    # As one does that answers our DO, the answer to its own WILL: START twice would spoil the handshake.
    host = connect(offering)
    host.sent()
    assert host.feed(OFFER + OFFER).feed(OFFER).sent() == verb(DO, AUTHENTICATION) + ASKED
    assert host.feed(verb(WONT, AUTHENTICATION) + OFFER).sent().endswith(verb(DO, AUTHENTICATION) + ASKED)


def test_who_does_not_offer_it_is_served_in_clear(offering: VMWorld) -> None:
    host = connect(offering)
    assert verb(DO, AUTHENTICATION) not in host.sent()
    host.feed(NEGOTIATION + IDENTITY + b"in clear")
    assert offering.logged(offering.console) == b"in clear"
    assert not host.protocol.encrypted


def test_who_declines_it_is_served_in_clear(offering: VMWorld) -> None:
    host = connect(offering).feed(OFFER).feed(DECLINED + NEGOTIATION + IDENTITY + b"in clear")
    assert offering.logged(offering.console) == b"in clear"
    assert not host.protocol.encrypted


# The switch.


def test_a_vm_is_served_after_the_switch(offering: VMWorld) -> None:
    host = connect(offering).switch()
    assert host.protocol.encrypted
    host.feed(NEGOTIATION + IDENTITY + b"behind TLS \xff\xff")
    assert offering.logged(offering.console) == b"behind TLS \xff"
    host.sent()
    offering.console.send(b"root\r")
    assert host.data() == b"root\r"


def test_what_was_agreed_on_before_holds(offering: VMWorld) -> None:
    host = connect(offering).feed(NEGOTIATION + IDENTITY)
    assert offering.console.link is host.protocol
    host.switch()
    host.sent()
    host.feed(NEGOTIATION)
    assert host.sent() == b""  # there is nothing to agree on any more
    host.feed(b"\r\0")  # BINARY: not rewritten
    assert offering.logged(offering.console) == b"\r\0"


def test_the_switch_of_a_vm_that_is_served_loses_nothing(offering: VMWorld) -> None:
    host = connect(offering).feed(NEGOTIATION + IDENTITY + b"one ").feed(OFFER)
    offering.console.send(b"before ")
    host.wire(b"two " + START)
    host.take()
    before = host.sent()
    assert before.endswith(ACCEPTED)
    assert b"before " in before
    host.secure = True
    offering.console.send(b"meanwhile ")
    host.shake()
    host.feed(b"three")
    offering.console.send(b"after")
    assert host.data() == b"meanwhile after"
    assert offering.logged(offering.console) == b"one two three"


@pytest.mark.parametrize("behind", [IDENTITY, b"\r\nroot::0:0\r\n", b"\x16\x03\x01\x00\x05hello", b"\xff", b"\xff\xfa"])
def test_what_comes_behind_start_in_the_same_read_is_discarded(offering: VMWorld, behind: bytes) -> None:
    host = connect(offering).feed(NEGOTIATION)
    host.switch(behind)
    assert host.protocol.encrypted
    assert len(offering.directory) == 0
    host.feed(IDENTITY + b"the real one")
    assert offering.logged(offering.console) == b"the real one"


def test_the_handshake_may_come_in_any_pieces(offering: VMWorld) -> None:
    host = connect(offering).switch(shake=False)
    host.shake(bytewise=True)
    host.feed(NEGOTIATION + IDENTITY + b"here")
    assert offering.logged(offering.console) == b"here"


def test_the_switch_behind_another_layer(offering: VMWorld) -> None:
    # As endpoints of the kind haproxy: put between TCP and us.
    host = connect(offering)
    wrapper = WrappingFactory(offering.factory).buildProtocol(host.transport.peerAddr)
    host.transport = MemoryTransport(offering.clock, host.address)
    host.transport.protocol = wrapper  # type: ignore[assignment]  # a layer in between
    wrapper.makeConnection(host.transport)
    host.protocol = wrapper.wrappedProtocol  # type: ignore[assignment]  # ours, behind it
    host.switch().feed(NEGOTIATION + IDENTITY + b"here")
    assert offering.logged(offering.console) == b"here"


def test_start_itself_may_come_in_any_pieces(offering: VMWorld) -> None:
    host = connect(offering).feed(OFFER)
    host.wire(START, range(len(START)))
    host.take()
    assert host.sent().endswith(ACCEPTED)
    host.secure = True
    host.shake()
    assert host.feed(NEGOTIATION + IDENTITY).protocol.in_service


def test_clear_text_in_place_of_the_handshake_ends_it(offering: VMWorld, logged: list[str]) -> None:
    host = connect(offering).switch(shake=False)
    host.wire(NEGOTIATION + IDENTITY)
    assert host.closed
    assert len(offering.directory) == 0
    assert any("TLS failed" in line for line in logged)


def test_the_handshake_has_a_deadline(offering: VMWorld, logged: list[str]) -> None:
    host = connect(offering).feed(NEGOTIATION + IDENTITY).switch(shake=False)
    offering.clock.advance(19.9)
    assert not host.closed
    offering.clock.advance(0.2)
    assert host.closed
    offering.turn()
    assert offering.console.state == "down"
    assert any("the TLS handshake was not completed in time" in line for line in logged)


def test_but_not_while_it_is_we_who_do_not_read(offering: VMWorld) -> None:
    host = connect(offering).feed(NEGOTIATION + IDENTITY).switch(shake=False)
    host.protocol.hold_output(True)
    offering.clock.advance(35)
    assert not host.closed
    host.protocol.hold_output(False)
    host.shake()
    host.feed(b"still here")
    offering.clock.advance(100)
    assert offering.logged(offering.console) == b"still here"


@pytest.mark.parametrize("paused", [False, True])
def test_input_flows_after_a_switch_with_much_under_way(offering: VMWorld, paused: bool) -> None:
    host = connect(offering).feed(NEGOTIATION + IDENTITY).feed(OFFER)
    host.sent()
    if paused:
        assert host.transport.producer is not None
        host.transport.producer.pauseProducing()
    offering.console.send(b"typed")
    host.wire(START)
    host.take()
    assert host.data() == (b"" if paused else b"typed")
    host.secure = True
    host.shake()
    host.take()
    assert host.data() == (b"typed" if paused else b"")
    assert host.protocol.ready


@pytest.mark.parametrize(
    "message",
    [START, START + START, DECLINED, ASKED, b"\xff\xfa\x25\xff\xf0", b"\xff\xfa\x25\x00\x07\x00\x01\x09\xff\xf0"],
)
def test_what_was_not_asked_for_changes_nothing(offering: VMWorld, message: bytes) -> None:
    host = connect(offering)
    host.sent()
    host.feed(message)
    assert host.sent() == b""
    host.feed(NEGOTIATION + IDENTITY + b"in clear")
    assert offering.logged(offering.console) == b"in clear"
    assert not host.protocol.encrypted
    assert offering.front.counters["unknown subnegotiations"] >= 1


def test_tls_inside_tls_is_not_spoken(offering: VMWorld) -> None:
    host = connect(offering).switch()
    host.sent()
    host.feed(START)
    host.feed(NEGOTIATION + IDENTITY + b"once is enough")
    assert ACCEPTED not in host.sent()
    assert offering.logged(offering.console) == b"once is enough"


def test_a_certificate_that_is_gone_meanwhile(offering: VMWorld) -> None:
    host = connect(offering).feed(OFFER)
    offering.front.tls.credentials = None
    host.wire(START)
    assert host.closed


# Where it is required.


def test_every_host_is_asked_and_nothing_else_before(requiring: VMWorld) -> None:
    host = connect(requiring)
    opening = host.sent()
    assert verb(DO, AUTHENTICATION) in opening
    assert verb(DO, EXT) not in opening
    host.feed(OFFER)
    assert host.sent() == ASKED


def test_the_extension_is_asked_for_behind_tls(requiring: VMWorld) -> None:
    host = connect(requiring).feed(PLAIN_OPTIONS).switch()
    assert verb(DO, EXT) in host.sent()
    host.feed(verb(WILL, EXT) + IDENTITY + b"behind TLS")
    assert requiring.logged(requiring.console) == b"behind TLS"


def test_what_is_said_in_clear_is_forgotten(requiring: VMWorld, logged: list[str]) -> None:
    host = connect(requiring).feed(NEGOTIATION + b"root login" + IDENTITY + b"more" + IDENTITY)
    assert len(requiring.directory) == 0
    assert [s[0] for s in host.subs()] == [WONT_PROXY]
    assert any("WONT-PROXY: it has not switched to TLS, which is required" in line for line in logged)
    host.switch()
    requiring.clock.advance(1)
    assert len(requiring.directory) == 0
    host.feed(IDENTITY.replace(b"web", b"new") + b"behind TLS")
    assert requiring.console.name == "new"
    assert requiring.logged(requiring.console) == b"behind TLS"


def test_what_the_host_can_say_is_asked_for_behind_tls(requiring: VMWorld) -> None:
    # It speaks first, and sends its list once.
    host = connect(requiring).feed(
        verb(WILL, EXT) + PLAIN_OPTIONS + sub(KNOWN_1, bytes([GET_VC_UUID, GET_NAME, DO_PROXY]))
    )
    assert host.subs() == []
    host.switch()
    assert [s[0] for s in host.subs()] == [1, GET_VC_UUID, GET_NAME]


def test_a_peer_in_clear_opens_no_door(requiring: VMWorld) -> None:
    source = connect(requiring).switch()
    source.feed(NEGOTIATION + IDENTITY)
    source.sent()
    source.feed(sub(40, SEQUENCE))
    pair = source.subs()[0][1:]
    thief = connect(requiring, "10.0.0.66").feed(NEGOTIATION + sub(PEER, pair))
    assert PEER_OK not in [s[0] for s in thief.subs()]
    honest = connect(requiring, "10.0.0.2").switch()
    honest.feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(PEER, pair) + sub(COMPLETE, SEQUENCE))
    assert requiring.console.link is honest.protocol


@pytest.mark.parametrize("no", [verb(WONT, AUTHENTICATION), OFFER + DECLINED, OFFER + ASKED])
def test_who_wants_none_is_turned_away(requiring: VMWorld, logged: list[str], no: bytes) -> None:
    host = connect(requiring).feed(no)
    assert host.closed
    assert any("TLS, which is required" in line for line in logged)


@pytest.mark.parametrize("option", [BINARY, SGA, ECHO, COM_PORT, 99])
def test_who_declines_anything_else_may_still_switch(requiring: VMWorld, option: int) -> None:
    host = connect(requiring).feed(verb(WONT, option) + verb(DONT, option))
    assert not host.closed
    host.switch().feed(NEGOTIATION + IDENTITY + b"behind TLS")
    assert requiring.logged(requiring.console) == b"behind TLS"


def test_who_does_not_switch_is_closed_in_time(requiring: VMWorld, logged: list[str]) -> None:
    host = connect(requiring).feed(NEGOTIATION + IDENTITY)
    requiring.clock.advance(IDENTIFY_TIMEOUT)
    assert host.closed
    assert any("it did not switch to TLS, which is required, in time" in line for line in logged)


def test_what_is_tls_from_the_start_need_not_switch(requiring: VMWorld) -> None:
    host = TLSHost(requiring).feed(session() + b"fine")
    assert requiring.logged(requiring.console) == b"fine"
    assert not host.protocol.session.guarded


def test_who_is_there_already_may_stay(offering: VMWorld, pem: Path) -> None:
    host = connect(offering).feed(session() + b"in clear ")
    use_tls(offering, pem, encryption="require")
    host.feed(b"as before")
    assert offering.logged(offering.console) == b"in clear as before"
    assert not connect(offering, "10.0.0.2").feed(session()).protocol.in_service


def test_who_has_left_before_its_start_is_looked_at_has_no_tls(offering: VMWorld, logged: Logged) -> None:
    host = connect(offering).feed(OFFER)
    assert offering.front.turns.open()
    offering.clock.rightNow += SPAN  # the turn has been used up by others
    host.transport.protocol.dataReceived(START)
    host.transport.lose(ConnectionLost())
    assert host.protocol in offering.front.connections
    offering.turn()
    assert not offering.front.connections
    assert offering.front.tls.connections.there == 0
    assert not hasattr(host.transport, "protocol"), "nobody would take it away again"
    assert not logged.tracebacks
