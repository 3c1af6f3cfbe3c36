"""Editing a line: keys in, a line out, and what is on the screen meanwhile."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.operators.terminal.line_editor import (
    CHOICES_LIMIT,
    HISTORY_LIMIT,
    Cancelled,
    Choices,
    Completion,
    Draw,
    EditorEvent,
    Entered,
    LineEditor,
    columns,
)
from vmproxy.operators.terminal.width import cells


def editor(width: int = 40, **options: Any) -> LineEditor:
    return LineEditor("> ", width, **options)


def entered(data: bytes, **options: Any) -> str:
    (event,) = [e for e in editor(40, **options).feed(data + b"\r") if not isinstance(e, Draw)]
    assert isinstance(event, Entered)
    return event.text


def row(drawn: bytes, width: int = 40) -> tuple[str, int]:
    """What stands on the row after drawing, and where the cursor is: a terminal of one row."""
    text, column = " " * width, 0
    rest = drawn.decode()
    while rest:
        if rest[0] == "\r":
            column, rest = 0, rest[1:]
        elif rest.startswith("\x1b[K"):
            text, rest = text[:column] + " " * (width - column), rest[3:]
        elif rest.startswith("\x1b["):
            count, _, rest = rest[2:].partition("C")
            column += int(count)
        else:
            assert rest[0].isprintable()
            text = text[:column] + rest[0] + text[column + 1 :]
            column += 1
            assert column < width, "it has reached the last column"
            rest = rest[1:]
    return text.rstrip(), column


@each(
    ("keys", "line"),
    [
        (b"web01", "web01"),
        (b"webx\x7f01", "web01"),
        (b"webx\x0801", "web01"),
        (b"b01\x01we", "web01"),
        (b"b01\x1b[Hwe", "web01"),
        (b"b01\x1bOHwe", "web01"),
        (b"b01\x1b[1~we", "web01"),
        (b"b01\x01we\x051", "web011"),
        (b"b01\x01we\x1b[F1", "web011"),
        (b"web1\x1b[D0", "web01"),
        (b"web1\x020", "web01"),
        (b"we1\x1b[D\x1b[Db\x1b[C0", "wbe01"),
        (b"xweb01\x01\x04", "web01"),
        (b"xweb01\x01\x1b[3~", "web01"),
        (b"rubbish\x15web01", "web01"),
        (b"web01rubbish\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x0b", "web01"),
        (b"web01 and more\x17\x17\x17web02", "web02"),
        (b"one two  \x17", "one "),
        (b"\x1b[D\x1b[C\x7f\x08x\x1b[3~", "x"),
        (b"\x1b[15~\x1b[200~\x1bqa", "a"),
        ("grüße".encode(), "grüße"),
        ("日本\x7f".encode(), "日"),
        (b"a\xff\xc3\x01b", "ba"),
        ("a\u202eb".encode(), "ab"),
        (b"a\x1b[99999999999999999999bc", "ac"),
        ("e\u0301x\x1b[D\x1b[Da\x1b[3~".encode(), "ax"),
        ("e\u0301\x7fx".encode(), "x"),
    ],
)
def test_keys_edit_the_line(keys: bytes, line: str) -> None:
    assert entered(keys) == line


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_every_cut_gives_the_same(data: bytes, cuts: list[int]) -> None:
    def run(pieces: list[bytes]) -> tuple[list[EditorEvent], str, int]:
        e = editor()
        events: list[EditorEvent] = []
        for piece in pieces:
            while piece:
                events += e.feed(piece)
                piece = e.rest
        return [event for event in events if not isinstance(event, Draw)], e.text, e.cursor

    edges = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    assert run([data[a:b] for a, b in pairwise(edges)]) == run([data])


@given(st.lists(st.one_of(st.binary(max_size=8), st.text(max_size=8).map(str.encode)), max_size=30), st.integers(4, 90))
def test_whatever_is_typed_the_line_is_safe_and_the_drawing_fits(pieces: list[bytes], width: int) -> None:
    e = LineEditor("> ", width, limit=50)
    for piece in pieces:
        for event in e.feed(piece):
            if isinstance(event, Draw):
                assert all(c.isprintable() or c in "\r\x1b" for c in event.data.decode())
        assert not e.text or e.text.isprintable()
        assert 0 <= e.cursor <= len(e.text) <= 50
    shown = e.redraw().decode().partition("\x1b[K")[0].removeprefix("\r")
    assert cells(shown) < max(width, 4)


def test_the_line_is_drawn_with_the_cursor_where_it_belongs() -> None:
    e = editor()
    e.feed(b"web01\x1b[D\x1b[D")
    assert row(e.redraw()) == ("> web01", 5)
    assert row(b"rubbish that was there before" + e.redraw()) == ("> web01", 5)
    assert e.erase() == b"\r\x1b[K"


def test_a_line_that_is_too_long_scrolls_sideways() -> None:
    e = editor(20)
    e.feed(b"abcdefghijklmnopqrstuvwxyz")
    assert row(e.redraw(), 20) == ("> klmnopqrstuvwxyz", 18)
    e.feed(b"\x01")
    assert row(e.redraw(), 20) == ("> abcdefghijklmnopq", 2)
    e.resized(10)
    assert row(e.redraw(), 10) == ("> abcdefg", 2)


def test_a_prompt_that_is_too_long_leaves_room_for_the_answer() -> None:
    e = LineEditor("a very long question indeed: ", 20)
    e.feed(b"yes")
    text, column = row(e.redraw(), 20)
    assert text.endswith(": yes")
    assert column == len(text)


def test_what_is_typed_behind_the_line_is_for_somebody_else() -> None:
    e = editor()
    assert e.feed(b"web01\r\nls\r")[-1] == Entered("web01")
    assert e.rest == b"ls\r"
    assert e.feed(b"again\r")[-1] == Entered("again")
    assert e.rest == b""
    assert e.feed(b"\nx\r")[-1] == Entered("x")


@pytest.mark.parametrize(("keys", "end"), [(b"abc\x03rest", False), (b"\x04rest", True)])
def test_a_line_can_be_cancelled(keys: bytes, end: bool) -> None:
    e = editor()
    assert e.feed(keys)[-1] == Cancelled(end)
    assert e.rest == b"rest"
    assert e.text == ""


def test_the_end_of_input_ends_only_an_empty_line() -> None:
    assert entered(b"abc\x04") == "abc"


def test_what_was_entered_before_comes_back() -> None:
    e = editor()
    for line in (b"one\r", b"two\r", b"two\r", b"  \r"):
        e.feed(line)
    assert e.history == ["one", "two"]
    e.feed(b"draft\x1b[A")
    assert e.text == "two"
    e.feed(b"\x10\x10")
    assert e.text == "one"
    e.feed(b"\x1b[B\x0e\x0e")
    assert e.text == "draft"


def test_the_history_has_an_end() -> None:
    e = editor()
    for n in range(HISTORY_LIMIT + 5):
        e.feed(b"%d\r" % n)
    assert len(e.history) == HISTORY_LIMIT
    assert e.history[0] == "5"


def test_a_line_has_an_end() -> None:
    assert entered(b"x" * 5000) == "x" * 1000


def names(*all_names: str, end: str = "") -> object:
    def complete(left: str) -> Completion:
        return Completion(0, [n for n in all_names if n.casefold().startswith(left.casefold())], end)

    return complete


def test_tab_completes_what_is_unique_and_as_far_as_it_is() -> None:
    assert entered(b"w\t", complete=names("web01", "db1")) == "web01"
    assert entered(b"w\t", complete=names("web01", "db1", end=" ")) == "web01 "
    assert entered(b"we\t", complete=names("web01", "web02")) == "web0"
    assert entered(b"WE\t", complete=names("Web01", "web02")) == "Web0"
    assert entered(b"x\t", complete=names("web01")) == "x"
    assert entered(b"w\t") == "w"
    assert entered(b"-old\x01we\t", complete=names("web01")) == "web01-old"


def test_tab_lists_the_choices_where_there_are_several() -> None:
    e = editor(complete=names("web01", "web02"))
    events = e.feed(b"web0\t")
    assert Choices(("web01", "web02")) in events
    assert row(events[-1].data) == ("> web0", 6)


def test_of_too_many_choices_not_all_are_shown_but_all_count() -> None:
    many = [f"x{n:04}" for n in range(10 * CHOICES_LIMIT)]
    (choices,) = [c for c in editor(complete=names(*many)).feed(b"x\t") if isinstance(c, Choices)]
    assert choices.choices == tuple(many[:CHOICES_LIMIT])
    assert entered(b"\t", complete=names(*many)) == "x"


@given(st.lists(st.text("abAB", min_size=1, max_size=5), min_size=1, max_size=6, unique_by=str.casefold))
def test_what_is_completed_is_what_all_choices_begin_with(choices: list[str]) -> None:
    e = editor(complete=lambda left: Completion(0, choices))
    e.feed(b"\t")
    assert all(choice.casefold().startswith(e.text.casefold()) for choice in choices)
    longer = {choice.casefold()[: len(e.text) + 1] for choice in choices}
    assert len(longer) > 1 or longer == {e.text.casefold()}


def test_a_paste_full_of_tabs_asks_for_choices_once() -> None:
    asked: list[str] = []

    def complete(left: str) -> Completion:
        asked.append(left)
        return Completion(0, [])

    editor(complete=complete).feed(b"a\t" * 1000)
    assert asked == ["a"]


def test_choices_are_set_out_in_columns_that_fit() -> None:
    choices = [f"web{n:02}" for n in range(10)]
    assert columns(choices, 30, 10) == [
        "web00  web01  web02  web03",
        "web04  web05  web06  web07",
        "web08  web09",
    ]
    assert columns(choices, 30, 2) == ["web00  web01  web02  web03", "... and 6 more"]
    assert columns(choices, 5, 3) == ["web00", "web01", "... and 8 more"]
    assert columns([], 30, 2) == []
