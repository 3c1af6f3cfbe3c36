"""Option negotiation: RFC 1143's table, agreement of the two ends, and no loops with anybody."""

from __future__ import annotations

from collections import Counter, deque
from itertools import product
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.properties import examples
from vmproxy.wire.options import Acceptable, Options, Side
from vmproxy.wire.telnet import (
    AUTHENTICATION,
    BINARY,
    COM_PORT,
    DO,
    DONT,
    ECHO,
    SGA,
    VMWARE_EXT,
    WILL,
    WONT,
    Negotiation,
    Scanner,
    negotiation,
)

US, PEER = Side.US, Side.PEER
KNOWN = (BINARY, ECHO, SGA, AUTHENTICATION, COM_PORT, VMWARE_EXT)
UNKNOWN = [option for option in range(256) if option not in KNOWN]
VERBS = (WILL, WONT, DO, DONT)
ALL = Acceptable(us=KNOWN, peer=KNOWN)
NOTHING = Acceptable(us=(), peer=())
# By side: what we say to turn it on and off, and what the peer says that it is on or off.
SAY_ON, SAY_OFF = {US: WILL, PEER: DO}, {US: WONT, PEER: DONT}
HEAR_ON, HEAR_OFF = {US: DO, PEER: WILL}, {US: DONT, PEER: WONT}

sides = st.sampled_from([US, PEER])
both_sides = pytest.mark.parametrize("side", [US, PEER])


def messages(stream: bytes) -> list[tuple[int, int]]:
    tokens = list(Scanner().feed(stream))
    assert all(isinstance(token, Negotiation) for token in tokens)
    return [(token.verb, token.option) for token in tokens if isinstance(token, Negotiation)]


# Asking


@both_sides
@pytest.mark.parametrize("option", KNOWN)
def test_asking_says_so_once_and_the_option_is_on_when_the_peer_agrees(option: int, side: Side) -> None:
    options = Options(NOTHING)
    assert options.ask(option, side, True) == negotiation(SAY_ON[side], option)
    assert options.ask(option, side, True) == b""
    assert not options.enabled(option, side)
    assert options.received(HEAR_ON[side], option) == b""
    assert options.enabled(option, side)
    assert options.ask(option, side, True) == b""


@both_sides
def test_a_refused_request_leaves_the_option_off_and_gets_no_answer(side: Side) -> None:
    options = Options(ALL)
    options.ask(BINARY, side, True)
    assert options.received(HEAR_OFF[side], BINARY) == b""
    assert not options.enabled(BINARY, side)


@both_sides
def test_a_refused_request_can_be_made_again(side: Side) -> None:
    options = Options(ALL)
    options.ask(BINARY, side, True)
    options.received(HEAR_OFF[side], BINARY)
    assert options.ask(BINARY, side, True) == negotiation(SAY_ON[side], BINARY)


@both_sides
def test_asking_for_off_what_is_off_says_nothing(side: Side) -> None:
    assert Options(ALL).ask(BINARY, side, False) == b""


def test_both_sides_of_one_option_can_be_asked_for_at_the_same_time() -> None:
    options = Options(NOTHING)
    assert options.ask(BINARY, US, True) == negotiation(WILL, BINARY)
    assert options.ask(BINARY, PEER, True) == negotiation(DO, BINARY)
    assert options.received(WILL, BINARY) == b""
    assert (options.enabled(BINARY, PEER), options.enabled(BINARY, US)) == (True, False)
    assert options.received(DO, BINARY) == b""
    assert (options.enabled(BINARY, PEER), options.enabled(BINARY, US)) == (True, True)


def test_one_side_of_an_option_can_be_agreed_to_and_the_other_refused() -> None:
    options = Options(NOTHING)
    options.ask(BINARY, US, True)
    options.ask(BINARY, PEER, True)
    assert options.received(WONT, BINARY) == options.received(DO, BINARY) == b""
    assert (options.enabled(BINARY, PEER), options.enabled(BINARY, US)) == (False, True)


def test_options_do_not_disturb_each_other() -> None:
    options = Options(NOTHING)
    on = set()
    for option, side in product(KNOWN, (US, PEER)):
        options.ask(option, side, True)
        options.received(HEAR_ON[side], option)
        on.add((option, side))
        assert {pair for pair in product(KNOWN, (US, PEER)) if options.enabled(*pair)} == on
    for option, side in product(KNOWN, (US, PEER)):
        options.received(HEAR_OFF[side], option)
        on.remove((option, side))
        assert {pair for pair in product(KNOWN, (US, PEER)) if options.enabled(*pair)} == on


