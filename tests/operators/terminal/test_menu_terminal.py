"""The menu on any terminal: sizes, keys, help, the end of the session, and clients that do not read."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest
from twisted.conch.ssh.common import NS
from twisted.internet.defer import Deferred

from tests.support.fakes import EPOCH
from tests.support.menu import DOWN, END, PAGE_DOWN, Person, vms
from tests.support.ssh import SSHWorld
from tests.support.terminal import Terminal
from vmproxy.console.notices import Message, ShuttingDown
from vmproxy.operators.terminal.menu_list import ConsoleList
from vmproxy.operators.terminal.menu_view import DRAW_LIMIT
from vmproxy.operators.terminal.screen import ENTER, LEAVE
from vmproxy.operators.visible import VisibleConsoles


@pytest.mark.parametrize("size", [(20, 5), (21, 6), (30, 8), (40, 10), (55, 12), (80, 24), (132, 50), (300, 100)])
def test_it_is_usable_in_any_size(w: SSHWorld, size: tuple[int, int]) -> None:
    links = vms(w, *(f"a-long-name-{n:03d}" for n in range(200)))
    person = Person(w, size)
    first = f"a-long-name-{0:03d}"[: size[0] - 12]
    assert person.terminal.line(f">{first}")
    assert "up <1m" in person.terminal.line(">")
    assert person.terminal.lines[0].startswith(" 200")
    assert person.terminal.lines[-1].strip()
    person.type(b"-19")
    assert "10 of 200" in person.terminal.lines[0]
    assert person.top.endswith("-19")
    person.type(END + b"\r")
    assert person.channel.session.router.activity is not None
    person.type(b"x")
    assert links[199].written == b"x"


def test_it_survives_window_changes(w: SSHWorld) -> None:
    vms(w, *(f"vm{n:03d}" for n in range(100)))
    person = Person(w)
    person.type(END)
    for size in [(40, 10), (20, 5), (132, 43), (19, 4), (1, 1), (80, 24)]:
        person.resize(*size)
        person.wait()
        if size[0] >= 20:
            assert person.chosen == "vm099"
    assert person.names[-1] == "vm099"
    assert person.terminal.lines[0].startswith(" 100 consoles    filter:")


def test_a_terminal_without_a_size_gets_80_by_24(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    channel = w.login().open()
    channel.request(b"pty-req", NS(b"xterm") + struct.pack(">4L", 0, 0, 0, 0) + NS(b""), reply=False)
    channel.shell()
    terminal = Terminal()
    terminal.feed(channel.screen)
    assert terminal.lines[1:] == person.terminal.lines[1:]


def test_a_terminal_that_cannot_gets_a_list(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w, term=b"dumb")
    assert b"\x1b" not in person.channel.screen
    assert b"web01" in person.channel.screen
    assert person.channel.status == 0


# Keys that are for the menu itself.


@pytest.mark.parametrize("key", [b"\x04", b"\x03", b":exit\r", b":q\r"])
def test_leaving_ends_the_session_and_puts_the_terminal_right(w: SSHWorld, key: bytes) -> None:
    vms(w, "web01")
    person = Person(w)
    person.type(key)
    assert person.channel.status == 0
    assert not person.terminal.alternate
    assert person.terminal.wraps
    assert person.channel.screen.count(ENTER) == person.channel.screen.count(LEAVE) == 1


def test_help_is_shown_page_by_page(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    lines = person.type(b"?")
    assert person.terminal.line("attach read-only")
    assert person.terminal.line("(^Ec.)")
    assert lines[-1] == " any key: continue"
    person.type(DOWN)
    assert person.names == ["web01"]
    person.resize(20, 5)
    person.type(b"?")
    seen = []
    while person.terminal.lines[-1] == " any key: continue":
        seen += person.terminal.lines[:-1]
        assert len(seen) < 300
        person.type(b" ")
    assert any("Tab" in line for line in seen)
    assert person.chosen == "web01"


def test_a_question_mark_behind_something_is_part_of_the_filter(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    person.type(b"w?b")
    assert person.top.endswith("filter: w?b")


def test_a_colon_begins_a_command_unless_it_is_behind_a_column(w: SSHWorld) -> None:
    vms(w, "web01", "db01")
    w.lose(w.console("db01"))
    person = Person(w)
    person.type(b"state:do")
    assert person.top.endswith("filter: state:do")
    assert person.names == ["db01"]
    person.type(b"\x15we:")
    assert person.terminal.lines[-1].startswith(":")
    assert person.top.endswith("filter: we")


def test_control_l_draws_everything(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    person.terminal.feed(b"\x1b[2J\x1b[Hsome other program's text")
    person.type(b"\x0c")
    assert person.names == ["web01"]
    assert "other" not in "".join(person.terminal.lines)


@pytest.mark.parametrize("junk", [b"\x1b[200~\x1b[99;99;99R\x1b[?1;2c\x1bx\x00\x1c\xff\xfe\xc3", b"\x1b[" + b"1" * 500])
def test_unknown_keys_do_nothing(w: SSHWorld, junk: bytes) -> None:
    vms(w, "web01")
    person = Person(w)
    person.type(junk)
    person.wait()
    assert person.names == ["web01"]


def test_a_long_paste_is_bounded(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    person.type(b"w" * 30_000)
    assert person.terminal.lines[0].startswith(" 0 of 1 console ")
    person.type(b"\x15" + b"w\x10\x7f\x10" * 5000)
    person.type(b"\x15")
    assert person.names == ["web01"]


def test_a_client_that_sends_no_more_gets_what_it_asked_for_and_the_end(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    person.channel.send(96)
    person.look()
    assert person.channel.status == 0
    assert not person.terminal.alternate
    person = Person(w)
    person.type(b":expect web01 login: --timeout 5\r")
    person.channel.send(96)
    assert person.channel.status is None
    w.console().feed(b"login: ")
    person.wait()
    assert person.channel.status == 0
    assert person.terminal.line("login:")


# Others.


def test_a_message_to_all_is_shown_until_a_key_is_pressed(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    menu = person.menu
    menu.notice(Message("bob@10.1.2.9", "the server goes down in 5 minutes; " * 4, True))
    lines = person.look()
    assert lines[20].startswith("[-- message from bob@10.1.2.9 to all: the server")
    assert lines[22].endswith("--]")
    assert person.type(DOWN)[20] == ""
    person.type(b":version\r")
    menu.notice(Message("bob@10.1.2.9", "now", True))
    person.look()
    assert person.terminal.line("[-- message from bob@10.1.2.9 to all: now --]")


def test_a_server_that_stops_puts_the_terminal_right(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    menu = person.menu
    menu.notice(ShuttingDown())
    person.look()
    assert person.channel.status == 6
    assert not person.terminal.alternate
    assert person.terminal.line("[-- console server shutting down --]")


def test_a_front_that_stops_tells_menus(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    Deferred.fromCoroutine(w.front.stop())
    person.look()
    assert person.channel.status == 6
    assert not person.terminal.alternate


@pytest.mark.parametrize("typed", [b"web", b":status", b"?"])
def test_a_signal_that_ends_the_session_puts_the_terminal_right(w: SSHWorld, typed: bytes) -> None:
    vms(w, "web01")
    person = Person(w)
    person.type(typed)
    person.channel.request(b"signal", NS(b"TERM"), reply=False)
    person.look()
    assert person.channel.status == 1
    assert not person.terminal.alternate
    assert person.terminal.wraps


def test_whoever_ends_the_session_can_put_the_terminal_right(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    session, menu = person.channel.session, person.menu
    session.send(menu.farewell())
    session.finish(1)
    w.clock.advance(10)
    person.look()
    assert not person.terminal.alternate
    assert menu.farewell() == b""


def test_a_client_that_does_not_read_is_sent_nothing_more(w: SSHWorld) -> None:
    vms(w, *(f"vm{n:03d}" for n in range(100)))
    person = Person(w, window=100)
    session = person.channel.session
    for _ in range(200):
        person.channel.type(PAGE_DOWN)
        person.channel.type(b"\x1b[5~")
        w.clock.advance(1)
    assert session.queued < DRAW_LIMIT + 8192
    person.channel.type(END)
    person.channel.adjust(1 << 20)
    person.look()
    assert person.chosen == "vm099"
    assert person.names == [f"vm{n:03d}" for n in range(79, 100)]


def test_thousands_of_consoles_are_looked_through_in_slices(w: SSHWorld) -> None:
    for n in range(2000):
        w.directory._add(UUID(int=n << 64 | 1), "1", f"vm{n:05d}", None)
    listed = ConsoleList(VisibleConsoles(w.directory, lambda: w.directory.policy.grants("alice", ())), w.directory)
    listed.begin(EPOCH)
    steps = 1
    while listed.step(300):
        assert not listed.complete
        steps += 1
    assert steps >= 7
    assert len(listed.entries) == 2000
    person = Person(w)
    assert person.terminal.lines[0].startswith(" 2,000 consoles ")


def test_words_about_columns_find_what_they_find_among_thousands(w: SSHWorld) -> None:
    for n in range(2500):
        w.directory._add(UUID(int=n << 64 | 1), "1", f"vm{n:05d}", None)
    w.vm("zz")
    person = Person(w)
    person.type(b"state:up")
    assert person.top.startswith(" 1 of 2,501 consoles ")
    assert person.names == ["zz"]
    w.lose(w.console("zz"))
    person.wait()
    assert person.top.startswith(" 0 of 2,501 consoles ")


def test_two_menus_on_one_connection_do_not_meddle(w: SSHWorld) -> None:
    vms(w, "web01", "db01")
    client = w.login()
    channels = [client.attach() for _ in range(2)]
    channels[0].type(b"web\r")
    channels[1].type(b"db")
    assert len(w.console("web01").viewers.all) == 1
    terminal = Terminal()
    terminal.feed(channels[1].screen)
    assert terminal.line(">db01")
