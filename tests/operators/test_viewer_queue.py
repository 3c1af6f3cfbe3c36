"""What waits for a viewer: bounded, in order, and what is skipped is told with its exact size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vmproxy.operators.viewer_queue import PIECE, Late, ViewerQueue


def test_small_pieces_are_kept_together_and_their_times_apart() -> None:
    queue = ViewerQueue(10 * PIECE)
    for n in range(3 * PIECE):
        queue.put(100 + n / 1e9, b"x", n + 1)
    queue.put(200.0, b"later", 3 * PIECE + 5)
    assert (queue.start, queue.size, queue.end) == (0, 3 * PIECE + 5, 3 * PIECE + 5)
    pieces = queue.take()
    assert [len(data) for _, data in pieces] == [PIECE, PIECE, PIECE, 5]
    assert pieces[-1] == (200.0, b"later")
    assert (queue.take(), queue.size) == ([], 0)


def test_bytes_that_were_not_recorded_are_no_part_of_what_the_disk_goes_on_with() -> None:
    queue = ViewerQueue(100, Late.DISK)
    queue.put(0, b"before", 6)
    queue.put(0, b"after", 1011)
    assert (queue.start, queue.take()) == (1006, [(0, b"after")])


STEPS = st.lists(st.binary(max_size=60) | st.just("take"), max_size=60)


@given(STEPS, st.integers(1, 100))
def test_who_skips_gets_everything_but_what_is_told(steps: list[bytes | str], limit: int) -> None:
    queue = ViewerQueue(limit)
    said = b""
    place = skipped = 0
    for step in (*steps, "take"):
        if isinstance(step, bytes):
            said += step
            queue.put(0, step, len(said))
            assert queue.size <= limit
            assert queue.start == place
            continue
        for _, data in queue.take():
            assert said[place : place + len(data)] == data
            place += len(data)
        missed = queue.take_skipped()
        place += missed
        skipped += missed
        assert place == len(said)
    assert queue.skipped == skipped


@given(STEPS, st.integers(1, 100))
def test_who_reads_from_the_disk_is_kept_the_newest(steps: list[bytes | str], limit: int) -> None:
    queue = ViewerQueue(limit, Late.DISK)
    said = b""
    for step in steps:
        if isinstance(step, bytes):
            said += step
            queue.put(0, step, len(said))
            assert queue.size <= limit
            assert queue.end == len(said)
        else:
            start = queue.start
            assert b"".join(data for _, data in queue.take()) == said[start:]
