"""The menu's order, marks, actions, colours, and the output beside the list."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.support.menu import DOWN, INSERT, RIGHT, UP, Person, vms
from tests.support.ssh import SSHWorld
from vmproxy.console.alert_marks import AlertMarks
from vmproxy.console.notices import Message
from vmproxy.operators.commands.registry import COMMANDS
from vmproxy.operators.terminal.menu_actions import ACTIONS
from vmproxy.operators.terminal.menu_selection import MARKS_LIMIT

# Order, marks, actions, preview.


def test_the_list_has_other_orders(w: SSHWorld) -> None:
    for n, name in enumerate(("a", "b", "c")):
        w.clock.advance(60)
        w.vm(name, UUID(int=(n + 1) << 64))
    w.lose(w.console("a"))
    w.console("c").set_alerts(AlertMarks(0, 1, 0))
    w.console("b").set_alerts(AlertMarks(1, 0, 0))
    person = Person(w)
    assert person.names == ["a", "b", "c"]
    for words, names in (
        ("by state", ["b", "c", "a"]),
        ("by last change", ["a", "c", "b"]),
        ("by host", ["a", "b", "c"]),
        ("by alerts", ["b", "c", "a"]),
    ):
        person.type(b"\x0f")
        assert person.names == names, words
        assert words in person.terminal.lines[0]
    person.type(b"\x0f")
    assert "by" not in person.terminal.lines[0]
    assert person.names == ["a", "b", "c"]


def test_what_is_down_can_be_left_out(w: SSHWorld) -> None:
    vms(w, "web01", "web02", "db01")
    w.lose(w.console("web02"))
    person = Person(w)
    person.type(b"\x18")
    assert person.names == ["db01", "web01"]
    assert "none that is down" in person.terminal.lines[0]
    w.lose(w.console("db01"))
    person.wait()
    assert person.names == ["web01"]
    person.type(b"\x18")
    assert person.names == ["db01", "web01", "web02"]


def test_the_actions_are_those_that_are_allowed(w: SSHWorld) -> None:
    vms(w, "web01")
    w.rules(("alice", "spy", "web*"))
    person = Person(w)
    person.type(RIGHT)
    shown = "\n".join(person.terminal.lines[-4:])
    assert "web01" in shown
    assert "l log" in shown
    assert "t send text" not in shown
    assert "f forget" not in shown
    person.type(b"t")  # not offered: back to the list
    assert person.terminal.lines[-1].startswith(" Enter attach")
    w.rules(("alice", "admin", "*"))
    person.type(RIGHT)
    assert "k kick" in "\n".join(person.terminal.lines)
    assert "f forget" not in "\n".join(person.terminal.lines)  # it is up
    person.type(b"s")
    assert not person.terminal.alternate
    assert b"VC UUID" in person.channel.screen


def test_an_action_that_asks_is_put_into_the_command_line(w: SSHWorld) -> None:
    vms(w, "web 01")
    person = Person(w)
    person.type(RIGHT + b"t")
    assert person.terminal.lines[-1].rstrip() == ":send web-01"
    person.type(b"hello\r")
    assert w.console("web 01").link.written == b"hello\r"


def test_several_consoles_are_marked_and_read_together(w: SSHWorld) -> None:
    vms(w, "web01", "web02", "web03")
    person = Person(w)
    person.type(INSERT + b"\x14")
    assert [line[0] for line in person.terminal.lines[2:5]] == ["*", "*", ">"]
    assert "2 marked" in person.terminal.lines[0]
    person.type(RIGHT)
    offered = "\n".join(person.terminal.lines)
    assert "2 consoles" in offered
    assert "l log" in offered
    assert "a attach" not in offered
    person.type(b"l")
    w.console("web01").feed(b"one\n")
    w.console("web02").feed(b"two\n")
    w.console("web03").feed(b"three\n")
    for _ in range(3):
        w.settle()
        person.wait()
    assert b"one" in person.channel.screen
    assert b"two" in person.channel.screen
    assert b"three" not in person.channel.screen


@pytest.mark.parametrize("key", [b"\x03", b"q"])
def test_lines_of_many_are_left_for_the_menu(w: SSHWorld, key: bytes) -> None:
    vms(w, "web01", "web02")
    person = Person(w)
    person.type(b":tail\r")
    w.login().run("broadcast 'we reboot now'")
    person.look()
    assert "we reboot now" in "\n".join(person.terminal.lines)
    person.type(b"x")
    person.type(key)
    person.wait(2)
    assert "any key: back to the menu" in "\n".join(person.terminal.lines)
    person.type(b"x")
    assert person.terminal.alternate


def test_there_are_as_many_marks_as_a_command_takes_names(w: SSHWorld) -> None:
    vms(w, *(f"vm{n:03d}" for n in range(MARKS_LIMIT + 1)))
    person = Person(w)
    person.type(INSERT * (MARKS_LIMIT + 1))
    assert f"{MARKS_LIMIT} marked" in person.terminal.lines[0]
    assert person.terminal.lines[-1] == f" at most {MARKS_LIMIT} consoles are marked"
    person.type(RIGHT + b"l")
    assert f"[-- {MARKS_LIMIT} consoles --]".encode() in person.channel.screen


def test_an_action_is_about_the_console_that_was_named(w: SSHWorld) -> None:
    vms(w, "web01", "web02")
    for name in ("web01", "web02"):
        w.lose(w.console(name))
    person = Person(w)
    person.type(b"state:down" + RIGHT)
    assert "web01" in person.terminal.lines[-4]
    w.vm("web01", UUID(int=1 << 64))
    person.wait()
    assert person.chosen == "web02"
    person.type(b"f")
    assert person.terminal.lines[-1].startswith(" Enter attach")  # web01 is up by now
    person.type(b"\x15" + UP + INSERT + RIGHT)
    w.rules(("alice", "admin", "web02"))
    person.wait()
    person.type(b"k")
    assert person.terminal.lines[-1].startswith(" Enter attach")


def test_a_message_is_shown_beside_the_actions_too(w: SSHWorld) -> None:
    vms(w, "web01")
    person = Person(w)
    person.type(RIGHT)
    person.menu.notice(Message("bob@10.1.2.9", "we reboot now", to_all=True))
    person.look()
    shown = "\n".join(person.terminal.lines)
    assert "we reboot now" in shown
    assert "l log" in shown


def test_marks_go_with_escape_and_with_the_right_to_see(w: SSHWorld) -> None:
    vms(w, "web01", "web02")
    person = Person(w)
    person.type(INSERT + INSERT)
    w.rules(("alice", "admin", "web02"))
    person.type(RIGHT)
    assert "web02" in person.terminal.line("web02")
    assert "2 consoles" not in "\n".join(person.terminal.lines)
    person.type(b"\x7f")
    person.type(b"\x1b")
    person.wait()
    assert "marked" not in person.terminal.lines[0]


def test_on_a_wide_screen_the_output_of_the_selected_console_is_beside_the_list(w: SSHWorld) -> None:
    vms(w, "web01", "web02")
    w.console("web01").feed(b"first line\r\n\x1b[31mred\x1b[0m\r\nlogin: ")
    w.settle()
    person = Person(w, (160, 24))
    person.wait()
    right = [line[80:] for line in person.terminal.lines]
    assert right[1].strip() == "| web01"
    assert [line.strip("| ") for line in right[2:5]] == ["first line", "red", "login:"]
    person.type(DOWN)
    person.wait()
    assert person.terminal.lines[1][80:].strip() == "| web02"
    assert "login:" not in "\n".join(line[80:] for line in person.terminal.lines)
    w.rules(("alice", "see", "*"))
    person.type(UP)
    person.wait()
    assert "first line" not in "\n".join(person.terminal.lines)


def test_what_is_beside_the_list_is_read_once_a_second_however_much_is_said(w: SSHWorld) -> None:
    vms(w, "web01")
    w.console().feed(b"one\r\n")
    w.settle()
    person = Person(w, (160, 24))
    person.wait(5)
    w.threads_held = True
    w.console().feed(b"a\tb\r\n")
    w.settle()
    person.wait()
    assert w.waiting_for_threads > 0
    w.console().feed(b"three\r\n")
    w.settle()
    w.release_threads()
    person.look()
    assert [line[80:].strip("| ") for line in person.terminal.lines[2:5]] == ["one", "a       b", "three"]
    w.console().feed(b"four\r\n")
    person.type(b"\x0c")
    assert w.waiting_for_threads == 0
    w.threads_held = False
    person.wait()
    assert person.terminal.lines[5][80:].strip("| ") == "four"


def test_what_reaches_the_log_later_is_beside_the_list_later(w: SSHWorld) -> None:
    vms(w, "web01")
    w.console().feed(b"early\r\n")
    w.settle()
    person = Person(w, (160, 24))
    person.wait(5)
    w.runner.held = True
    w.console().feed(b"late\r\n")
    person.wait()
    w.runner.release()
    w.settle()
    person.wait()
    person.wait()
    assert person.terminal.lines[3][80:].strip("| ") == "late"


@pytest.mark.parametrize(("term", "no_color", "coloured"), [(b"xterm", False, True), (b"xterm", True, False)])
def test_rows_have_colours_by_state_and_alerts(w: SSHWorld, term: bytes, no_color: bool, coloured: bool) -> None:
    vms(w, "a", "b", "c")
    w.lose(w.console("c"))
    w.console("b").set_alerts(AlertMarks(2, 0, 0))
    person = Person(w, term=term, env={b"NO_COLOR": b"1"} if no_color else {})
    assert "2 crit" in person.terminal.lines[3]
    assert (person.terminal.screen.buffer[3][1].fg == "red") is coloured
    assert person.terminal.screen.buffer[2][1].fg == "default"
    w.rules(("alice", "see", "*"))
    person.wait()
    assert "crit" not in "\n".join(person.terminal.lines)


def test_actions_name_commands_that_there_are_with_the_right_that_they_need() -> None:
    for action in ACTIONS:
        if action.command:
            assert COMMANDS[action.command.split()[0]].right == action.right, action.text
