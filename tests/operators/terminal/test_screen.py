"""Drawing: what is sent shows what was meant on a real interpreter, and no more is sent than is needed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from tests.support.terminal import Terminal
from vmproxy.operators.terminal.screen import ENTER, LEAVE, REVERSE, Row, Screen, bounded, usable

LINES = st.lists(
    st.text(st.characters(categories=["L", "N", "P", "Zs"], max_codepoint=0xFFFF), max_size=30), max_size=8
)


def shown(*texts: str) -> list[Row]:
    return [Row(text) for text in texts]


def test_what_is_drawn_is_on_the_screen_and_the_cursor_where_it_belongs() -> None:
    screen, terminal = Screen((20, 4)), Terminal(20, 4)
    terminal.feed(b"something else\r\n" + ENTER + screen.draw(shown("one", "two", "", "four"), (1, 3)))
    assert terminal.lines == ["one", "two", "", "four"]
    assert terminal.cursor == (1, 3)


def test_only_lines_that_changed_are_sent() -> None:
    screen, terminal = Screen((20, 3)), Terminal(20, 3)
    terminal.feed(screen.draw(shown("one", "two", "three"), (0, 0)))
    update = screen.draw(shown("one", "zwei", "three"), (0, 0))
    assert b"zwei" in update
    assert b"one" not in update
    assert b"three" not in update
    terminal.feed(update)
    assert terminal.lines == ["one", "zwei", "three"]
    assert terminal.cursor == (0, 0)


def test_nothing_is_sent_where_nothing_changed() -> None:
    screen = Screen((20, 3))
    screen.draw(shown("one"), (0, 0))
    assert screen.draw(shown("one"), (0, 0)) == b""
    assert screen.draw(shown("one"), (0, 1)) == b"\x1b[1;2H"


def test_after_a_new_size_everything_is_drawn_again() -> None:
    screen, terminal = Screen((20, 3)), Terminal(20, 3)
    terminal.feed(screen.draw(shown("one", "two", "three"), (0, 0)))
    terminal.resize(10, 2)
    screen.resize((10, 2))
    terminal.feed(screen.draw(shown("one", "something long", "three"), (0, 0)))
    assert terminal.lines == ["one", "something…"]


def test_a_full_line_in_the_last_row_does_not_scroll() -> None:
    screen, terminal = Screen((10, 2)), Terminal(10, 2)
    terminal.feed(ENTER + screen.draw(shown("first", "0123456789"), (0, 0)))
    assert terminal.lines == ["first", "0123456789"]


def test_a_line_in_reverse_ends_with_its_text() -> None:
    screen, terminal = Screen((10, 2)), Terminal(10, 2)
    terminal.feed(screen.draw([Row("a"), Row("b   ", REVERSE)], (0, 0)))
    assert terminal.reversed == [1]
    assert not terminal.screen.buffer[1][5].reverse


def test_what_is_not_fit_to_be_shown_is_not_sent() -> None:
    sent = Screen((40, 2)).draw(shown("a\x1b[31mb\u202ec"), (0, 0))
    assert b"\\x1b[31mb\\u202ec" in sent


def test_leaving_puts_back_what_was_there() -> None:
    screen, terminal = Screen((20, 3)), Terminal(20, 3)
    terminal.feed(b"$ ssh\r\n" + ENTER + screen.draw(shown("menu"), (0, 0)))
    assert terminal.alternate
    assert not terminal.wraps
    terminal.feed(LEAVE)
    assert not terminal.alternate
    assert terminal.wraps
    assert terminal.lines[0] == "$ ssh"


@given(LINES, LINES, st.integers(2, 30), st.integers(1, 8))
def test_an_update_shows_the_same_as_drawing_everything(
    before: list[str], after: list[str], width: int, height: int
) -> None:
    screen, fresh = Screen((width, height)), Screen((width, height))
    updated, drawn = Terminal(width, height), Terminal(width, height)
    updated.feed(ENTER + screen.draw(shown(*before), (0, 0)) + screen.draw(shown(*after), (0, 0)))
    drawn.feed(ENTER + fresh.draw(shown(*after), (0, 0)))
    assert updated.lines == drawn.lines


@pytest.mark.parametrize("term", ["xterm", "xterm-256color", "screen.xterm-256color", "vt100", "linux", "tmux"])
def test_usual_terminals_are_usable(term: str) -> None:
    assert usable(term)


@each("term", ["", "dumb", "unknown", "network", "emacs", "xtermite", "x" * 1000, "xterm\n"])
def test_other_terminals_are_not(term: str) -> None:
    assert not usable(term)


def test_sizes_are_within_bounds() -> None:
    assert bounded((0, 0)) == (80, 24)
    assert bounded((4_000_000_000, 4_000_000_000)) == (500, 200)
    assert bounded((1, 1)) == (1, 1)
