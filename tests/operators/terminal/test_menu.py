"""The list of the menu as a person sees it: on a terminal, through the real front, a key at a time."""

from __future__ import annotations

from tests.support.fakes import VM_A, VM_B, FakeViewer
from tests.support.menu import DOWN, END, PAGE_DOWN, UP, Person, vms
from tests.support.ssh import SSHWorld

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