@both_sides
def test_asking_for_an_option_without_state_is_an_error_of_the_caller(side: Side) -> None:
    with pytest.raises(KeyError):
        Options(ALL).ask(24, side, True)


@pytest.mark.parametrize("option", [2, 24, 255, 256, -1])
def test_only_options_with_state_can_be_acceptable(option: int) -> None:
    with pytest.raises(ValueError, match="not negotiable"):
        Acceptable(us=[option], peer=[])
    with pytest.raises(ValueError, match="not negotiable"):
        Acceptable(us=[], peer=[BINARY, option])


def test_acceptable_tells_the_sides_apart() -> None:
    acceptable = Acceptable(us=[ECHO], peer=[COM_PORT])
    assert [pair for pair in product(KNOWN, (US, PEER)) if pair in acceptable] == [(ECHO, US), (COM_PORT, PEER)]


# Being asked


@both_sides
def test_an_acceptable_offer_is_answered_once_and_its_repetition_never(side: Side) -> None:
    options = Options(ALL)
    assert options.received(HEAR_ON[side], SGA) == negotiation(SAY_ON[side], SGA)
    assert options.enabled(SGA, side)
    for _ in range(3):
        assert options.received(HEAR_ON[side], SGA) == b""
    assert options.enabled(SGA, side)


@both_sides
def test_an_option_that_we_asked_for_is_not_answered_when_it_is_offered_again(side: Side) -> None:
    options = Options(ALL)
    options.ask(SGA, side, True)
    for _ in range(3):
        assert options.received(HEAR_ON[side], SGA) == b""


@both_sides
@pytest.mark.parametrize("option", KNOWN)
def test_an_offer_that_is_not_acceptable_is_refused_exactly_once(option: int, side: Side) -> None:
    options = Options(NOTHING)
    assert options.received(HEAR_ON[side], option) == negotiation(SAY_OFF[side], option)
    for _ in range(3):
        assert options.received(HEAR_ON[side], option) == b""
    assert not options.enabled(option, side)


def test_every_unknown_option_is_refused_exactly_once_per_side() -> None:
    options = Options(ALL)
    for option, side in product(UNKNOWN, (US, PEER)):
        assert options.received(HEAR_ON[side], option) == negotiation(SAY_OFF[side], option)
    for option, side in product(UNKNOWN, (US, PEER)):
        assert options.received(HEAR_ON[side], option) == b""
        assert not options.enabled(option, side)


def test_off_for_what_is_off_gets_no_answer_for_any_option() -> None:
    options = Options(ALL)
    for option, side in product(range(256), (US, PEER)):
        assert options.received(HEAR_OFF[side], option) == b""
        assert not options.enabled(option, side)


@both_sides
def test_off_for_what_is_on_is_confirmed_once(side: Side) -> None:
    options = Options(ALL)
    options.received(HEAR_ON[side], BINARY)
    assert options.received(HEAR_OFF[side], BINARY) == negotiation(SAY_OFF[side], BINARY)
    assert not options.enabled(BINARY, side)
    assert options.received(HEAR_OFF[side], BINARY) == b""


@both_sides
def test_an_option_can_be_turned_on_again_after_the_peer_turned_it_off(side: Side) -> None:
    options = Options(ALL)
    options.received(HEAR_ON[side], BINARY)
    options.received(HEAR_OFF[side], BINARY)
    assert options.received(HEAR_ON[side], BINARY) == negotiation(SAY_ON[side], BINARY)
    assert options.enabled(BINARY, side)


@both_sides
def test_asking_overrides_what_is_acceptable(side: Side) -> None:
    options = Options(NOTHING)
    options.received(HEAR_ON[side], BINARY)
    assert options.ask(BINARY, side, True) == negotiation(SAY_ON[side], BINARY)
    assert options.received(HEAR_ON[side], BINARY) == b""
    assert options.enabled(BINARY, side)


# A change of mind while an answer is outstanding


@both_sides
def test_what_was_asked_for_and_then_not_wanted_is_turned_off_when_the_peer_agrees(side: Side) -> None:
    options = Options(ALL)
    options.ask(BINARY, side, True)
    assert options.ask(BINARY, side, False) == b""
    assert options.received(HEAR_ON[side], BINARY) == negotiation(SAY_OFF[side], BINARY)
    assert options.received(HEAR_OFF[side], BINARY) == b""
    assert not options.enabled(BINARY, side)


