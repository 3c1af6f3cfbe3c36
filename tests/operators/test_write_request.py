"""Who may write: the whole table of decisions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.access.policy import Right
from vmproxy.operators.write_request import Answer, WriteRequest, decide

SPY, WRITE, FORCE, RAW = (right.closure() for right in (Right.SPY, Right.WRITE, Right.FORCE, Right.RAW))
GRANTED = {Answer.WRITE, Answer.JOIN, Answer.FORCE}

plain, join, force = WriteRequest(), WriteRequest(join=True), WriteRequest(force=True)
read_only, because = WriteRequest(read_only=True), WriteRequest(force=True, reason="it hangs")
both = WriteRequest(join=True, force=True)


@each(
    ("request_", "rights", "shared", "reason_required", "alone", "contested"),
    [
        # The request, the rights, shared, reason required: the answer if nobody else writes, and if somebody does.
        (plain, SPY, False, False, Answer.NO_RIGHT, Answer.NO_RIGHT),
        (force, SPY, True, False, Answer.NO_RIGHT, Answer.NO_RIGHT),
        (read_only, FORCE, True, False, Answer.READ_ONLY, Answer.READ_ONLY),
        (plain, WRITE, False, False, Answer.WRITE, Answer.OCCUPIED),
        (plain, WRITE, True, False, Answer.WRITE, Answer.OCCUPIED),
        (plain, FORCE, False, True, Answer.WRITE, Answer.OCCUPIED),
        (join, WRITE, False, False, Answer.WRITE, Answer.NO_JOIN),
        (join, WRITE, True, False, Answer.WRITE, Answer.JOIN),
        (join, RAW, True, True, Answer.WRITE, Answer.JOIN),
        (force, WRITE, False, False, Answer.NO_FORCE, Answer.NO_FORCE),
        (force, RAW, False, False, Answer.NO_FORCE, Answer.NO_FORCE),
        (force, FORCE, False, False, Answer.WRITE, Answer.FORCE),
        (force, FORCE, True, False, Answer.WRITE, Answer.FORCE),
        (force, FORCE, False, True, Answer.WRITE, Answer.REASON),
        (WriteRequest(force=True, reason=" "), FORCE, False, True, Answer.WRITE, Answer.REASON),
        (because, FORCE, False, True, Answer.WRITE, Answer.FORCE),
        (because, WRITE, False, True, Answer.NO_FORCE, Answer.NO_FORCE),
        (both, WRITE, True, True, Answer.WRITE, Answer.JOIN),
        (both, FORCE, False, True, Answer.WRITE, Answer.REASON),
    ],
)
def test_a_request_is_decided(
    request_: WriteRequest, rights: Right, shared: bool, reason_required: bool, alone: Answer, contested: Answer
) -> None:
    assert decide(request_, rights, shared, reason_required, False) is alone
    assert decide(request_, rights, shared, reason_required, True) is contested


requests = st.builds(WriteRequest, st.booleans(), st.booleans(), st.booleans(), st.sampled_from(["", " ", "why"]))


@given(requests, st.integers(0, 63).map(Right), st.booleans(), st.booleans(), st.booleans())
def test_nothing_is_granted_without_the_right(
    wanted: WriteRequest, rights: Right, shared: bool, reason_required: bool, others_write: bool
) -> None:
    answer = decide(wanted, rights, shared, reason_required, others_write)
    if answer in GRANTED:
        assert Right.WRITE in rights
        assert not wanted.read_only
    if answer is Answer.FORCE:
        assert Right.FORCE in rights
        assert wanted.force
        assert others_write
        assert wanted.reason.strip() or not reason_required
    if answer is Answer.JOIN:
        assert shared
        assert wanted.join
    if answer is Answer.WRITE:
        assert not others_write
