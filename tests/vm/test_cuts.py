"""However the bytes of a session are cut, the same comes of it: answers, consoles, logs, events."""

from __future__ import annotations

from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from tests.support.fakes import VM_A
from tests.support.properties import examples
from tests.support.scripts import HANDSHAKES, LIST, SESSIONS, Cutter, Outcome, bytewise, run, whole
from tests.support.vm import (
    DO,
    DO_PROXY,
    EXT,
    GET_BIOS,
    GET_LOCATION,
    GET_NAME,
    GET_VC_UUID,
    NAME,
    SPELLED_A,
    VC_UUID,
    WILL,
    WILL_PROXY,
    WONT_PROXY,
    parse,
    sub,
    verb,
)

_whole: dict[str, Outcome] = {}


def expected(name: str) -> Outcome:
    """What comes of a session that arrives in whole steps."""
    if name not in _whole:
        _whole[name] = run(SESSIONS[name], whole)
    return _whole[name]


@pytest.mark.parametrize("name", HANDSHAKES)
@pytest.mark.parametrize("cutter", [whole, bytewise])
def test_a_handshake_in_any_order_ends_in_service(name: str, cutter: Cutter) -> None:
    outcome = run(HANDSHAKES[name], cutter)
    ((uuid, port, *_, link),) = outcome.consoles
    assert (uuid, port, link) == (VM_A, "1", "a")
    codes = [s[0] for s in outcome.subs("a")]
    assert codes.count(WILL_PROXY) == 1
    assert WONT_PROXY not in codes
    for question in (GET_VC_UUID, GET_NAME, GET_BIOS, GET_LOCATION):
        assert codes.count(question) == 1
    # Told once, before anything else of the option.
    assert codes.index(1) == 0
    assert codes.count(1) == 1


@each("name", SESSIONS)
def test_a_session_byte_by_byte_is_the_session_in_whole_reads(name: str) -> None:
    assert run(SESSIONS[name], bytewise) == expected(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_cut_once_anywhere_is_the_session_in_whole_reads(name: str) -> None:
    longest = max(len(data) for _, data in SESSIONS[name] if data)
    for cut in range(1, longest):
        assert run(SESSIONS[name], lambda data, cut=cut: (cut,)) == expected(name), f"cut at {cut}"


@given(name=st.sampled_from(sorted(SESSIONS)), seed=st.integers(0, 2**32), mean=st.integers(2, 40))
@examples(150)
def test_a_session_cut_at_random_is_the_session_in_whole_reads(name: str, seed: int, mean: int) -> None:
    random = Random(seed)
    outcome = run(SESSIONS[name], lambda data: [c for c in range(len(data)) if not random.randrange(mean)])
    assert outcome == expected(name)


def test_the_whole_sessions_come_out_as_they_should() -> None:
    # The comparisons above would be content with two equal wrong results.
    assert expected("every byte, doubled where it must be").logs == [bytes(range(256)) + b"\r\n\r\0\r\r\n\0\r"]
    assert expected("data around and between the commands").logs == [b"BIOS\r\nonetwothreefour\xff"]
    assert expected("a line that is not 8-bit clean yet").logs == [b"a\r\nb\rc\r\rda\r\nb\r\0c"]
    assert expected("a line that stops being 8-bit clean").logs == [b"\r\0x\ry\r\n\r"]
    assert expected("telnet commands inside the data").logs == [b"123456789"]
    assert expected("refused services").consoles == []
    assert expected("a UUID that is none").logs == [b"hello"]
    motion = expected("a vMotion")
    assert motion.logs == [b"from the source from the destination and morethe last of the source"]
    assert (motion.data("a"), motion.data("b")) == (b"", b"typed more")
    early = expected("a vMotion whose source closes before COMPLETE")
    assert early.logs == [b"from the source the last of the source from the destination"]
    assert early.data("b") == b"typed"
    again = expected("an aborted vMotion, and another one")
    assert (again.data("a"), again.data("b"), again.data("c")) == (b"held", b"", b"")
    assert again.logs == [b"goes onhere"]
    assert again.consoles[0][-1] == "c"


def test_another_identity_in_mid_session_ends_the_connection_before_what_follows_it() -> None:
    # What follows in the same read is another VM's output, and must not end up in this one's log.
    outcome = run(SESSIONS["another identity in mid-session"], whole)
    assert outcome.closed["a"]
    assert outcome.logs == [b"mine"]


def test_a_destination_that_is_another_vm_does_not_get_the_console_with_the_same_read() -> None:
    # PEER, the identity that contradicts it, and COMPLETE arrive in one read: the operator's keys would go to
    # another VM.
    outcome = run(SESSIONS["a destination that is another VM"], whole)
    assert outcome.closed == {"a": False, "b": True}
    assert outcome.data("b") == b""
    assert outcome.logs == [b""]
    assert outcome.consoles[0][-1] == "a"


def test_a_destination_that_asks_for_a_proxy_first_still_waits_for_complete() -> None:
    # A DO-PROXY on that connection is not in the protocol; but it must not cost the output of the source that is
    # still under way, nor what the destination sent early.
    outcome = run(SESSIONS["a destination that asks for a proxy first"], whole)
    assert outcome.logs == [b"1234"]
    assert outcome.consoles[0][-1] == "b"


@pytest.mark.slow
def test_every_permutation_of_what_identifies_a_vm_is_accepted() -> None:
    parts = {
        "will": verb(WILL, EXT),
        "list": LIST,
        "wants": sub(DO_PROXY, b"Svmproxy"),
        "uuid": sub(VC_UUID, SPELLED_A),
        "name": sub(NAME, b"web"),
        "data": b"boot",
    }
    for order in permutations(parts):
        outcome = run([("a", b"".join(parts[p] for p in order))], whole)
        assert outcome.logs == [b"boot"], order
        assert outcome.consoles[0][2] == "web", order


def test_the_opening_asks_for_the_extension_before_the_vm_has_said_anything() -> None:
    outcome = run([("a", b"")], whole)
    assert parse(outcome.sent["a"]) == [
        ("will", 0),
        ("will", 3),
        ("will", 1),
        ("do", 0),
        ("do", 3),
        ("do", EXT),
    ]
    assert verb(DO, EXT) in outcome.sent["a"]
