"""The short ways of a session (what others have said too, an introduction) lead to what the long way leads to."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes import VM_A
from tests.support.properties import examples
from tests.support.vm import (
    ABORT,
    AUTHENTICATION,
    BEGIN,
    BINARY,
    BIOS,
    BRK,
    CAPTURED_LIST,
    COM_PORT,
    COMPLETE,
    DO_PROXY,
    DONT,
    EXT,
    IAC,
    KNOWN_1,
    LOCATION,
    NAME,
    NEGOTIATION,
    PEER,
    SPELLED_A,
    SPELLED_B,
    UNKNOWN_2,
    VC_UUID,
    WILL,
    WONT,
    com,
    sub,
    verb,
)
from vmproxy.vm import session_reader
from vmproxy.vm.actions import Action, Claim, Close, Complete, Judge, Peer, PortSettings, StartTLS
from vmproxy.vm.beginning import BEGINNINGS, SEEN
from vmproxy.vm.comport import settings_text
from vmproxy.vm.extension import Terms
from vmproxy.vm.session import VMSession
from vmproxy.vm.session_machine import LOG
from vmproxy.wire.telnet import Scanner

FIRST = verb(WILL, AUTHENTICATION) + NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(DO_PROXY, b"Svmproxy")
SECOND = sub(VC_UUID, SPELLED_A) + sub(NAME, b"web") + sub(BIOS, SPELLED_B) + sub(LOCATION, SPELLED_B)
PIECES = [
    FIRST,
    SECOND,
    SECOND[: SECOND.index(sub(BIOS, SPELLED_B))],
    NEGOTIATION,
    sub(KNOWN_1, CAPTURED_LIST),
    sub(DO_PROXY, b"Svmproxy"),
    sub(DO_PROXY, b"Sother"),
    sub(DO_PROXY, b"Ctelnet://far.example:23"),
    sub(VC_UUID, SPELLED_A),
    sub(VC_UUID, SPELLED_B),
    sub(VC_UUID, b"junk"),
    sub(NAME, b"web"),
    sub(NAME, b"\xff\xf0"),
    sub(NAME, b""),
    sub(BIOS, b"junk") + sub(NAME, b"after junk"),
    sub(LOCATION, SPELLED_B),
    sub(UNKNOWN_2, b"\x01"),
    sub(99),
    sub(BEGIN, b"\x01\x02\x03\x04"),
    sub(PEER, b"\x01\x02\x03\x04secretse"),
    sub(COMPLETE, b"\x01\x02\x03\x04"),
    sub(ABORT, b"\x01\x02\x03\x04"),
    verb(WILL, COM_PORT),
    com(1, (9600).to_bytes(4, "big")),
    verb(WONT, BINARY),
    verb(DONT, EXT),
    verb(WILL, AUTHENTICATION) + bytes((IAC, 250, AUTHENTICATION, 0, 1, IAC, 240)),
    bytes((IAC, BRK)),
    bytes((IAC, IAC)),
    b"output\r\0",
    b"\0",
    b"\xff\xfa\xe8",
    b"\xff\xf0",
    b"PRTV",
]


@contextmanager
def only_the_long_way() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_reader, "SHORT_READ", -1)
        yield


@dataclass
class Console:
    uuid: UUID = VM_A
    vc_uuid: UUID = VM_A
    port: str = "1"
    uri: str = "vmproxy"


@dataclass
class Driver:
    """Drives a session, and answers as it is told: at once, late, or not at all.

    :ivar looks: whether it looks at all of the session after each step: one that is looked at shares nothing.
    :ivar seen: what the session did and said, and how it was then.
    """

    session: VMSession
    answers: str
    looks: bool
    seen: list[object] = field(default_factory=list)
    asked: list[Action] = field(default_factory=list)

    def feed(self, data: bytes) -> None:
        answer = self.session.along(data) if session_reader.SHORT_READ > 0 else None
        if answer is None:
            for action in self.session.receive(data):
                self.perform(action)
        self.look(answer or b"")

    def meet(self, event: str) -> None:
        """Something else happens than that bytes come."""
        session = self.session
        if event == "key":
            session.send(session.encode(b"\r"))
        elif event == "break":
            session.send_break()
        elif event == "held":
            session.hold(LOG, True)
        elif event == "free":
            session.hold(LOG, False)
        elif event == "late":
            session.identify(late=True)
        elif event == "moved":
            session.retire()
        elif event == "gone":
            session.close()
        else:
            session.block(event == "full")
        self.look()

    def look(self, answer: bytes = b"") -> None:
        self.act()
        session = self.session
        self.seen += [answer + session.take_data(), session.plain, session.state, session.commands, session.resting]
        if self.looks:
            self.seen.append(session.snapshot())

    def act(self) -> None:
        while actions := self.session.take_actions():
            for action in actions:
                self.perform(action)

    def perform(self, action: Action) -> None:
        self.seen.append(settings_text(action.server) if isinstance(action, PortSettings) else action)
        if isinstance(action, Close):
            self.session.close()
        elif isinstance(action, StartTLS):
            self.session.accept_tls()
            self.session.tls_started()
        elif isinstance(action, Claim | Peer | Complete | Judge):
            if self.answers == "late":
                self.asked.append(action)
            else:
                self.answer(action)

    def answer(self, action: Action) -> None:
        session = self.session
        if isinstance(action, Judge):
            session.judged(action.uri, "" if self.answers != "refused" else "no")
        elif self.answers == "refused":
            if isinstance(action, Claim):
                session.refused("no")
            elif isinstance(action, Peer):
                session.peer_refused("no")
            else:
                session.not_completed()
        elif isinstance(action, Peer):
            session.peer_accepted(Console(), b"\x01\x02\x03\x04")
        else:
            session.carry(Console(), None, True)
            self.seen.append(session.serve())

    def answer_late(self) -> None:
        asked, self.asked = self.asked, []
        for action in asked:
            self.answer(action)
            self.act()
            for more in self.session.go_on():
                self.perform(more)
        if asked:
            self.look()


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(at)]


kinds = st.fixed_dictionaries(
    {"com_port": st.booleans(), "tls": st.booleans(), "guarded": st.booleans(), "encrypted": st.booleans()}
)
EVENTS = ["key", "break", "held", "free", "late", "moved", "gone", "full", "empty"]
reads = st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map(b"".join), max_size=4)


def drive(
    terms: Terms, kind: dict[str, bool], script: Sequence[bytes | str], answers: str = "now", looks: bool = False
) -> list[object]:
    kind = {**kind, "guarded": kind["guarded"] and kind["tls"]}
    driver = Driver(VMSession(terms, **kind), answers, looks)
    driver.look()
    for step in script:
        if isinstance(step, bytes):
            driver.feed(step)
        else:
            driver.meet(step)
        driver.answer_late()
    driver.looks = True
    driver.look()
    return driver.seen


PLAIN_KIND = {"com_port": True, "tls": False, "guarded": False, "encrypted": False}


@given(
    kind=kinds | st.just(PLAIN_KIND),
    answers=st.sampled_from(["now", "late", "refused"]),
    looks=st.booleans(),
    needs_name=st.booleans(),
    known=reads,
    before=reads,
    rest=st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join),
    cuts=st.lists(st.integers(0, 10_000), max_size=6),
    events=st.lists(st.tuples(st.integers(0, 12), st.sampled_from(EVENTS)), max_size=3),
)
@examples(600)
def test_the_short_ways_lead_to_what_the_long_way_leads_to(
    kind: dict[str, bool],
    answers: str,
    looks: bool,
    needs_name: bool,
    known: list[bytes],
    before: list[bytes],
    rest: bytes,
    cuts: list[int],
    events: list[tuple[int, str]],
) -> None:
    def terms() -> Terms:
        return Terms(("vmproxy",), b"vmproxy", needs_name, lambda: True)

    script: list[bytes | str] = [*before, *pieces(rest, cuts)]
    for at, event in events:
        script.insert(at, event)
    with only_the_long_way():
        long = drive(terms(), kind, script, answers, looks)
    warm = terms()
    for one in known:
        drive(warm, kind, [one])  # others have said it before
    for _ in range(4):  # each time one more of its reads may be learned
        drive(warm, kind, script)
    assert drive(warm, kind, script, answers, looks) == long
    assert drive(warm, kind, script, answers, looks) == long


# As hosts say it, in two reads and in three.
TWO = [FIRST, SECOND]
THREE = [NEGOTIATION, sub(KNOWN_1, CAPTURED_LIST) + sub(DO_PROXY, b"Svmproxy"), SECOND + verb(WILL, COM_PORT)]


def shares(session: VMSession) -> bool:
    """Whether a session has no parts of its own."""
    return session._parts is None


@pytest.mark.parametrize("script", [TWO, THREE], ids=["two", "three"])
def test_a_host_that_says_what_others_say_needs_no_scanner_and_no_parts_of_its_own(
    script: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = Terms(("vmproxy",), b"vmproxy")
    first = drive(terms, PLAIN_KIND, script)
    for _ in range(2 * len(script)):
        assert drive(terms, PLAIN_KIND, script) == first
    monkeypatch.setattr(Scanner, "feed", None)
    driver = Driver(VMSession(terms, True), "now", False)
    driver.look()
    for read in script:
        assert shares(driver.session)
        driver.feed(read)
    assert driver.session.plain
    assert shares(driver.session)
    driver.looks = True
    driver.look()
    assert driver.seen == first
    assert not shares(driver.session)


def test_what_others_say_behind_their_introduction_counts_for_the_output_behind_that() -> None:
    script = [FIRST, SECOND + verb(WONT, BINARY), b"a\r\0b"]
    with only_the_long_way():
        long = drive(Terms(("vmproxy",), b"vmproxy"), PLAIN_KIND, script)
    assert b"a\rb" in long
    terms = Terms(("vmproxy",), b"vmproxy")
    for _ in range(6):
        assert drive(terms, PLAIN_KIND, script) == long


def test_other_settings_hold_for_hosts_that_have_begun() -> None:
    terms = Terms(("vmproxy",), b"vmproxy")
    for _ in range(4):
        drive(terms, PLAIN_KIND, THREE)
    assert terms.beginnings.count >= 2
    driver = Driver(VMSession(terms, True), "now", False)
    driver.feed(THREE[0])
    terms.accept(("other",))
    driver.feed(THREE[1])
    assert "WONT-PROXY" in str(driver.seen)
    count = terms.beginnings.count
    drive(terms, PLAIN_KIND, [FIRST])
    assert terms.beginnings.count == count  # a refusal is told each time


def test_beginnings_are_bounded() -> None:
    terms = Terms(("*",), b"vmproxy")
    for number in range(3 * BEGINNINGS):
        for _ in range(2):
            drive(terms, PLAIN_KIND, [NEGOTIATION + sub(DO_PROXY, b"S%d" % number)])
        assert terms.beginnings.count <= BEGINNINGS
    assert terms.beginnings.count > 0


def test_who_stays_at_a_beginning_keeps_none_of_those_behind_it_when_they_are_forgotten() -> None:
    terms = Terms(("vmproxy",), b"vmproxy")
    stays = VMSession(terms, True)
    for _ in range(2):
        speaks = VMSession(terms, True)
        for n in range(5):
            deque(speaks.receive(verb(WILL, 100 + n)), 0)
    begun = stays._begun
    assert begun is not None
    assert begun.steps
    (step,) = begun.steps.values()
    terms.beginnings.forget()
    assert not begun.steps
    assert not step.after.steps
    deque(stays.receive(FIRST + SECOND), 0)
    assert stays.state == "claiming"


def test_a_host_that_says_a_lot_is_not_learned_from() -> None:
    terms = Terms(("*",), b"vmproxy")
    for _ in range(20):
        drive(terms, PLAIN_KIND, [verb(WILL, COM_PORT) * 20 + verb(WONT, COM_PORT) * n for n in range(20)])
    assert 0 < terms.beginnings.count < 10


def test_what_one_vm_alone_says_is_not_learned_and_not_remembered_without_bound() -> None:
    terms = Terms(("*",), b"vmproxy")
    for number in range(2 * SEEN):
        drive(terms, PLAIN_KIND, [NEGOTIATION + sub(DO_PROXY, b"S%d" % number)])
    assert terms.beginnings.count == 0
    assert len(terms.beginnings._seen) <= SEEN
