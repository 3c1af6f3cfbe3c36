"""AUTHENTICATION with the type SSL: the bytes of RFC 2941, as in the captures, and nothing else understood."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.wire.authentication import ACCEPT, ASK, Answer, read_answer


def test_what_is_said() -> None:
    assert bytes((255, 250, 37, 1, 7, 0, 255, 240)) == ASK
    assert bytes((255, 250, 37, 2, 7, 0, 2, 255, 240)) == ACCEPT


@each(
    ("payload", "answer"),
    [
        (b"\0\x07\0\x01", Answer.START),
        (b"\0\0\0", Answer.DECLINED),
        (b"\0\0", Answer.DECLINED),
        (b"", Answer.NONSENSE),
        (b"\0\x07\0", Answer.NONSENSE),
        (b"\0\x07\0\x02", Answer.NONSENSE),
        (b"\0\x07\0\x01\x01", Answer.NONSENSE),
        (b"\0\x05\0\x01", Answer.NONSENSE),
        (b"\x01\x07\0\x01", Answer.NONSENSE),
        (b"\x02\x07\0\x02", Answer.NONSENSE),
        (b"\x03root", Answer.NONSENSE),
    ],
)
def test_what_a_host_answers(payload: bytes, answer: Answer) -> None:
    assert read_answer(payload) is answer


@given(st.binary(max_size=8))
def test_nothing_else_starts_tls(payload: bytes) -> None:
    started = read_answer(payload) is Answer.START
    assert started == (len(payload) == 4 and payload[:2] == b"\0\x07" and payload[3] == 1)
