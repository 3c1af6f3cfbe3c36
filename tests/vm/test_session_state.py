"""A session can be cut anywhere, made into JSON and gone on with; and its answers may come late."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from tests.support.scripts import SESSIONS, Observer, Outcome, bytewise, run, whole
from tests.support.vm import (
    ABORT,
    AUTHENTICATION,
    BEGIN,
    CAPTURED_LIST,
    COM_PORT,
    COMPLETE,
    GOAHEAD,
    IDENTIFY_TIMEOUT,
    KNOWN_1,
    NEGOTIATION,
    PEER,
    PEER_OK,
    WILL,
    Host,
    VMWorld,
    com,
    session,
    sub,
    verb,
)
from vmproxy.base.state import pack, unpack
from vmproxy.vm.actions import StartTLS
from vmproxy.vm.early import EARLY_LIMIT
from vmproxy.vm.extension import Terms
from vmproxy.vm.session import VMSession
from vmproxy.vm.session_machine import LOG, PACE, SessionMachine
from vmproxy.vm.session_parts import SessionParts
from vmproxy.vm.session_reader import SessionReader
from vmproxy.vm.session_state import VMSessionState
from vmproxy.vm.session_table import ASKING, CLAIMING, COMPLETING, FROM_DRIVER, FROM_HOST, STATES, TABLE, table_text
from vmproxy.wire.telnet import IAC, SB, SE

SEQUENCE = b"\x01\x02\x03\x04"

_whole: dict[str, Outcome] = {}


def expected(name: str) -> Outcome:
    if name not in _whole:
        _whole[name] = run(SESSIONS[name], whole)
    return _whole[name]


def hand_over(host: Host) -> None:
    """Have another process go on with a session."""
    protocol = host.protocol
    old = protocol.session
    state = old.snapshot()
    text = json.dumps(pack(state))
    old.left()
    read = unpack(VMSessionState, json.loads(text))
    assert read == state
    protocol.session = VMSession.restore(read, host.world.front.terms)
    assert protocol.session.plain == old.plain
    protocol._act()


class HandsOver(Observer):
    def piece(self, host: Host) -> None:
        if not host.closed:
            hand_over(host)


class Late(Observer):
    """Questions are answered at the end of each step, unless the connection is gone."""

    def begin(self, world: VMWorld) -> None:
        self.world = world
        self.waiting: list[tuple[Callable[..., Any], tuple[Any, ...], Deferred[Any]]] = []
        broker = world.front.broker
        broker.claim_console = self.later(world.directory.claim)
        broker.find_peer = self.later(world.migrations.peer)

    def later(self, function: Callable[..., Any]) -> Callable[..., Deferred[Any]]:
        def ask(*given: Any) -> Deferred[Any]:
            answer: Deferred[Any] = Deferred()
            self.waiting.append((function, given, answer))
            return answer

        return ask

    def step(self) -> None:
        while self.waiting:
            function, given, answer = self.waiting.pop(0)
            try:
                found = function(*given)
            except Exception as error:
                answer.errback(error)
            else:
                answer.callback(found)
        self.world.turn()


class LateAndHandsOver(Late):
    def piece(self, host: Host) -> None:
        if not host.closed:
            # Only the questions of this connection are lost with the old process, and asked again by the new one.
            self.waiting = [one for one in self.waiting if host.protocol not in one[1]]
            hand_over(host)


@pytest.mark.parametrize("observer", [HandsOver, Late, LateAndHandsOver])
@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_comes_out_the_same(name: str, observer: type[Observer]) -> None:
    for cutter in (whole, bytewise):
        assert run(SESSIONS[name], cutter, observer()) == expected(name)


@given(
    name=st.sampled_from(sorted(SESSIONS)),
    observer=st.sampled_from([HandsOver, Late, LateAndHandsOver]),
    seed=st.integers(0, 2**32),
    mean=st.integers(2, 40),
)
@settings(deadline=None)
def test_a_session_that_is_handed_over_or_answered_late_anywhere_comes_out_the_same(
    name: str, observer: type[Observer], seed: int, mean: int
) -> None:
    random = Random(seed)
    outcome = run(SESSIONS[name], lambda data: [c for c in range(len(data)) if not random.randrange(mean)], observer())
    assert outcome == expected(name)


def test_every_slot_is_handed_over_or_made_anew() -> None:
    anew = {"_terms", "_receiving", "_limit", "plain", "_begun", "_told", "_unsent", "_parts", "_signature", "out"}
    slots = {*SessionMachine.__slots__, *SessionReader.__slots__, *VMSession.__slots__, *SessionParts.__slots__}
    kept = {slot.removeprefix("_") for slot in slots - anew}
    outbox = {"unsent", "blocked", "control_while_blocked"}
    assert kept | outbox == {field.name for field in fields(VMSessionState)}


def test_a_vm_that_takes_nothing_and_what_it_has_set_are_known_behind_a_handover(w: VMWorld) -> None:
    host, console = w.vm()
    host.feed(verb(WILL, COM_PORT) + com(1, (9600).to_bytes(4, "big")) + com(8))
    assert not host.protocol.ready
    host.protocol.ready = True  # as another process has them before
    console.set_port_control(None, "")
    hand_over(host)
    assert not host.protocol.ready
    assert console.port_control is not None
    assert console.settings.startswith("9600")
    host.feed(com(9))
    assert host.protocol.ready


def test_only_what_a_session_holds_for_itself_is_held_behind_a_handover(w: VMWorld) -> None:
    # Nobody would let go of the rest: who had asked for it has gone with the old process.
    host, _ = w.vm()
    host.protocol.hold_output(True)
    host.feed(b"\xff\xf1" * 9000)
    assert (host.protocol.session.holds, host.paused) == (LOG | PACE, True)
    hand_over(host)
    assert (host.protocol.session.holds, host.paused) == (0, False)


# Late answers.


@pytest.fixture
def late(w: VMWorld) -> Late:
    late = Late()
    late.begin(w)
    return late


def test_what_comes_behind_a_claim_that_is_not_answered_yet_waits_for_the_answer(w: VMWorld, late: Late) -> None:
    host = w.connect().feed(session() + b"first " + sub(BEGIN, SEQUENCE)).feed(b"second")
    assert (host.protocol.session.state, len(w.directory)) == (CLAIMING, 0)
    assert GOAHEAD not in [s[0] for s in host.subs()]
    late.step()
    assert w.logged(w.console) == b"first second"
    assert GOAHEAD in [s[0] for s in host.subs()]
    assert w.console.state == "migrating"


def test_what_waits_for_an_answer_is_bounded(w: VMWorld, late: Late) -> None:
    host = w.connect().feed(session())
    for _ in range(EARLY_LIMIT // 1000):
        host.feed(b"x" * 1000)
    assert not host.paused
    host.feed(b"y" * 1000)
    assert host.paused
    late.step()
    assert not host.paused
    assert len(w.logged(w.console)) == (EARLY_LIMIT // 1000 + 1) * 1000


def test_a_connection_that_waits_for_an_answer_is_not_closed_for_its_silence(w: VMWorld, late: Late) -> None:
    host = w.connect().feed(session())
    w.clock.advance(100)
    assert not host.closed
    late.step()
    assert w.console.link is host.protocol
    w.clock.advance(100)
    assert not host.closed


def test_a_pair_may_be_looked_up_for_a_while(w: VMWorld, late: Late) -> None:
    source = w.connect().feed(session())
    late.step()
    pair = source.begin(SEQUENCE)
    destination = w.connect("10.0.0.2").feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(PEER, pair))
    destination.feed(b"early" + sub(COMPLETE, SEQUENCE))
    assert PEER_OK not in [s[0] for s in destination.subs()]
    assert w.console.link is source.protocol
    late.step()
    assert PEER_OK in [s[0] for s in destination.subs()]
    assert w.console.link is destination.protocol
    assert w.logged(w.console) == b"early"


def test_a_console_that_is_found_for_a_connection_that_is_gone_goes_down(w: VMWorld, late: Late) -> None:
    host = w.connect().feed(b"early " + session())
    host.die()
    assert len(late.waiting) == 1
    late.step()
    assert (w.console.state, w.console.link) == ("down", None)
    assert w.logged(w.console) == b"early "
    assert [e["event"] for e in w.trail(w.console, "up", "down")] == ["up", "down"]


def test_a_pair_that_was_looked_up_for_a_while_is_an_identity(w: VMWorld, late: Late) -> None:
    source = w.connect().feed(session())
    late.step()
    pair = source.begin(SEQUENCE)
    destination = w.connect("10.0.0.2").feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(PEER, pair))
    late.step()
    w.clock.advance(IDENTIFY_TIMEOUT + 1)
    assert not destination.closed


def test_a_vmotion_whose_destination_is_gone_when_it_is_found_goes_on_without_it(w: VMWorld, late: Late) -> None:
    source = w.connect().feed(session())
    late.step()
    pair = source.begin(SEQUENCE)
    destination = w.connect("10.0.0.2").feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(PEER, pair))
    destination.die()
    late.step()
    assert len(w.trail(w.console, "vmotion-destination-lost")) == 1
    source.die()
    assert (w.console.state, w.console.link) == ("down", None)


def test_what_comes_between_an_answer_and_the_word_that_it_has_come_overtakes_nothing(w: VMWorld, late: Late) -> None:
    host = w.connect().feed(session()).feed(b"first ")
    claim, given, answer = late.waiting.pop()
    found = claim(*given)
    host.feed(b"second")
    answer.callback(found)
    assert w.logged(w.console) == b"first second"


def test_what_comes_in_clear_behind_the_start_of_tls_is_not_looked_at_after_a_late_answer() -> None:
    asked = VMSession(Terms(("vmproxy",), b""), com_port=False, tls=True)
    start = bytes((IAC, SB, AUTHENTICATION, 0, 7, 0, 1, IAC, SE))
    for _ in asked.receive(verb(WILL, AUTHENTICATION) + session() + start):
        pass
    for _ in asked.receive(b"from somebody on the way"):
        pass
    assert asked.state == CLAIMING
    asked.serve()
    heard = []
    for action in asked.go_on():
        heard.append(action)
        if isinstance(action, StartTLS):
            asked.tls_started()
    assert StartTLS() in heard
    assert not [action for action in heard if isinstance(action, bytes)]
    assert asked.plain


def test_a_pair_that_comes_to_nothing_late_is_refused(w: VMWorld, late: Late) -> None:
    source = w.connect().feed(session())
    late.step()
    pair = source.begin(SEQUENCE)
    destination = w.connect("10.0.0.2").feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(PEER, pair))
    source.feed(sub(ABORT))
    late.step()
    assert PEER_OK not in [s[0] for s in destination.subs()]
    assert w.front.counters["refused peers"] == 1
    assert (w.console.link, destination.closed) == (source.protocol, True)


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("moves", [True, False])
def test_a_complete_may_be_answered_later(w: VMWorld, moves: bool, gone: bool) -> None:
    answer: Deferred[bool] = Deferred()
    w.front.broker.complete_move = lambda link, sequence: answer
    source, console = w.vm()
    destination = w.destination(source.begin(SEQUENCE)).feed(b"early ")
    console.send(b"held")
    destination.feed(sub(COMPLETE, SEQUENCE) + b"behind")
    assert (destination.protocol.session.state, console.state) == (COMPLETING, "migrating")
    if gone:
        destination.die()
    answer.callback(w.migrations.complete(destination.protocol, SEQUENCE) if moves else False)
    if gone and moves:  # it was the VM's connection already, and what it said is heard
        assert (console.state, console.link, w.logged(console)) == ("down", None, b"early behind")
        return
    if gone:
        assert (console.state, console.link, w.logged(console)) == ("migrating", source.protocol, b"")
        (event,) = w.trail(console, "discarded")
        assert event["bytes"] == len(b"early behind")
        return
    assert console.link is (destination if moves else source).protocol
    assert destination.data() == (b"held" if moves else b"")
    assert w.logged(console) == (b"early behind" if moves else b"")


def test_a_complete_whose_answer_fails_leaves_the_vmotion_pending(w: VMWorld) -> None:
    answer: Deferred[bool] = Deferred()
    ask, w.front.broker.complete_move = w.front.broker.complete_move, lambda link, sequence: answer
    source, console = w.vm()
    destination = w.destination(source.begin(SEQUENCE)).feed(sub(COMPLETE, SEQUENCE))
    answer.errback(RuntimeError("the directory is away"))
    assert (destination.closed, console.state) == (False, "migrating")
    w.front.broker.complete_move = ask
    destination.feed(sub(COMPLETE, SEQUENCE))
    assert console.link is destination.protocol


def test_a_connection_that_is_gone_when_its_complete_is_answered_takes_the_console_down(w: VMWorld) -> None:
    answer: Deferred[bool] = Deferred()
    w.front.broker.complete_move = lambda link, sequence: answer
    source, console = w.vm()
    destination = w.destination(source.begin(SEQUENCE)).feed(b"early" + sub(COMPLETE, SEQUENCE))
    assert w.migrations.complete(destination.protocol, SEQUENCE)
    destination.die()
    answer.callback(True)
    assert (console.state, console.link, w.logged(console)) == ("down", None, b"early")


def test_a_lookup_that_fails_is_told_and_closes_the_connection(w: VMWorld) -> None:
    answer: Deferred[Any] = Deferred()
    w.front.broker.claim_console = lambda identity, link: answer
    host = w.connect().feed(session())
    answer.errback(RuntimeError("the directory is away"))
    w.turn()
    assert host.closed
    assert len(w.directory) == 0


def test_an_answer_for_a_connection_that_is_gone_changes_nothing(w: VMWorld) -> None:
    answer: Deferred[Any] = Deferred()
    w.front.broker.find_peer = lambda link, pair, uuid: answer
    source, console = w.vm()
    pair = source.begin(SEQUENCE)
    destination = w.connect("10.0.0.2").feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(PEER, pair))
    destination.die()
    answer.callback(w.migrations.pending_of(console))
    assert PEER_OK not in [s[0] for s in destination.subs()]
    assert console.link is source.protocol


# The table.


def test_the_table_leads_to_every_state_and_out_of_it() -> None:
    assert {after for after, _ in TABLE.values()} | {"guarded"} == set(STATES)
    assert {state for state, _ in TABLE} == set(STATES)
    assert {what for _, what in TABLE} == {*FROM_HOST, *FROM_DRIVER}
    for state in STATES:
        assert TABLE[state, "close"] == ("closed", "")


def test_whatever_a_host_says_in_a_state_where_it_is_heard_has_its_place_in_the_table() -> None:
    for state in set(STATES) - ASKING - {"guarded", "closed"}:
        for what in set(FROM_HOST) - {"known"}:
            assert (state, what) in TABLE, (state, what)
    for state in ASKING:  # nothing is looked at
        assert not {(state, what) for what in FROM_HOST} & TABLE.keys()


def test_everything_that_the_table_does_is_done_by_the_session() -> None:
    for does in {does for _, does in TABLE.values()} - {""}:
        assert callable(getattr(VMSession, f"_{does}"))


def test_the_table_can_be_printed() -> None:
    lines = table_text().splitlines()
    assert len(lines) == len(TABLE)
    assert "open       PEER      -> peering    ask peer" in lines
