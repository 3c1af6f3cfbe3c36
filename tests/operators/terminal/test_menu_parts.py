"""The parts of the menu by themselves: the list and a place in it, last lines, columns, completion."""

from __future__ import annotations

import shlex
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes import EPOCH, VM_B
from tests.support.ssh import SSHWorld
from vmproxy.console.console import Console
from vmproxy.operators.commands.line_completion import complete, last_word
from vmproxy.operators.commands.parser import split
from vmproxy.operators.commands.registry import COMMANDS
from vmproxy.operators.console_filter import ConsoleFilter
from vmproxy.operators.terminal.keys import DOWN, UP
from vmproxy.operators.terminal.menu_list import ConsoleList
from vmproxy.operators.terminal.menu_refresh import TAIL, last_line
from vmproxy.operators.terminal.menu_rows import columns_for, fitted, help_lines, rows_for, short_state, top_row
from vmproxy.operators.terminal.menu_selection import Selection
from vmproxy.operators.terminal.width import cells
from vmproxy.operators.visible import VisibleConsoles


def list_of(w: SSHWorld, *names: str) -> ConsoleList:
    for n, name in enumerate(names):
        w.vm(name, UUID(int=(n + 1) << 64))
    listed = ConsoleList(view_of(w), w.directory)
    listed.begin(EPOCH)
    while listed.step():
        pass
    return listed


def view_of(w: SSHWorld) -> VisibleConsoles:
    return VisibleConsoles(w.directory, lambda: w.directory.policy.grants("alice", ()))


# The list.


NAMES = st.lists(st.text("abAB01-日", min_size=1, max_size=6), min_size=1, max_size=12, unique=True)


@given(NAMES, st.lists(st.text("abAB01-*?日", max_size=4), max_size=5))
def test_filters_one_after_the_other_find_what_each_alone_finds(names: list[str], patterns: list[str]) -> None:
    with TemporaryDirectory() as folder:
        w = SSHWorld(Path(folder))
        listed = list_of(w, *names)
        for pattern in patterns:
            found = [entry.title for entry in listed.matching(pattern)]
            wanted = [n for n in names if fnmatchcase(n.casefold(), f"*{pattern.casefold()}*")]
            assert sorted(found) == sorted(wanted)
        w.stop()


def test_a_filter_by_state(w: SSHWorld) -> None:
    listed = list_of(w, "web01", "web 02", "db01", "state")
    for name in ("db01", "web 02"):
        w.lose(w.console(name))
    for pattern, names in (
        ("state:down", ["db01", "web 02"]),
        ("STATE:D", ["db01", "web 02"]),
        ("state:up", ["state", "web01"]),
        ("state:", ["db01", "state", "web 02", "web01"]),
        ("state:up,down", ["db01", "state", "web 02", "web01"]),
        ("state:down web", ["web 02"]),
        ("web state:up", ["web01"]),
        ("b 0 state:down", ["web 02"]),
        ("w*2 state:down", ["web 02"]),
        ("state:nonsense", []),
        ("state", ["state"]),
        ("xstate:up", []),
    ):
        assert [entry.title for entry in listed.matching(pattern)] == names, pattern
    found = listed.matching("state:down")
    assert listed.matching("state:down") is found  # nothing has changed, and what is chosen stays
    w.lose(w.console("web01"))
    assert [entry.title for entry in listed.matching("state:down")] == ["db01", "web 02", "web01"]


def test_where_two_have_one_name_the_list_says_which_is_which(w: SSHWorld) -> None:
    listed = list_of(w, "web02", "db01")
    w.lose(w.console("web02"))
    old = w.console("web02")
    w.vm("web02", uuid=VM_B)
    listed.begin(EPOCH)
    while listed.step():
        pass
    names = [listed.shown(entry) for entry in listed.matching("")]
    assert sorted(names) == sorted(["db01", "web02", f"web02~{old.uuid.hex[:8]}"])


@given(st.text("abc日", max_size=12), st.integers(1, 40))
def test_the_digits_stay_where_there_is_room(word: str, width: int) -> None:
    assert cells(fitted(f"{word}~01234567", width)) == width
    assert width < 17 or fitted(f"{word}~01234567", width).rstrip().endswith("~01234567")


def test_a_list_in_which_nothing_changed_stays_the_same(w: SSHWorld) -> None:
    listed = list_of(w, "web01", "db01")
    before = listed.entries
    found = listed.matching("web")
    listed.begin(EPOCH)
    assert not listed.step()
    assert listed.entries is before
    assert listed.matching("web") is found
    assert not listed.due(EPOCH + 1)
    assert listed.due(EPOCH + 5)
    assert listed.due(EPOCH - 1)  # a clock that was set back