@both_sides
def test_what_was_turned_off_and_then_wanted_is_asked_for_when_the_peer_has_stopped(side: Side) -> None:
    options = Options(ALL)
    options.received(HEAR_ON[side], BINARY)
    assert options.ask(BINARY, side, False) == negotiation(SAY_OFF[side], BINARY)
    assert options.ask(BINARY, side, True) == b""
    assert options.received(HEAR_OFF[side], BINARY) == negotiation(SAY_ON[side], BINARY)
    assert not options.enabled(BINARY, side)
    assert options.received(HEAR_ON[side], BINARY) == b""
    assert options.enabled(BINARY, side)


@both_sides
def test_what_is_asked_for_again_and_then_refused_is_not_asked_for_a_third_time(side: Side) -> None:
    options = Options(ALL)
    options.received(HEAR_ON[side], BINARY)
    options.ask(BINARY, side, False)
    options.ask(BINARY, side, True)
    assert options.received(HEAR_OFF[side], BINARY) == negotiation(SAY_ON[side], BINARY)
    assert options.received(HEAR_OFF[side], BINARY) == b""
    assert not options.enabled(BINARY, side)


@both_sides
def test_two_changes_of_mind_cancel_out(side: Side) -> None:
    options = Options(ALL)
    options.ask(BINARY, side, True)
    assert options.ask(BINARY, side, False) == options.ask(BINARY, side, True) == b""
    assert options.received(HEAR_ON[side], BINARY) == b""
    options.ask(BINARY, side, False)
    assert options.ask(BINARY, side, True) == options.ask(BINARY, side, False) == b""
    assert options.received(HEAR_OFF[side], BINARY) == b""
    assert not options.enabled(BINARY, side)


def test_the_peer_performs_an_option_until_he_confirms_that_he_stopped() -> None:
    options = Options(ALL)
    options.received(WILL, BINARY)
    options.ask(BINARY, PEER, False)
    assert options.enabled(BINARY, PEER)
    options.received(WONT, BINARY)
    assert not options.enabled(BINARY, PEER)


def test_we_stop_performing_an_option_when_we_say_wont() -> None:
    # RFC 854: the command stands in the data stream at the point where it takes effect. What we send behind
    # WONT BINARY the peer reads as NVT, whether or not its DONT has come.
    options = Options(ALL)
    options.received(DO, BINARY)
    assert options.ask(BINARY, US, False) == negotiation(WONT, BINARY)
    assert not options.enabled(BINARY, US)


# RFC 1143, section 7, with its own variables


class Q:
    """One side of one option as the RFC writes it: a state and a one-place queue."""

    def __init__(self, acceptable: bool) -> None:
        self.acceptable = acceptable
        self.state, self.opposite = "NO", False
        self.refused = False
        self.unanswered = False  # an offer that met our silence: there the RFC says nothing

    def hear(self, on: bool) -> bool | None:
        """What to say: on, off or nothing."""
        match self.state, on:
            case "NO", True:
                if self.acceptable:
                    self.state = "YES"
                    return True
                self.unanswered, self.refused = self.refused, True
                return None if self.unanswered else False
            case "NO", False:
                self.unanswered = False
            case "YES", False:
                self.state = "NO"
                return False
            case "WANTNO", True:
                self.state = "YES" if self.opposite else "NO"
                self.opposite = False
            case "WANTNO", False:
                if self.opposite:
                    self.state, self.opposite = "WANTYES", False
                    return True
                self.state = "NO"
            case "WANTYES", True:
                if self.opposite:
                    self.state, self.opposite = "WANTNO", False
                    return False
                self.state = "YES"
            case "WANTYES", False:
                self.state, self.opposite = "NO", False
        return None

    def ask(self, on: bool) -> bool | None:
        match self.state:
            case "NO" if on:
                self.state = "WANTYES"
                return True
            case "YES" if not on:
                self.state = "WANTNO"
                return False
            case "WANTNO":
                self.opposite = on
            case "WANTYES":
                self.opposite = not on
        return None


