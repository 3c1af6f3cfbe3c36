"""The menu as a person sees it: on a terminal, through the real front, a key at a time."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest
from twisted.conch.ssh.common import NS
from twisted.internet.defer import Deferred

from tests.support.fakes import EPOCH, VM_A, VM_B, FakeViewer
from tests.support.menu import DOWN, END, PAGE_DOWN, UP, Person, vms
from tests.support.ssh import SSHWorld
from tests.support.terminal import Terminal
from vmproxy.console.notices import Message, ShuttingDown
from vmproxy.operators.terminal.menu_list import ConsoleList
from vmproxy.operators.terminal.menu_view import DRAW_LIMIT
from vmproxy.operators.terminal.screen import ENTER, LEAVE
from vmproxy.operators.visible import VisibleConsoles

# The list.


def test_the_list_shows_name_state_writer_and_last_line_in_order(w: SSHWorld) -> None:
    vms(w, "web02", "DB", "web01")
    w.console("web01").viewers.attach(FakeViewer("bob@10.1.2.9"), write=True)
    w.console("web01").viewers.attach(FakeViewer("carol@10.1.2.8"), write=True)
    w.console("web01").feed(b"booting\r\n\x1b[1mlogin:\x1b[0m ")
    w.clock.advance(130)
    w.settle()
    person = Person(w)
    lines = person.look()
    assert person.terminal.alternate
    assert person.top == " 3 consoles    filter: type a part of a name"
    assert lines[0].endswith(" 1/3")
    assert lines[1].split() == ["NAME", "STATE", "WRITER", "LAST", "OUTPUT"]
    assert person.names == ["DB", "web01", "web02"]
    assert lines[3].split() == ["web01", "up", "2m", "bob", "+1", "login:"]
    assert lines[-1] == " Enter attach   Tab read-only   Right more   : command   ? help   ^D leave"
    assert person.terminal.cursor == (0, 23)


def test_typing_filters_and_the_cursor_follows(w: SSHWorld) -> None:
    vms(w, "web01", "web02", "db01")
    person = Person(w)
    person.type(b"W")
    person.type(b"eb")
    assert person.names == ["web01", "web02"]
    assert person.top == " 2 of 3 consoles    filter: Web"
    assert person.terminal.cursor == (0, 31)
    person.type(b"02")
    assert person.names == ["web02"]
    person.type(b"\x7f\x7f\x7f\x7f\x7f0")
    assert person.names == ["db01", "web01", "web02"]
    person.type(b"\x15")
    assert person.terminal.lines[0].startswith(" 3 consoles ")


def test_the_filter_takes_globs(w: SSHWorld) -> None:
    vms(w, "web01", "web02", "db01", "db[1]")
    person = Person(w)
    person.type(b"b?1")
    assert person.names == ["db01", "db[1]", "web01"]
    person.type(b"\x15w*2")
    assert person.names == ["web02"]
    person.type(b"\x15[1")
    assert person.names == ["db[1]"]


def test_nothing_that_fits_is_said(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    assert " no match (Esc clears the filter)" in person.type(b"xyz")
    person.type(b"\r")
    assert person.terminal.alternate
    person.type(b"\x1b")
    assert person.names == []
    person.wait(0.3)
    assert person.names == ["web01"]


def test_no_consoles_yet_and_then_one(w: SSHWorld) -> None:
    person = Person(w)
    assert " no consoles yet" in person.look()
    vms(w, "web01")
    person.wait()
    assert person.names == ["web01"]
    assert person.chosen == "web01"


def test_while_there_is_no_console_the_menu_says_what_to_enter_in_vsphere(w: SSHWorld) -> None:
    w.services.to_connect = lambda: [
        " In vSphere, serial port:    Direction: Server, Port URI: vmproxy",
        "                             vSPC URI: telnet://con.example.com:13370",
    ]
    person = Person(w)
    assert person.terminal.line("Direction: Server, Port URI: vmproxy")
    assert person.terminal.line("vSPC URI: telnet://con.example.com:13370")
    for size in ((40, 8), (20, 5), (200, 50)):
        person.resize(*size)
        assert any("no consoles yet" in line for line in person.look())
        assert "? help" in person.terminal.lines[-1]
    vms(w, "web01")
    person.wait()
    assert person.names == ["web01"]
    assert not any("vSPC" in line for line in person.terminal.lines)


def test_arrows_move_and_the_list_scrolls(w: SSHWorld) -> None:
    vms(w, *(f"vm{n:03d}" for n in range(100)))
    person = Person(w)
    assert person.chosen == "vm000"
    person.type(DOWN + DOWN)
    assert person.chosen == "vm002"
    person.type(b"\x10")
    assert person.chosen == "vm001"
    person.type(b"\x1bOA\x1bOA\x1bOA")
    assert person.chosen == "vm000"
    person.type(PAGE_DOWN)
    assert person.chosen == "vm021"
    assert person.names[0] == "vm021"
    person.type(END)
    assert person.chosen == "vm099"
    assert person.names == [f"vm{n:03d}" for n in range(79, 100)]
    person.type(UP)
    assert person.chosen == "vm098"
    assert person.names[-1] == "vm099"
    person.type(b"\x1b[1~")
    assert person.chosen == "vm000"


def test_the_chosen_line_is_in_reverse_and_marked(w: SSHWorld) -> None:
    vms(w, "a", "b")
    person = Person(w)
    person.type(DOWN)
    assert person.terminal.reversed == [3]
    assert person.terminal.lines[3].startswith(">b")


def test_what_is_chosen_stays_so_when_others_come(w: SSHWorld) -> None:
    vms(w, "m1", "m2")
    person = Person(w)
    person.type(DOWN)
    w.vm("a0", VM_A)
    person.wait()
    assert person.names == ["a0", "m1", "m2"]
    assert person.chosen == "m2"


def test_states_and_names_change_by_themselves(w: SSHWorld) -> None:
    (link,) = vms(w, "web01")
    person = Person(w)
    assert "up <1m" in person.terminal.line("web01")
    w.directory.lost(w.console(), link, "power off")
    person.wait()
    assert "down <1m" in person.terminal.line("web01")
    w.directory.rename(w.console(), "mail01")
    person.wait(6)
    assert person.names == ["mail01"]


def test_a_second_in_which_nothing_happens_sends_nothing(w: SSHWorld) -> None:
    vms(w, "web01", "web02")
    person = Person(w)
    person.wait()
    w.clock.advance(1)
    assert person.bytes_since == 0


def test_a_change_sends_one_line(w: SSHWorld) -> None:
    vms(w, *(f"vm{n:03d}" for n in range(20)))
    person = Person(w)
    person.wait()
    w.console("vm004").viewers.attach(FakeViewer("bob@10.1.2.9"), write=True)
    w.clock.advance(1)
    assert 0 < person.bytes_since < 100
    person.look()
    assert "bob" in person.terminal.line("vm004")


def test_a_closed_menu_leaves_no_timer(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    person.type(b"\x1b")
    person.channel.close()
    w.clock.advance(0)
    assert not [call for call in w.clock.getDelayedCalls() if "menu" in repr(call.func)]  # type: ignore[attr-defined]  # looked at on purpose


def test_names_and_output_from_vms_cannot_reach_the_terminal(w: SSHWorld) -> None:
    vms(w, "a\x1b[2Jb\u202e", "日本語日本語")
    w.console("a\x1b[2Jb\u202e").feed(b"\x1b]0;title\x07evil \xe2\x80\xae\x9b2J text\tend\r\n")
    w.settle()
    person = Person(w)
    line = person.terminal.line("\\x1b[2J")
    assert line.startswith(">a\\x1b[2Jb\\u202e")
    assert line.endswith("evil \\u202e\\x9b2J text end")
    assert b"\x1b]0" not in person.channel.screen
    japanese = person.terminal.screen.display[3]
    assert "日" in japanese


def test_vms_of_one_name_and_other_ports_are_all_there(w: SSHWorld) -> None:
    w.vm("web01", VM_A)
    w.vm("web01", VM_B)
    w.vm("web01", VM_A, port="2")
    person = Person(w)
    assert person.names == [f"web01~{VM_A.hex[:8]}", f"web01~{VM_B.hex[:8]}", "web01.2"]
    person.type(DOWN + b"\r")
    w.clock.advance(0)
    assert w.directory.names.find(str(VM_A)).viewers.all == ()
    assert len(w.directory.names.find(str(VM_B)).viewers.all) == 1


# The last lines.


def test_the_last_line_follows_the_output(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    w.console().feed(b"one\r\n")
    w.settle()
    person.wait()
    assert person.terminal.line("web01").endswith(" one")
    w.console().feed(b"two\r\n\r\n  \r\n")
    w.settle()
    person.wait()
    assert person.terminal.line("web01").endswith(" two")


def test_what_reaches_the_log_later_is_shown_later(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    w.runner.held = True
    w.console().feed(b"late\r\n")
    person.wait()
    assert not person.terminal.line("web01").endswith("late")
    w.runner.release()
    w.settle()
    person.wait()
    person.wait()
    assert person.terminal.line("web01").endswith("late")


def test_logs_are_read_once_until_there_is_more(w: SSHWorld) -> None:
    vms(w, "web01", "web02")
    w.console("web01").feed(b"one\r\n")
    w.settle()
    person = Person(w)
    person.wait(3)
    w.threads_held = True
    person.wait(3)
    assert w.waiting_for_threads == 0
    w.console("web01").feed(b"two\r\n")
    person.wait(1)
    person.wait(1)
    assert w.waiting_for_threads == 1
    w.release_threads()


def test_only_logs_of_consoles_on_the_screen_are_read(w: SSHWorld) -> None:
    vms(w, *(f"vm{n:03d}" for n in range(100)))
    for console in w.directory:
        console.feed(b"said\r\n")
    w.settle()
    person = Person(w)
    person.wait()
    assert all(line.endswith("said") for line in person.terminal.lines[2:23])
    person.type(END)
    person.wait()
    assert all(line.endswith("said") for line in person.terminal.lines[2:23])
    menu = person.menu
    assert len(menu._view._last._known) == 42


def test_who_may_see_but_not_spy_sees_no_output(w: SSHWorld) -> None:
    vms(w, "web01", "web02")
    for console in w.directory:
        console.feed(b"secret\r\n")
    w.settle()
    w.rules(("alice", "see", "web01"), ("alice", "spy", "web02"))
    person = Person(w)
    person.wait()
    assert person.names == ["web01", "web02"]
    assert "secret" not in person.terminal.line("web01")
    assert "secret" in person.terminal.line("web02")
    person.type(b"\r")
    assert person.terminal.alternate
    assert "you may list it, but not read it" in person.terminal.lines[-1]
    assert w.console("web01").viewers.all == ()


# What may not be seen.


def test_what_may_not_be_seen_is_not_there(w: SSHWorld) -> None:
    vms(w, "web01", "secret01")
    w.rules(("alice", "write", "web*"))
    person = Person(w)
    assert person.names == ["web01"]
    assert person.terminal.lines[0].startswith(" 1 console ")
    person.type(b":secret\t\t")
    person.wait()
    assert "secret01" not in "".join(person.terminal.lines)


def test_new_rules_hold_at_once(w: SSHWorld) -> None:
    vms(w, "web01", "web02")
    person = Person(w)
    w.rules(("alice", "write", "web02"))
    person.type(b"0")
    assert person.names == ["web02"]
    w.rules()
    person.wait()
    assert person.names == []
    assert " no consoles yet" in person.terminal.lines


def test_a_console_that_is_hidden_by_its_new_name_is_gone_at_once(w: SSHWorld) -> None:
    vms(w, "web01", "web02")
    w.rules(("alice", "write", "web*"))
    person = Person(w)
    w.directory.rename(w.console("web01"), "db01")
    person.type(b"0")
    assert person.names == ["web02"]


def test_enter_on_a_console_that_has_just_been_hidden(w: SSHWorld) -> None:
    vms(w, "web01", "web02")
    person = Person(w)
    w.rules(("alice", "write", "web02"))
    person.type(b"\r")
    assert person.terminal.alternate
    assert person.terminal.lines[-1] == " web01: no such console"
    assert w.console("web01").viewers.all == ()


def test_the_new_name_of_a_console_that_may_not_be_seen_any_more_is_not_told(w: SSHWorld) -> None:
    vms(w, "web01", "web02")
    w.rules(("alice", "write", "web*"))
    person = Person(w)
    w.directory.rename(w.console("web01"), "secret")
    person.type(b"\r")
    assert person.terminal.lines[-1] == " web01: no such console"
    person.type(b"\r")
    w.directory.rename(w.console("web02"), "secret2")
    person.wait()
    assert person.terminal.lines[-1] == " web02: no such console"
    w.directory.rename(w.console("secret"), "web03")
    person.wait(6)
    person.type(b":log -f web03\r")
    w.directory.rename(w.console("web03"), "secret3")
    person.wait()
    assert b"no such console any more" in person.channel.screen
    assert b"secret" not in person.channel.screen


# Consoles.


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


# Sizes.


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


# The prompt.


def test_a_command_runs_on_the_screen_that_was_there_before(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    person.type(b":")
    assert person.terminal.lines[-1] == ":"
    assert person.terminal.cursor == (23, 1)
    person.type(b"whoami")
    assert person.terminal.lines[-1] == ":whoami"
    person.type(b"\r")
    assert not person.terminal.alternate
    assert person.terminal.lines[0] == ":whoami"
    assert person.terminal.line("alice")
    assert person.terminal.line("[any key: back to the menu]")
    person.type(b"x")
    assert person.terminal.alternate
    assert person.names == ["web01"]
    assert person.top.endswith("filter: type a part of a name")


def test_what_a_second_command_prints_begins_on_a_line_of_its_own(w: SSHWorld) -> None:
    person = Person(w)
    person.type(b":version\r")
    person.type(b":whoami\r")
    assert b"back to the menu]\r\n" in person.channel.screen


def test_a_command_that_fails_says_so(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    person.type(b":status nothing\r")
    person.wait()
    assert person.terminal.line("nothing: no such console")
    assert person.terminal.line("[status 3; any key: back to the menu]")
    person.type(b":version\r")
    person.wait()
    assert person.terminal.line("vmproxy ")
    person.type(DOWN)
    assert person.names == ["web01"]


def test_a_name_at_the_prompt_attaches_and_detaching_is_back_in_the_menu(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    person.type(b":web01,ro\r")
    assert person.terminal.line("[spy]")
    person.type(b"\x05c.")
    assert person.terminal.lines[-1] == " web01: detached"
    person.type(b":nothing\r")
    assert person.terminal.line("nothing: no such console")
    assert person.terminal.line("[status 3;")
    person.type(b":web01,bogus\r")
    assert person.terminal.line("bogus: no such option")


def test_the_console_command_comes_back_too(w: SSHWorld) -> None:
    (link,) = vms(w, "web01")
    person = Person(w)
    person.type(b":console web01\r")
    person.type(b"x")
    assert link.written == b"x"
    person.type(b"\x05c.")
    assert person.terminal.line("[any key: back to the menu]")
    person.type(b" ")
    assert person.names == ["web01"]


def test_control_c_ends_a_command_and_not_the_session(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    person.type(b":expect web01 never\r")
    assert not person.terminal.line("any key")
    person.type(b"typed\x03")
    assert person.terminal.line("[status 130; any key: back to the menu]")
    assert w.console().viewers.all == ()
    person.type(b" ")
    assert person.terminal.alternate


def test_a_session_that_ends_cancels_its_command(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    person.type(b":expect web01 never\r")
    person.channel.close()
    assert w.console().viewers.all == ()


@pytest.mark.parametrize("key", [b"\x03", b"\x04", b"\x1b", b"\x7f", b"\r"])
def test_the_prompt_can_be_left(w: SSHWorld, key: bytes) -> None:
    vms(w, "web01")
    person = Person(w)
    person.type(b":")
    person.type(key)
    assert person.terminal.lines[-1].startswith(" Enter attach")
    person.type(b"w")
    assert person.top.endswith("filter: w")


def test_what_was_entered_comes_back(w: SSHWorld) -> None:
    person = Person(w)
    person.type(b":version\r")
    person.type(b" ")
    person.type(b":")
    person.type(UP)
    assert person.terminal.lines[-1] == ":version"


def test_the_list_goes_on_above_the_prompt(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    person.type(b":stat")
    w.vm("web02", VM_B)
    person.wait()
    assert person.names == ["web01", "web02"]
    assert person.terminal.lines[-1] == ":stat"
    assert person.terminal.cursor == (23, 5)


def test_tab_completes_commands_and_consoles(w: SSHWorld) -> None:
    vms(w, "web01", "web02", "a b", "a c", "it's")
    person = Person(w)
    assert person.type(b":stat\t")[-1] == ":status"
    assert person.type(b"w\t")[-1] == ":status web0"
    lines = person.type(b"\t")
    assert lines[-2] == "web01  web02"
    assert person.type(b"2\t")[-1] == ":status web02"
    assert "web01  web02" not in person.terminal.lines
    assert person.type(b"\x15status a\t")[-1] == ":status 'a"
    assert person.type(b"c\t")[-1] == ":status 'a c'"
    assert person.type(b'\x15status "a b\t')[-1] == ':status "a b"'
    assert person.type(b"\x15status it\t")[-1] == ":status 'it'\"'\"'s'"
    person.type(b"\r")
    assert person.terminal.line("console: it's")


def test_tab_on_an_empty_line_lists_the_commands(w: SSHWorld) -> None:
    person = Person(w)
    lines = person.type(b":\t")
    assert any("search" in line for line in lines)
    assert lines[-1] == ":"
    assert person.type(b"help ver\t")[-1] == ":help version"


def test_of_many_names_tab_gives_what_they_have_in_common(w: SSHWorld) -> None:
    vms(w, *(f"vm-{n:04d}" for n in range(500)))
    person = Person(w)
    person.wait()
    assert person.type(b":status v\t")[-1] == ":status vm-0"


def test_names_that_are_not_unique_are_completed_to_what_is(w: SSHWorld) -> None:
    w.vm("web01", VM_A)
    w.vm("web01", VM_B)
    person = Person(w)
    person.type(b":status web\t")
    lines = person.type(b"\t")
    aliases = [w.services.registry.names.alias(console) for console in w.directory]
    assert all(alias in "".join(lines) for alias in aliases), (aliases, lines)


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