def test_rules_that_change_between_two_steps_start_it_over(w: SSHWorld) -> None:
    listed = list_of(w, *(f"vm{n}" for n in range(10)))
    listed.begin(EPOCH)
    assert listed.step(5)
    w.rules(("alice", "see", "vm1"))
    assert listed.void
    while listed.step(5):
        assert not listed.entries
    assert [entry.title for entry in listed.entries] == ["vm1"]


def test_names_that_begin_so(w: SSHWorld) -> None:
    listed = list_of(w, "web2", "Web1", "db", "web3", "wec", "日")
    titles = [entry.title for entry in listed.starting("WEB", 10)]
    assert titles == ["Web1", "web2", "web3"]
    assert [entry.title for entry in listed.starting("we", 3)] == ["Web1", "web2", "wec"]
    assert not listed.starting("x", 3)
    assert len(listed.starting("", 10)) == 6


@given(st.lists(st.sampled_from([UP, DOWN, "page up", "page down", "home", "end", "1", "vm", "", "hide", "add"])))
def test_what_is_chosen_is_always_on_the_screen(steps: list[str]) -> None:
    with TemporaryDirectory() as folder:
        w = SSHWorld(Path(folder))
        listed = list_of(w, *(f"vm{n:02d}" for n in range(15)))
        selection = Selection(listed, view_of(w))
        selection.arrange(4)
        for number, step in enumerate(steps):
            match step:
                case "1" | "vm" | "":
                    selection.type(step)
                case "hide":
                    w.rules(("alice", "see", f"vm?{number % 10}"))
                case "add":
                    w.vm(f"vm{number % 20:02d}a", UUID(int=number + 1))
                case _:
                    if selection.ready():
                        selection.move(step)
            if listed.void or listed.due(EPOCH):
                listed.begin(EPOCH)
                listed.step()
            selection.arrange(4)
            assert len(selection.on_screen) == min(4, len(selection.found))
            assert not selection.found or selection.found[selection.chosen] in selection.on_screen
            assert all(entry.console in view_of(w) for entry in selection.on_screen)
        w.stop()


def test_columns_of_thousands_are_looked_at_in_steps(w: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    consoles = [w.directory._add(UUID(int=n << 64 | 1), "1", f"vm{n:05d}", None) for n in range(3000)]
    listed = ConsoleList(view_of(w), w.directory)
    listed.begin(EPOCH)
    while listed.step():
        pass
    looked: list[Console] = []
    plain = ConsoleFilter.fits

    def fits(self: ConsoleFilter, view: VisibleConsoles, console: Console) -> bool:
        looked.append(console)
        return plain(self, view, console)

    monkeypatch.setattr(ConsoleFilter, "fits", fits)
    selection = Selection(listed, view_of(w))
    selection.type("uri:blue")
    consoles[2999].set_uri("vmproxy?blue")
    assert not selection.ready()  # nothing is done yet with what has been found so far
    assert (len(looked), listed.partial, listed.busy) == (1000, True, True)
    assert listed.step()
    assert len(looked) == 1200
    while listed.step():
        pass
    selection.arrange(20)
    assert [entry.console for entry in selection.found] == [consoles[2999]]
    assert (len(looked), listed.partial, listed.busy) == (3000, False, False)
    consoles[5].set_uri("vmproxy?blue")
    listed.look_again()
    selection.arrange(20)
    assert [entry.console for entry in selection.found] == [consoles[2999]]
    while listed.step():
        pass
    selection.arrange(20)
    assert [entry.console for entry in selection.found] == [consoles[5], consoles[2999]]
    assert selection.console is consoles[2999]
    assert len(looked) == 6000


def test_thousands_that_are_hidden_at_once_are_not_taken_out_screen_by_screen(
    w: SSHWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = list_of(w, *(f"web{n:03d}" for n in range(300)), "web")
    w.rules(("alice", "see", "web*"))
    listed.begin(EPOCH)
    while listed.step():
        pass
    selection = Selection(listed, view_of(w))
    selection.arrange(4)
    for console in list(w.directory):
        if console.name != "web":
            w.directory.names.rename(console, "hidden")
    dropped: list[object] = []
    monkeypatch.setattr(listed, "drop", lambda gone, drop=listed.drop: (dropped.append(gone), drop(gone)))
    selection.arrange(4)
    assert len(dropped) <= 4
    while listed.step():
        pass
    selection.arrange(4)
    assert [entry.title for entry in selection.found] == ["web"]


# Last lines.


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (b"", None),
        (b"\r\n  \r\n\x1b[0m\r\n", None),
        (b"one\r\ntwo\r\n", "two"),
        (b"one\r\nlogin: ", "login:"),
        (b"10%\r20%\r30%", "30%"),
        (b"a\tb  c\r\n", "a b c"),
        (b"\x1b]0;title\x07\x1b[1;31mred\x1b[0m\r\n", "red"),
        ("e\u0301 日 \u202e".encode(), "e\u0301 日 \\u202e"),
        (b"x" * 5000 + b"\r\nlast", "last"),
        (b"first\r\n" + b"\r\n" * TAIL, None),
    ],
)
def test_the_last_line_of_a_log(tmp_path: Path, log: bytes, line: str | None) -> None:
    path = tmp_path / "vm.log"
    path.write_bytes(log)
    assert last_line(path) == line