@examples(300)
@given(
    acceptable=st.sets(st.tuples(st.sampled_from(KNOWN), sides)),
    events=st.lists(
        st.tuples(st.sampled_from(["hear", "ask"]), st.sampled_from(KNOWN[:2]), sides, st.booleans()), max_size=60
    ),
)
def test_every_event_is_answered_as_the_table_of_the_rfc_says(
    acceptable: set[tuple[int, Side]], events: list[tuple[str, int, Side, bool]]
) -> None:
    options = Options(Acceptable([o for o, s in acceptable if s is US], [o for o, s in acceptable if s is PEER]))
    table = {pair: Q(pair in acceptable) for pair in product(KNOWN, (US, PEER))}
    for kind, option, side, on in events:
        q = table[option, side]
        if kind == "hear":
            answer = options.received((HEAR_ON if on else HEAR_OFF)[side], option)
            expected = q.hear(on)
        elif q.unanswered:
            continue
        else:
            answer = options.ask(option, side, on)
            expected = q.ask(on)
        if expected is None:
            assert answer == b""
        else:
            assert answer == negotiation((SAY_ON if expected else SAY_OFF)[side], option)
        for pair, other in table.items():
            if other.state in ("YES", "NO", "WANTYES"):
                assert options.enabled(*pair) == (other.state == "YES")


# Two ends


class Ends:
    """Two tables with a wire between them, each direction in order."""

    def __init__(self, acceptable: list[Acceptable]) -> None:
        self.tables = [Options(each) for each in acceptable]
        self.wires: list[deque[tuple[int, int]]] = [deque(), deque()]  # to the table of the same index
        self.sent = 0

    def say(self, sender: int, stream: bytes) -> None:
        new = messages(stream)
        self.sent += len(new)
        self.wires[1 - sender].extend(new)

    def ask(self, who: int, option: int, side: Side, on: bool) -> None:
        self.say(who, self.tables[who].ask(option, side, on))

    def deliver(self, to: int) -> None:
        if self.wires[to]:
            self.say(to, self.tables[to].received(*self.wires[to].popleft()))

    def settle(self, limit: int) -> None:
        while any(self.wires):
            assert self.sent <= limit
            self.deliver(0)
            self.deliver(1)

    def disagreements(self) -> list[tuple[int, Side]]:
        """Seen from the first end."""
        first, second = self.tables
        return [
            (option, side)
            for option, side in product(range(256), (US, PEER))
            if first.enabled(option, side) != second.enabled(option, Side(1 - side))
        ]


acceptable_pairs = st.sets(st.tuples(st.sampled_from(KNOWN), sides))
deliveries = st.tuples(st.just("deliver"), st.integers(0, 1))
asks = st.tuples(st.just("ask"), st.integers(0, 1), st.sampled_from(KNOWN[:3]), sides, st.booleans())
scripts = st.lists(st.one_of(deliveries, asks), max_size=50)


def run(pairs: list[set[tuple[int, Side]]], script: list[tuple[Any, ...]]) -> Ends:
    ends = Ends([Acceptable([o for o, s in each if s is US], [o for o, s in each if s is PEER]) for each in pairs])
    asked = 0
    for kind, who, *rest in script:
        if kind == "deliver":
            ends.deliver(who)
            continue
        option, side, on = rest
        asked += 1
        ends.ask(who, option, side, on)
    # Each request makes at most its own message and the answer, as each answer makes none: a change of mind
    # is sent in place of the request that was queued.
    ends.settle(2 * asked)
    return ends


@examples(400)
@given(first=acceptable_pairs, second=acceptable_pairs, script=scripts)
def test_two_ends_exchange_at_most_two_messages_per_request_and_agree_in_the_end(
    first: set[tuple[int, Side]], second: set[tuple[int, Side]], script: list[tuple[object, ...]]
) -> None:
    assert run([first, second], script).disagreements() == []


@both_sides
def test_two_ends_agree_when_one_asks_for_what_it_refused_before(side: Side) -> None:
    # The second offer got no answer, so the peer takes the request as its answer, and sends none.
    other = Side(1 - side)
    ends = Ends([NOTHING, ALL])
    for _ in range(2):
        ends.ask(1, BINARY, other, True)
        ends.settle(10)
    ends.ask(0, BINARY, side, True)
    ends.settle(10)
    assert ends.disagreements() == []


@both_sides
def test_the_same_request_from_both_ends_at_once_needs_no_answers(side: Side) -> None:
    ends = Ends([ALL, ALL])
    ends.ask(0, SGA, side, True)
    ends.ask(1, SGA, Side(1 - side), True)
    ends.settle(2)
    assert ends.sent == 2
    assert ends.tables[0].enabled(SGA, side)
    assert ends.disagreements() == []


