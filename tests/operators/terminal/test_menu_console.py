"""From the menu to a console and back: who attaches, and what becomes of the terminal meanwhile."""

from __future__ import annotations

from tests.support.menu import DOWN, PAGE_DOWN, Person, vms
from tests.support.ssh import SSHWorld


def test_enter_attaches_and_the_escape_comes_back_to_the_same_place(w: SSHWorld) -> None:
    links = vms(w, *(f"vm{n:03d}" for n in range(100)))
    person = Person(w)
    person.type(b"vm0" + PAGE_DOWN + DOWN)
    before = person.terminal.lines
    assert person.chosen == "vm022"
    person.type(b"\r")
    assert not person.terminal.alternate
    assert person.terminal.wraps
    assert person.terminal.line("[vm022 -- up")
    assert person.terminal.line("[attached]")
    person.type(b"ls\r")
    assert links[22].written == b"ls\r"
    w.clock.advance(5)
    person.look()
    assert not person.terminal.alternate
    person.type(b"\x05c.")
    assert person.terminal.alternate
    assert person.terminal.lines[:-1] == before[:-1]
    assert person.terminal.lines[-1] == " vm022: detached"
    assert w.console("vm022").viewers.all == ()
    assert person.type(DOWN)[-1] == before[-1]
    assert person.chosen == "vm023"


def test_tab_attaches_to_look_on(w: SSHWorld) -> None:
    (link,) = vms(w, "web01")
    person = Person(w)
    person.type(b"\t")
    assert person.terminal.line("[spy]")
    person.type(b"x")
    assert link.written == b""
    person.type(b"\x05c.")
    assert person.terminal.alternate


def test_what_is_typed_ahead_reaches_the_console_and_the_menu(w: SSHWorld) -> None:
    (link,) = vms(w, "web01")
    person = Person(w)
    person.type(b"web\rls\r\x05c.")
    assert link.written == b"ls\r"
    person.type(b"x")
    assert person.terminal.lines[0] == " 0 of 1 console    filter: webx"


def test_what_is_typed_behind_the_command_console_reaches_the_console(w: SSHWorld) -> None:
    (link,) = vms(w, "web01")
    person = Person(w)
    person.type(b":console web01\rls\r")
    assert link.written == b"ls\r"
    person.type(b"\x05c.x")
    assert person.terminal.alternate


def test_a_filter_and_enter_in_one_packet_take_what_fits(w: SSHWorld) -> None:
    vms(w, "db01", "web01")
    person = Person(w)
    person.type(b"web\r")
    assert [len(w.console(name).viewers.all) for name in ("db01", "web01")] == [0, 1]


def test_who_is_sent_off_is_back_in_the_menu_and_reads_why(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    person.type(b"\r")
    console = w.console()
    console.viewers.kick(console.viewers.all[0], "bob@10.1.2.9", "lunch")
    person.wait()
    assert person.terminal.alternate
    assert person.terminal.lines[-1] == " web01: disconnected by an administrator"


def test_who_may_not_look_any_more_is_back_in_the_menu(w: SSHWorld) -> None:
    vms(w, "web01", "web02")
    person = Person(w)
    person.type(b"\r")
    w.rules(("alice", "write", "web02"))
    person.wait()
    assert person.terminal.alternate
    assert person.names == ["web02"]
    assert person.terminal.lines[-1] == " web01: no such console"


def test_a_terminal_that_was_resized_on_a_console_is_known(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    person.type(b"\r")
    person.resize(40, 10)
    person.type(b"\x05c.")
    assert person.terminal.lines[9] == " web01: detached"


def test_what_a_guest_does_to_the_terminal_does_not_spoil_the_menu(w: SSHWorld) -> None:
    vms(w, "web01", "web02")
    person = Person(w)
    before = person.terminal.lines
    person.type(b"\r")
    w.console("web01").feed(b"\x1b[5;10r\x1b[?6h\x1b[4h\x1b[?25l\x1b[1;7;31m\x1b)0\x0e\x1b[?1h\x1b=\x1b[?1003h")
    person.type(b"\x05c.")
    assert person.terminal.lines[:-1] == before[:-1]
    assert not person.terminal.screen.cursor.hidden
    assert person.terminal.reversed == [2]
    assert not person.terminal.screen.buffer[3][1].bold