def test_a_log_that_cannot_be_read_has_no_last_line(tmp_path: Path) -> None:
    assert last_line(tmp_path / "none.log") is None
    assert last_line(tmp_path) is None


@given(st.binary(max_size=300))
def test_the_last_line_can_always_be_shown(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "vm.log"
        path.write_bytes(data)
        line = last_line(path)
        assert line is None or (line and line.isprintable() and len(line) <= 256)


# What it looks like.


@given(st.integers(20, 500), st.integers(0, 300))
def test_the_columns_fit_the_line(width: int, longest: int) -> None:
    columns = columns_for(width, longest)
    shown = [size for size in (columns.name, columns.state, columns.writer, columns.last) if size]
    assert all(size > 0 for size in shown)
    assert columns.name >= 8
    assert 1 + sum(shown) + len(shown) - 1 <= width


@given(st.integers(20, 200), st.text(max_size=64), st.integers(0, 16000))
def test_the_first_line_fits_and_shows_the_end_of_the_filter(width: int, pattern: str, known: int) -> None:
    pattern = "".join(c for c in pattern if c.isprintable())
    row, column = top_row(known // 2, known, True, pattern, width)
    assert cells(row.text) <= width
    assert column < width
    assert not pattern or cells(pattern[-1]) == 2 or row.text.endswith(pattern[-1])


@given(st.integers(20, 200))
def test_help_fits(width: int) -> None:
    lines = help_lines(width, "^Ec")
    assert all(cells(line) <= width for line in lines)
    assert any("^Ec." in line.replace(" ", "") for line in lines)


def test_there_is_always_room_for_a_console() -> None:
    assert rows_for(5) == 3
    assert rows_for(24) == 21


def test_states_are_coarse(w: SSHWorld) -> None:
    link = w.vm("web01")
    console = w.console()
    assert short_state(console, EPOCH + 59) == "up <1m"
    assert short_state(console, EPOCH + 60) == "up 1m"
    assert short_state(console, EPOCH + 7200) == "up 2h"
    assert short_state(console, EPOCH + 86400 * 5000) == "up 999d"
    assert short_state(console, EPOCH - 5) == "up <1m"
    w.directory.lost(console, link, "power off")
    assert short_state(console, EPOCH + 600) == "down 10m"
    console.since = 0.0
    assert short_state(console, EPOCH) == "down"


# Completion.


def completed(left: str, listed: ConsoleList, view: VisibleConsoles) -> list[str]:
    def starting(prefix: str, limit: int) -> list[Console]:
        return [entry.console for entry in listed.starting(prefix, limit)]

    return [*complete(left, COMMANDS, starting, view, ["reset", "off"]).choices]


@given(st.text("ab \"'\\", max_size=12))
def test_the_last_word_is_that_of_the_shell(line: str) -> None:
    start, quote, word = last_word(line)
    try:
        words = shlex.split(line)
    except ValueError:
        return  # not complete: a quote is open, or there is a backslash at the end
    assert not quote
    if start < len(line):
        assert words[-1] == word


@given(st.lists(st.text("ab '\"\\日-", min_size=1, max_size=6).map(str.strip).filter(bool), min_size=1, unique=True))
def test_every_name_that_is_offered_finds_its_console(names: list[str]) -> None:
    with TemporaryDirectory() as folder:
        w = SSHWorld(Path(folder))
        listed, view = list_of(w, *names), view_of(w)
        offered = completed("status ", listed, view)
        found = {view.find(split(choice)[0]) for choice in offered}
        assert found == set(w.directory)
        w.stop()


@pytest.mark.parametrize(
    ("left", "choices"),
    [
        ("lo", ["log"]),
        ("log --s", ["--since"]),
        ("list --c", ["--columns"]),
        ("log --since we", ["web01"]),
        ("console -", ["-a", "-f", "-s", "-j", "-k"]),
        ("help ver", ["version"]),
        ("help -", []),
        ("whoami we", []),
        ("broadcast we", []),
        ("we", ["web01"]),
        ("web01 we", ["web01"]),
        ("log 'we", ["'web01'"]),
        ("info we", ["web01"]),
        ("action re", ["reset"]),
        ("action --yes ", ["reset", "off"]),
        ("action reset we", ["web01"]),
    ],
)
def test_lines_go_on_as_the_table_of_commands_has_it(w: SSHWorld, left: str, choices: list[str]) -> None:
    listed, view = list_of(w, "web01", "db01"), view_of(w)
    assert completed(left, listed, view) == choices
