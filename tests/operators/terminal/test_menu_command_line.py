"""Commands at the prompt of the menu."""

from __future__ import annotations

import pytest

from tests.support.fakes import VM_A, VM_B
from tests.support.menu import DOWN, UP, Person, vms
from tests.support.ssh import SSHWorld


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
