"""The short ways of a session (a first read that is known, an introduction) lead to what the long way leads to."""

from __future__ import annotations

from collections.abc import Iterator
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
from vmproxy.vm import session as sessions
from vmproxy.vm.actions import Action, Claim, Close, Complete, Judge, Peer, PortSettings, StartTLS
from vmproxy.vm.comport import settings_text
from vmproxy.vm.extension import FIRST_READS, Terms
from vmproxy.vm.session import VMSession
from vmproxy.vm.session_table import ASKING
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
        patch.setattr(sessions, "SHORT_READ", -1)
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

    :ivar seen: what the session did and said, and how it was then.
    """

    session: VMSession
    answers: str
    seen: list[object] = field(default_factory=list)
    asked: list[Action] = field(default_factory=list)

    def feed(self, data: bytes) -> None:
        for action in self.session.receive(data):
            self.perform(action)
        self.look()

    def look(self) -> None:
        self.act()
        self.seen += [self.session.take_data(), self.session.snapshot(), self.session.plain]

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
reads = st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map(b"".join), max_size=4)


def drive(terms: Terms, kind: dict[str, bool], answers: str, blocked: bool, script: list[bytes]) -> list[object]:
    kind = {**kind, "guarded": kind["guarded"] and kind["tls"]}
    driver = Driver(VMSession(terms, **kind), answers)
    if blocked:
        driver.session.block(True)
    driver.look()
    for read in script:
        driver.feed(read)
        driver.answer_late()
    return driver.seen


@given(
    kind=kinds,
    answers=st.sampled_from(["now", "late", "refused"]),
    blocked=st.booleans(),
    needs_name=st.booleans(),
    known=reads,
    before=reads,
    rest=st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join),
    cuts=st.lists(st.integers(0, 10_000), max_size=6),
)
@examples(600)
def test_the_short_ways_lead_to_what_the_long_way_leads_to(
    kind: dict[str, bool],
    answers: str,
    blocked: bool,
    needs_name: bool,
    known: list[bytes],
    before: list[bytes],
    rest: bytes,
    cuts: list[int],
) -> None:
    def terms() -> Terms:
        return Terms(("vmproxy",), b"vmproxy", needs_name, lambda: True)

    script = [*before, *pieces(rest, cuts)]
    with only_the_long_way():
        long = drive(terms(), kind, answers, blocked, script)
    warm = terms()
    for one in (*known, *script):
        drive(warm, kind, "now", False, [one])  # others have said it before
    assert drive(warm, kind, answers, blocked, script) == long
    assert drive(warm, kind, answers, blocked, script) == long


def test_a_first_read_is_remembered_and_an_introduction_needs_no_scanner(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = Terms(("vmproxy",), b"vmproxy")
    drive(terms, {"com_port": True, "tls": False, "guarded": False, "encrypted": False}, "now", False, [FIRST])
    assert len(terms.first_reads) == 1
    monkeypatch.setattr(Scanner, "feed", None)
    session = VMSession(terms, True)
    assert list(session.receive(FIRST)) == []
    assert [type(action) for action in session.receive(SECOND)] == [Claim]
    assert session.state in ASKING


def test_other_settings_forget_first_reads() -> None:
    terms = Terms(("vmproxy",), b"vmproxy")
    kind = {"com_port": True, "tls": False, "guarded": False, "encrypted": False}
    before = drive(terms, kind, "now", False, [FIRST])
    terms.accept(("other",))
    assert drive(terms, kind, "now", False, [FIRST]) != before
    assert not terms.first_reads  # a refusal is told each time


def test_first_reads_are_bounded() -> None:
    terms = Terms(("*",), b"vmproxy")
    kind = {"com_port": True, "tls": False, "guarded": False, "encrypted": False}
    for number in range(3 * FIRST_READS):
        drive(terms, kind, "now", False, [NEGOTIATION + sub(DO_PROXY, b"S%d" % number)])
        assert 0 < len(terms.first_reads) <= FIRST_READS
