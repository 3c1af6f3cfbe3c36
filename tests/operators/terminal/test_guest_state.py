"""What a guest has done to a terminal is undone, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from tests.support.terminal import Terminal
from vmproxy.operators.terminal import guest_state
from vmproxy.operators.terminal.guest_state import UNKNOWN_LIMIT, GuestState
from vmproxy.operators.terminal.replay_filter import USUAL

LEFT_ON = [
    (b"\x1b[?1049h", b"\x1b[?1049l"),
    (b"\x1b[?47h", b"\x1b[?47l"),
    (b"\x1b[?1000h", b"\x1b[?1000l"),
    (b"\x1b[?1002;1006h", b"\x1b[?1002l\x1b[?1006l"),
    (b"\x1b[?1004h", b"\x1b[?1004l"),
    (b"\x1b[?2004h", b"\x1b[?2004l"),
    (b"\x1b[?2026h", b"\x1b[?2026l"),
    (b"\x1b[?25l", b"\x1b[?25h"),
    (b"\x1b[?7l", b"\x1b[?7h"),
    (b"\x1b[?1h\x1b=", b"\x1b[?1l\x1b>"),
    (b"\x1b[?4711h", b"\x1b[?4711l"),
    (b"\x1b[4h", b"\x1b[4l"),
    (b"\x1b[12l", b"\x1b[12h"),
    (b"\x1b[5;10r", b"\x1b[r\x1b[999;1H"),
    (b"\x1b[?6h", b"\x1b[?6l\x1b[999;1H"),
    (b"\x1b[?69h\x1b[5;20s", b"\x1b[?69l\x1b[999;1H"),
    (b"\x1b[4 q", b"\x1b[0 q"),
    (b"\x1b[>1u", b"\x1b[<99u"),
    (b"\x1b[>4;2m", b"\x1b[>4m"),
    (b"\x1b%@", b"\x1b%G"),
    (b"\x1b[3g", b"\x1b[?5W"),
    (b"\x1b]4;1;rgb:00/00/00\x07", b"\x1b]104\x1b\\"),
    (b"\x1b]11;#000000\x1b\\", b"\x1b]111\x1b\\"),
    (b"\x1b]P0aabbcc", b"\x1b]R\x1b\\"),
    (b"\x1b[5i", b"\x1b[4i"),
    (b"\x1b[1$}", b"\x1b[0$}"),
    (b"\xc2\x9b?1000h", b"\x1b[?1000l"),
    (b"\x9b?1000h", b"\x1b[?1000l"),
]


def undone(*pieces: bytes) -> bytes:
    state = GuestState()
    for piece in pieces:
        state.feed(piece)
    return state.undo()


@each(("left_on", "undo"), LEFT_ON)
def test_what_is_left_on_is_undone_wherever_it_is_cut(left_on: bytes, undo: bytes) -> None:
    assert undone(b"x" + left_on + b"y") == undo + USUAL
    for cut in range(len(left_on)):
        assert undone(left_on[:cut], left_on[cut:]) == undo + USUAL


@each(
    "data",
    [
        *(b"\x1b[?1049h\x1b[?1049l", b"\x1b[?25l\x1b[?25h", b"\x1b[5;9r\x1b[r", b"\x1b[5;9r\x1b[1;r\x1b[;r\x1b[r"),
        *(b"\x1b[?1000;1006h\x1b[?1000;1006l", b"\x1b[?1003h\x1bc", b"\x1b[?25l\x1b[5;8r\x1b[!p", b"\x1b[?1048h"),
        *(b"\x1b=\x1b>", b"\x1b[1;31m", b"\x1b[2J\x1b[5;5H", b"\x1b]0;title\x07", b"\x1b(0", b"\x1b[6n"),
    ],
)
def test_what_the_guest_has_put_right_itself_is_left_alone(data: bytes) -> None:
    assert undone(data) == USUAL


def test_plain_text_leaves_nothing_to_undo_and_what_is_undone_is_forgotten() -> None:
    assert undone("one\r\ntwo €\t\b".encode()) == b""
    state = GuestState()
    state.feed(b"\x1b[?1049h")
    assert state.undo()
    assert state.undo() == b""


def test_a_sequence_that_is_cut_is_cancelled_first_and_the_alternate_screen_left_last() -> None:
    assert undone(b"\x1b[?1049h\x1b[?25l\x1b[3;9r\x1b]0;ti") == (b"\x18\x1b[?25h\x1b[r\x1b[999;1H\x1b[?1049l" + USUAL)


def test_a_full_screen_program_leaves_no_trace_on_a_terminal() -> None:
    terminal = Terminal(80, 24)
    program = b"\x1b[?1049h\x1b[?25l\x1b[5;10r\x1b[?7l\x1b[?6h\x1b[4h\x1b[1;7mreverse\x1b(0qqq"
    terminal.feed(b"$ ssh\r\n" + program + undone(program) + b"done")
    assert not terminal.alternate
    assert terminal.wraps
    assert not terminal.screen.cursor.hidden
    assert terminal.screen.margins is None
    assert not terminal.screen.cursor.attrs.reverse
    assert terminal.line("done")


def test_modes_that_nobody_knows_are_bounded_and_push_no_other_out() -> None:
    state = GuestState()
    for number in range(3000, 3000 + 10 * UNKNOWN_LIMIT):
        state.feed(b"\x1b[?%dh" % number)
    state.feed(b"\x1b[?1049;1000h")
    undo = state.undo()
    assert undo.count(b"\x1b") < UNKNOWN_LIMIT + 10
    assert b"\x1b[?1049l" in undo
    assert b"\x1b[?1000l" in undo


def test_what_many_look_at_is_worked_out_once_and_each_sequence_in_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[bytes] = []
    sequences: list[bytes] = []
    take = guest_state._Found.take

    def unfinished(data: bytes) -> int:
        pieces.append(data)
        return len(data)

    def counted(found: guest_state._Found, sequence: bytes) -> None:
        sequences.append(sequence)
        take(found, sequence)

    monkeypatch.setattr(guest_state, "unfinished", unfinished)
    monkeypatch.setattr(guest_state._Found, "take", counted)
    viewers = [GuestState() for _ in range(100)]
    data = b"\x1b[?1001h\x1b[1;31mred\x1b[m" * 1000 + b"\x1b[?1001l\x1b[?25l"
    for viewer in viewers:
        viewer.feed(data)
    assert len(pieces) == 1
    assert sequences == [b"\x1b[?1001h", b"\x1b[?1001l", b"\x1b[?25l"]
    assert {viewer.undo() for viewer in viewers} == {b"\x1b[?25h" + USUAL}


@given(st.lists(st.sampled_from([a for a, _ in LEFT_ON] + [b"\x1b", b"[", "€".encode(), b"\x0e", b"x"])), st.data())
def test_it_does_not_matter_where_output_is_cut(pieces: list[bytes], draw: st.DataObject) -> None:
    data = b"".join(pieces)
    cut = draw.draw(st.integers(0, len(data)))
    whole, state = GuestState(), GuestState()
    whole.feed(data)
    state.feed(data[:cut])
    state.feed(data[cut:])
    assert state.within == whole.within
    assert state.undo() == whole.undo()


def test_a_pause_puts_right_what_can_be_had_again_and_no_more() -> None:
    # Of a colour's number and of a printer, the rest is not known, or nobody should be asked twice.
    once = {b"\x1b]4;1;rgb:00/00/00\x07", b"\x1b]11;#000000\x1b\\", b"\x1b]P0aabbcc", b"\x1b[5i"}
    for left_on, undo in LEFT_ON:
        state = GuestState("latin-1" if left_on[:1] == b"\x9b" else "utf-8")
        state.feed(left_on)
        again = GuestState()
        again.feed(state.redo)
        if left_on in once:
            assert (state.pause, state.redo) == (b"", b"")
        elif state.alternate:
            assert (state.pause, state.redo, state.alternate) == (b"", b"", left_on)
        else:
            assert state.pause == undo.removesuffix(b"\x1b[999;1H")
            assert again.pause == state.pause
        assert state.undo() == undo + USUAL
