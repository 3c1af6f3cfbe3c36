"""The pager: the history of a console on an operator's terminal, and the way back to the console."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from twisted.conch.ssh.common import NS

from tests.support.console_session import lines
from tests.support.fakes import FakeLink
from tests.support.living import nothing_left
from tests.support.ssh import RemoteChannel, SSHWorld
from tests.support.terminal import Terminal
from vmproxy.console.notices import Joined, ShuttingDown
from vmproxy.log.history import History
from vmproxy.operators import history_reader
from vmproxy.operators.history_reader import OPEN_SECONDS
from vmproxy.operators.lent_terminal import KEPT_LIMIT
from vmproxy.operators.readings import READINGS_PER_OPERATOR
from vmproxy.operators.terminal.pager import ESCAPE_SECONDS, STEPS_LIMIT, Pager

LINES = b"".join(b"line %d of it\r\n" % number for number in range(500))
PROGRAM = b"\x1b[?1049h\x1b[?25l\x1b[?1h\x1b=\x1b[2J\x1b[Htop - up 3 days"
UP, RIGHT, HOME, END, ESC = b"\x1b[A", b"\x1b[C", b"\x1b[H", b"\x1b[F", b"\x1b"


class Reader:
    """An operator on web01, who sees a terminal."""

    def __init__(
        self,
        w: SSHWorld,
        said: bytes = LINES,
        size: tuple[int, int] = (80, 24),
        user: str = "web01",
        term: bytes = b"xterm",
        env: tuple[tuple[bytes, bytes], ...] = (),
        link: FakeLink | None = None,
    ) -> None:
        self.w = w
        self.link = link or w.vm()
        self.channel: RemoteChannel = w.login(user).open()
        for name, value in env:
            self.channel.request(b"env", NS(name) + NS(value), reply=False)
        wanted = NS(term) + struct.pack(">4L", *size, 0, 0) + NS(b"")
        self.channel.request(b"pty-req", wanted, reply=False)
        self.channel.shell()
        self.terminal = Terminal(*size)
        self._fed = 0
        self.say(said)

    def look(self) -> list[str]:
        self.channel.client.pump()
        sent = self.channel.screen
        self.terminal.feed(sent[self._fed :])
        self._fed = len(sent)
        return self.terminal.lines

    def say(self, data: bytes) -> list[str]:
        self.w.console().feed(data)
        return self.look()

    def type(self, data: bytes) -> list[str]:
        self.channel.type(data)
        return self.look()

    def wait(self, seconds: float = 1.0) -> list[str]:
        self.w.clock.advance(seconds)
        return self.look()

    @property
    def status(self) -> str:
        return self.look()[-1]

    @property
    def marked(self) -> list[str]:
        """What stands out, but for the last line."""
        screen = self.terminal.screen
        rows = [screen.buffer[n] for n in range(screen.lines - 1)]
        found = ("".join(row[x].data for x in range(screen.columns) if row[x].reverse or row[x].bold) for row in rows)
        return [text for text in found if text]


def test_one_scrolls_and_comes_back_to_the_console_as_it_was(w: SSHWorld) -> None:
    reader = Reader(w)
    before = reader.look()
    reader.type(b"\x05c[")
    assert reader.terminal.alternate
    assert reader.look()[0] == "line 477 of it"
    assert reader.look()[22] == "line 499 of it"
    assert reader.status.split()[:3:2] == ["web01", "end"]
    assert reader.type(b"k")[0] == "line 476 of it"
    assert reader.type(UP * 3)[0] == "line 473 of it"
    assert reader.type(b"\x1b[5~")[0] == "line 451 of it"
    assert reader.type(b"d")[0] == "line 462 of it"
    assert reader.type(HOME)[0] == "line 0 of it"
    assert reader.type(b" ")[0] == "line 22 of it"
    assert reader.type(b"jj")[0] == "line 24 of it"
    assert reader.type(b"uuuu")[0] == "line 0 of it"
    assert reader.type(END)[22] == "line 499 of it"
    assert reader.type(b"q") == before
    assert not reader.terminal.alternate
    assert reader.terminal.wraps
    reader.type(b"ls\r")
    assert reader.link.written == b"ls\r"
    assert w.audited("log-read")


def test_live_goes_on_behind_and_is_counted(w: SSHWorld) -> None:
    reader = Reader(w)
    reader.type(b"\x05c[k")
    reader.say(b"more\r\n" * 1200 + b"login: ")
    assert "+1,200 lines" in reader.wait()[-1]
    assert "line 498 of it" in reader.look()[22]
    assert reader.type(b"G")[22] == "login:"
    assert "+" not in reader.status
    reader.say(b"root\r\n")
    assert "+1 line " in reader.wait()[-1]
    assert reader.type(b"j")[21:23] == ["more", "login: root"]
    before = reader.say(b"Password: ")
    assert "Password" not in "".join(before)
    reader.type(b"q")
    assert [line for line in reader.look() if line][-2:] == ["login: root", "Password:"]
    assert reader.channel.out.endswith(b"more\r\nlogin: root\r\nPassword: ")  # nothing is skipped


def test_of_more_than_is_kept_the_end_is_shown(w: SSHWorld) -> None:
    reader = Reader(w)
    reader.type(b"\x05c[")
    reader.say(b"flood\r\n" * (KEPT_LIMIT // 7 + 1) + b"\x1b[?25llast but one\r\nlast")
    reader.type(b"q")
    shown = [line for line in reader.look() if line]
    assert shown[-5:] == ["flood", "flood", "last but one", "last", "[-- live --]"]
    assert reader.terminal.screen.cursor.hidden  # what it did to the terminal is not lost
    assert reader.say(b"er\r\n")[-2].endswith("er")


def test_a_sequence_that_was_not_complete_is_not_begun_again_behind_what_is_shown_instead(w: SSHWorld) -> None:
    reader = Reader(w, LINES + b"\x1b[3")
    reader.type(b"\x05c[")
    reader.say(b"1m" + b"flood\r\n" * (KEPT_LIMIT // 7 + 1))
    reader.type(b"q")
    reader.channel.clear()
    reader._fed = 0
    reader.say(b"hello")
    assert reader.channel.screen == b"hello"


@pytest.mark.parametrize("ends", [b"", b"\x1b[?1049l\x1b[?25h\x1b[?1l\x1b>$ "])
def test_a_program_that_has_the_screen_gets_it_back(w: SSHWorld, ends: bytes) -> None:
    reader = Reader(w, b"$ top\r\n" + PROGRAM)
    assert reader.look()[0] == "top - up 3 days"
    reader.type(b"\x05c[")
    assert not reader.terminal.screen.cursor.hidden
    reader.say(b"\x1b[2;1Htasks" + ends)
    reader.type(b"q")
    if ends:
        assert not reader.terminal.alternate
        assert not reader.terminal.screen.cursor.hidden
    else:
        assert reader.look()[:2] == ["top - up 3 days", "tasks"]
        assert reader.terminal.alternate
        assert reader.terminal.screen.cursor.hidden
    reader.say(b"\x1b[3;1Hcpu")
    assert reader.look()[2].startswith("cpu")
    reader.type(b"\x05c.")
    assert not reader.terminal.alternate
    assert not reader.terminal.screen.cursor.hidden


def test_a_sequence_that_was_cut_is_shown_whole(w: SSHWorld) -> None:
    reader = Reader(w, b"$ \x1b[1;3")
    reader.type(b"\x05c[q")
    reader.say(b"1mred")
    assert "$ red" in reader.look()
    assert reader.terminal.screen.buffer[reader.look().index("$ red")][2].fg == "red"


def test_one_searches_back_and_on(w: SSHWorld) -> None:
    reader = Reader(w, b"ERROR one\r\n" + LINES + b"error two\r\n" + LINES)
    reader.type(b"\x05c/")
    assert reader.status == "search back:"
    assert reader.type(b"error\r")[7] == "error two"
    assert reader.marked == ["error"]
    assert reader.type(b"n")[0] == "ERROR one"
    assert "not found above: error" in reader.type(b"n")[-1]
    assert "error two" in reader.type(b"N")
    assert "not found below: error" in reader.type(b"N")[-1]
    assert reader.type(b"g/ERROR\r")[0] == "ERROR one"  # with capitals, capitals matter
    assert "not found below" in reader.type(b"n")[-1]
    assert "no such pattern" in reader.type(b"/(\r")[-1]
    assert reader.type(b"/\x03")[-1].startswith(" web01")


def test_without_colours_matches_are_in_reverse(w: SSHWorld) -> None:
    reader = Reader(w, b"a match\r\nanother match\r\n", env=((b"NO_COLOR", b"1"),))
    reader.type(b"\x05c/match\r")
    assert reader.marked == ["match", "match"]
    assert not any(cell.fg != "default" for row in reader.terminal.screen.buffer.values() for cell in row.values())


def test_a_long_line_is_cut_and_the_rest_is_at_the_right(w: SSHWorld) -> None:
    reader = Reader(w, b"begin " + b"x" * 300 + b"needle\r\nother\r\n")
    assert reader.type(b"\x05c[")[0].endswith("…")
    assert "needle" in "".join(reader.type(RIGHT * 8))
    assert reader.look()[1] == ""
    reader.type(b"\x1b[D" * 8)
    assert reader.look()[1] == "other"
    assert "needle" in "".join(reader.type(b"?needle\r"))  # shown where it is


@pytest.mark.parametrize("typed", [b"22:14\r", b"t22:14\r"])
def test_one_goes_to_a_time(w: SSHWorld, typed: bytes) -> None:
    link = w.vm()
    for minute in range(60):  # from 22:13:20 on
        w.console().feed(b"minute %d\r\n" % minute * 30)
        w.clock.advance(60)
        w.settle()
    reader = Reader(w, b"", link=link)
    reader.type(b"\x05c[" + typed)
    assert reader.look()[0] == "minute 1"
    assert "22:14:20" in reader.status
    assert reader.type(b"50%\r")[0] == "minute 30"
    assert "no such time" in reader.type(b"99:99\r")[-1]
    assert reader.type(b"2000-01-01\r")[0] == "minute 0"
    assert reader.type(b"1m\r")[22] == "minute 59"


def test_nothing_is_asked_of_the_terminal_by_what_is_shown(w: SSHWorld) -> None:
    reader = Reader(w, b"")
    reader.say(b"\x1b[6n\x1b[c\x1b]0;title\x07\x1b[?1003h\x1b[5i\x1bP+q544e\x1b\\\x9b6n\x07\xc2\x9bc\r\n")
    reader.say(b"name\xe2\x80\xaeeman\r\n")
    sent = len(reader.channel.screen)
    reader.type(b"\x05c[k/name\r")
    shown = reader.channel.screen[sent:]
    for part in (
        b"\x1b[6n",
        b"\x1b[c",
        b"\x1b]",
        b"\x1b[?1003h",
        b"\x1b[5i",
        b"\x1bP",
        b"\x9b6n",
        b"\x07",
        b"\xe2\x80\xae",
    ):
        assert part not in shown
    assert "name\\u202eeman" in reader.look()


def test_a_log_that_cannot_be_read_takes_no_place_for_good(w: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> History:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(history_reader, "History", fails)
    reader = Reader(w)
    reader.type(b"\x05c[")
    for _ in range(READINGS_PER_OPERATOR):
        assert "Input/output error" in reader.type(b"G")[-1]
    assert not w.services.readings.of_operator


def test_times_that_cannot_be_read_are_left_out(w: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> float:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(History, "time_of", fails)
    reader = Reader(w)
    reader.type(b"\x05c[")
    assert "error" not in reader.type(b"k")[-1]
    assert reader.look()[0] == "line 476 of it"


@pytest.mark.parametrize("size", [(40, 10), (200, 50), (20, 2), (1, 1)])
def test_it_fits_the_screen_and_follows_its_size(w: SSHWorld, size: tuple[int, int]) -> None:
    reader = Reader(w, LINES, size)
    reader.type(b"\x05c[")
    wanted = [f"line {n} of it" for n in range(500)][-(size[1] - 1) :] if size[1] > 1 else []
    if size[0] >= 20:
        assert reader.look()[: size[1] - 1] == wanted
        assert reader.status.startswith(" web01")
    reader.type(b"h")
    assert len(reader.look()) == size[1]
    reader.type(b"q" * 40)
    reader.terminal.resize(60, 12)
    reader.channel.request(b"window-change", struct.pack(">4L", 60, 12, 0, 0), reply=False)
    reader.type(b"\x05c[")
    assert reader.look()[10] == "line 499 of it"
    reader.terminal.resize(50, 8)
    reader.channel.request(b"window-change", struct.pack(">4L", 50, 8, 0, 0), reply=False)
    assert reader.look()[6] == "line 499 of it"


def test_help_fits_and_any_key_goes_on(w: SSHWorld) -> None:
    reader = Reader(w, LINES, (40, 10))
    reader.type(b"\x05c[h")
    seen: list[str] = []
    while reader.status == "any key: continue":
        seen += reader.look()[:9]
        reader.type(b" ")
    assert reader.look()[8] == "line 499 of it"
    text = " ".join(" ".join(seen).split())
    assert "half a page" in text
    assert "back to the live console" in text


def test_escape_leaves_and_notices_are_shown_in_both_places(w: SSHWorld) -> None:
    reader = Reader(w)
    reader.type(b"\x05c[")
    w.console().viewers.tell(Joined("bob@10.1.2.9", False))
    assert "[-- bob@10.1.2.9 attached" in reader.wait()[-1]
    reader.type(ESC)
    assert reader.terminal.alternate
    reader.wait(ESCAPE_SECONDS)
    assert not reader.terminal.alternate
    assert "[-- bob@10.1.2.9 attached (spy) --]" in reader.look()


def test_the_end_of_the_session_puts_the_terminal_right(w: SSHWorld) -> None:
    reader = Reader(w)
    reader.type(b"\x05c[")
    w.console().viewers.tell(ShuttingDown())
    reader.look()
    assert not reader.terminal.alternate
    assert "[-- console server shutting down --]" in reader.look()
    assert reader.channel.ended


def test_who_may_no_longer_read_sees_no_more(w: SSHWorld) -> None:
    w.rules(("alice", "spy", "web*"))
    reader = Reader(w)
    reader.type(b"\x05c[")  # who may only read has the history, too
    assert reader.terminal.alternate
    w.rules(("alice", "see", "web*"))
    reader.look()
    assert not reader.terminal.alternate
    assert any("you may no longer read this console" in line for line in reader.look())
    assert w.services.readings.of_operator.total() == 0


def test_what_is_typed_ahead_goes_where_it_belongs(w: SSHWorld) -> None:
    reader = Reader(w)
    reader.type(b"one\x05c[kkqtwo\x05c.")
    assert reader.link.written == b"onetwo"
    assert reader.channel.ended


def test_keys_wait_in_a_bounded_queue_and_ctrl_c_ends_a_search(w: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(w)
    reader.type(b"\x05c[")
    w.threads_held = True
    reader.type(b"k" * 500)
    pager = reader.channel.session.router.activity
    assert isinstance(pager, Pager)
    w.release_threads()
    assert 477 - STEPS_LIMIT - 2 <= int(reader.look()[0].split()[1]) <= 477 - STEPS_LIMIT
    monkeypatch.setattr("vmproxy.log.history.SEARCH_BLOCK", 100)
    monkeypatch.setattr("vmproxy.log.history.time.monotonic", iter(range(10_000)).__next__)
    reader.type(b"?nothing\r")
    for _ in range(5):
        w.release_thread()
    assert "searching" in reader.status
    reader.type(b"\x03")
    w.release_threads()
    assert "search ended" in reader.status
    w.threads_held = False
    assert reader.type(b"G")[22] == "line 499 of it"


def test_a_terminal_that_is_left_alone_keeps_no_files_open(w: SSHWorld) -> None:
    reader = Reader(w)
    readings = w.services.readings.of_operator
    reader.type(b"\x05c[")
    assert readings["alice"] == 1
    reader.wait(OPEN_SECONDS)
    assert readings["alice"] == 0
    assert reader.type(b"k")[0] == "line 476 of it"
    readings["alice"] = READINGS_PER_OPERATOR
    reader.wait(OPEN_SECONDS)
    readings["alice"] = READINGS_PER_OPERATOR
    assert "too many logs" in reader.type(b"k")[-1]
    readings.clear()
    assert reader.type(b"k")[0] == "line 475 of it"


@pytest.mark.parametrize("term", [b"dumb", b""])
def test_a_terminal_without_a_screen_is_told(w: SSHWorld, term: bytes) -> None:
    reader = Reader(w, term=term)
    reader.type(b"\x05c[")
    assert "[this terminal cannot show it; the command `log' does]" in lines(reader.channel.screen)
    reader.channel.clear()
    reader.type(b"\x05c?")
    assert "scroll the history" not in reader.channel.screen.decode()


def test_who_reads_nothing_makes_no_queue(w: SSHWorld) -> None:
    w.vm()
    channel: Any = w.login("web01").attach(window=3000)
    w.console().feed(LINES)
    channel.adjust(100_000)
    channel.type(b"\x05c[")
    for _ in range(200):
        channel.type(b"b f")
    assert channel.session.queued < 64 * 1024


def test_nothing_lives_on(w: SSHWorld) -> None:
    w.vm()
    w.login("web01").attach(pty=True).type(b"\x05c.")
    with nothing_left(Pager):
        channel = w.login("web01").open()
        channel.pty()
        channel.shell()
        w.console().feed(LINES)
        channel.type(b"\x05c[k?line\rq\x05c.")
        assert channel.ended
        w.clock.advance(60)
        del channel