def test_the_whole_opening_is_agreed_on_without_a_superfluous_message() -> None:
    proxy = Acceptable(us=[BINARY, SGA, ECHO], peer=[BINARY, SGA, COM_PORT, VMWARE_EXT])
    ends = Ends([proxy, Acceptable(us=[BINARY, SGA, VMWARE_EXT], peer=[BINARY, SGA, ECHO])])
    ends.ask(1, AUTHENTICATION, US, True)
    for option in (BINARY, SGA, ECHO):
        ends.ask(0, option, US, True)
    for option in (BINARY, SGA, VMWARE_EXT):
        ends.ask(0, option, PEER, True)
    ends.settle(14)
    ends.ask(1, COM_PORT, US, True)
    ends.settle(16)
    assert ends.sent == 16
    on = {pair for pair in product(KNOWN, (US, PEER)) if ends.tables[0].enabled(*pair)}
    assert on == {
        (BINARY, US),
        (SGA, US),
        (ECHO, US),
        (BINARY, PEER),
        (SGA, PEER),
        (VMWARE_EXT, PEER),
        (COM_PORT, PEER),
    }
    assert ends.disagreements() == []


# Peers that do not play by the rules


@given(
    heard=st.lists(st.tuples(st.sampled_from(VERBS), st.one_of(st.sampled_from(KNOWN), st.integers(0, 255)))),
    acceptable=acceptable_pairs,
)
def test_whatever_is_heard_gets_at_most_one_answer_of_the_same_option_and_side(
    heard: list[tuple[int, int]], acceptable: set[tuple[int, Side]]
) -> None:
    options = Options(Acceptable([o for o, s in acceptable if s is US], [o for o, s in acceptable if s is PEER]))
    said: Counter[tuple[int, int]] = Counter()
    for verb, option in heard:
        answer = messages(options.received(verb, option))
        assert len(answer) <= 1
        for says, about in answer:
            assert about == option
            assert says in ((DO, DONT) if verb in (WILL, WONT) else (WILL, WONT))
            said[says, about] += 1
    for (verb, option), times in said.items():
        # More than one refusal is only ever the confirmation that something agreed upon has ended.
        if verb in (DONT, WONT):
            assert times <= 1 + said[{DONT: DO, WONT: WILL}[verb], option]


def stubborn(verb: int) -> int:
    """Answers every refusal with an insistence, and every request with a yes."""
    return {DONT: WILL, WONT: DO, DO: WILL, WILL: DO}[verb]


def contrary(verb: int) -> int:
    """Answers everything with a no."""
    return {DONT: WONT, WONT: DONT, DO: WONT, WILL: DONT}[verb]


@pytest.mark.parametrize("peer", [stubborn, contrary])
@given(
    acceptable=acceptable_pairs,
    first=st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 255))),
    script=st.lists(st.tuples(st.sampled_from(KNOWN), sides, st.booleans()), max_size=20),
)
@example(acceptable=set(), first=[(WILL, BINARY), (DO, 24)], script=[(BINARY, PEER, True), (BINARY, PEER, False)])
def test_a_peer_that_answers_everything_cannot_make_us_talk_for_ever(
    peer: object, acceptable: set[tuple[int, Side]], first: list[tuple[int, int]], script: list[tuple[int, Side, bool]]
) -> None:
    assert callable(peer)
    options = Options(Acceptable([o for o, s in acceptable if s is US], [o for o, s in acceptable if s is PEER]))
    heard = deque(first)
    for option, side, on in script:
        heard.extend((peer(verb), about) for verb, about in messages(options.ask(option, side, on)))
    handled = 0
    while heard:
        handled += 1
        assert handled <= 4 * (len(first) + len(script))
        heard.extend((peer(verb), about) for verb, about in messages(options.received(*heard.popleft())))


@given(acceptable=acceptable_pairs, script=st.lists(st.tuples(st.sampled_from(KNOWN), sides), max_size=20))
def test_requests_that_come_back_as_they_were_sent_do_not_go_round(
    acceptable: set[tuple[int, Side]], script: list[tuple[int, Side]]
) -> None:
    # A service that echoes what it gets is easily connected by mistake.
    options = Options(Acceptable([o for o, s in acceptable if s is US], [o for o, s in acceptable if s is PEER]))
    echoed = deque(message for pair in script for message in messages(options.ask(*pair, True)))
    handled = 0
    while echoed:
        handled += 1
        assert handled <= 4 * len(script)
        echoed.extend(messages(options.received(*echoed.popleft())))


def test_the_state_of_a_connection_stays_small() -> None:
    options = Options(ALL)
    for option, verb in product(range(256), VERBS):
        options.received(verb, option)
    assert not hasattr(options, "__dict__")
    assert all(getattr(options, name).bit_length() <= 512 for name in ("_states", "_refused"))
