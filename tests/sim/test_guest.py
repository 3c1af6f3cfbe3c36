"""The guest: boot, login, the shell, and standing still."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from vmproxy.sim.guest import INPUT_LIMIT, LinuxGuest

PROMPT = b"root@web01:~# "


class Machine:
    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.out = b""
        self.asked = 0
        options.setdefault("boot_speed", 0)
        self.guest = LinuxGuest(
            "web01", self.clock, self.print, vmotion=self.vmotion, wall=lambda: 1_700_000_000.0, **options
        )

    def print(self, data: bytes) -> None:
        assert data
        self.out += data

    def vmotion(self) -> None:
        self.asked += 1

    def type(self, data: bytes, seconds: float = 0) -> bytes:
        self.out = b""
        self.guest.feed(data)
        if seconds:
            self.clock.pump([0.01] * round(seconds * 100))
        return self.out


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.guest.start()
    machine.type(b"root\r")
    return machine


def test_boot_takes_its_time_and_ends_in_a_login() -> None:
    machine = Machine(boot_speed=1.0)
    machine.guest.start()
    assert b"login:" not in machine.out
    machine.clock.pump([0.05] * 200)
    assert machine.out.count(b"\n") == machine.out.count(b"\r\n") > 40
    assert b"[    0.000000] Linux version" in machine.out
    assert b"Set hostname to <web01>" in machine.out
    assert machine.out.endswith(b"\r\nweb01 login: ")


def test_boot_speed_0_is_at_once_and_typing_into_the_boot_is_lost() -> None:
    machine = Machine()
    machine.guest.feed(b"nobody reads\r")
    machine.guest.start()
    machine.guest.start()
    assert machine.out.endswith(b"login: ")
    assert machine.out.count(b"login: ") == 1


def test_root_needs_no_password_and_others_type_theirs_unseen() -> None:
    machine = Machine()
    machine.guest.start()
    assert machine.type(b"\r") == b"\r\nweb01 login: "
    assert machine.type(b"root\r").endswith(PROMPT)
    assert machine.type(b"\x04").endswith(b"web01 login: ")
    assert machine.type(b"eve\r") == b"eve\r\nPassword: "
    assert machine.type(b"s\x7fecret") == b""
    assert machine.type(b"\r").endswith(b"eve@web01:~$ ")
    assert machine.type(b"whoami\r") == b"whoami\r\neve\r\neve@web01:~$ "


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        (b"echo hi\r", b"hi\r\n"),
        (b"hostname\n", b"web01\r\n"),
        (b"uname\n", b"Linux\r\n"),
        (b"date\r\0", b"Tue Nov 14 22:13:20 UTC 2023\r\n"),
        (b"foo --bar\r", b"-bash: foo: command not found\r\n"),
        (b"echo 'open\r", b"-bash: syntax error: unexpected end of file\r\n"),
        (b"ls\r", b"README  notes.txt\r\n"),
        (b"ls /\r", b"etc  proc  root\r\n"),
        (b"ls /nowhere\r", b"ls: cannot access '/nowhere': No such file or directory\r\n"),
        (b"cat nope\r", b"cat: nope: No such file or directory\r\n"),
        (b"cat /etc/hostname\r", b"web01\r\n"),
        (b"count x\r", b"usage: count N   (up to 10000000)\r\n"),
        (b"\r", b""),
    ],
)
def test_commands(machine: Machine, typed: bytes, shown: bytes) -> None:
    out = machine.type(typed)
    echo, _, rest = out.partition(b"\r\n")
    assert echo == typed.rstrip(b"\r\n\0")
    assert rest == shown + PROMPT


def test_more_commands(machine: Machine) -> None:
    assert b"x86_64" in machine.type(b"uname -a\r")
    assert b"load average" in machine.type(b"uptime\r")
    assert b"Linux version" in machine.type(b"dmesg\r")
    assert b"simulated" in machine.type(b"cat /etc/os-release\r")
    assert b"vmotion" in machine.type(b"help\r")
    assert machine.type(b"exit\r").endswith(b"login: ")


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (b"ab\x7fc", b"ac"),
        (b"ab\x08\x08c", b"c"),
        ("aé".encode() + b"\x7fx", b"ax"),
        (b"gone\x15kept", b"kept"),
        (b"one two \x17x", b"one x"),
        (b"a\x1b[Cb\x1bOHc\x1b[1;5Dd", b"abcd"),
    ],
)
def test_editing(machine: Machine, typed: bytes, line: bytes) -> None:
    assert machine.type(b"echo " + typed.replace(b"\x15", b"\x15echo ") + b"\r").endswith(
        b"\r\n" + line + b"\r\n" + PROMPT
    )


def test_backspace_rubs_out_and_history_comes_back(machine: Machine) -> None:
    assert machine.type(b"x\x7f\x7f") == b"x\b \b"
    machine.type(b"echo one\recho two\r")
    assert machine.type(b"\x1b[A") == b"echo two"
    assert machine.type(b"\x1b[A") == b"\b \b" * 8 + b"echo one"
    assert machine.type(b"\x1b[B\r").endswith(b"\r\ntwo\r\n" + PROMPT)


def test_interrupt_and_clear(machine: Machine) -> None:
    assert machine.type(b"abc\x03") == b"abc^C\r\n" + PROMPT
    assert machine.type(b"abc\x0c") == b"abc\x1b[H\x1b[2J" + PROMPT + b"abc"


def test_a_line_is_bounded(machine: Machine) -> None:
    out = machine.type(b"x" * 5000)
    assert out == b"x" * 4096 + b"\a" * 904
    assert machine.guest.overruns == 0


def test_count_prints_every_line_and_takes_what_is_typed_ahead(machine: Machine) -> None:
    out = machine.type(b"count 120\recho done\r", seconds=1)
    assert [line for line in out.split(b"\r\n") if line.startswith(b"line")] == [
        b"line %d of 120" % n for n in range(1, 121)
    ]
    assert out.endswith(b"done\r\n" + PROMPT)


def test_interrupting_endless_output(machine: Machine) -> None:
    assert machine.type(b"yes\r", seconds=0.1).count(b"y\r\n") >= 50
    assert machine.type(b"lost" + b"x" * 5000 + b"\x03echo on\r").endswith(b"on\r\n" + PROMPT)
    assert machine.type(b"yes 3\r", seconds=0.1).count(b"y\r\n") == 3


def test_vmotion_is_asked_for_behind_the_prompt(machine: Machine) -> None:
    assert machine.type(b"vmotion\r") == b"vmotion\r\n" + PROMPT
    assert machine.asked == 1


@pytest.mark.parametrize("command", [b"reboot", b"panic"])
def test_reboot_and_panic_come_back(command: bytes) -> None:
    machine = Machine(boot_speed=1.0)
    machine.guest.start()
    machine.clock.pump([0.05] * 200)
    machine.guest.feed(b"root\r")
    out = machine.type(command + b"\r", seconds=25)
    assert (b"Kernel panic" in out) is (command == b"panic")
    assert b"Linux version" in out
    assert out.endswith(b"login: ")
    assert machine.type(b"root\r").endswith(PROMPT)


def test_a_stunned_guest_stands_still(machine: Machine) -> None:
    machine.type(b"count 1000\r", seconds=0.05)
    before = machine.out
    machine.guest.stun()
    machine.guest.pause()
    assert machine.type(b"echo x\r", seconds=5) == b""
    machine.guest.break_received()
    machine.guest.unstun()
    machine.clock.advance(5)
    assert machine.out == b""
    machine.guest.resume()
    machine.clock.pump([0.01] * 50)
    out = before + machine.out
    assert [line for line in out.split(b"\r\n") if line.startswith(b"line")] == [
        b"line %d of 1000" % n for n in range(1, 1001)
    ]
    assert out.endswith(b"x\r\n" + PROMPT)


def test_what_is_typed_at_a_stunned_guest_is_bounded(machine: Machine) -> None:
    machine.guest.stun()
    machine.guest.feed(b"x" * (INPUT_LIMIT + 10))
    assert machine.guest.overruns == 10


def test_the_output_may_pause_the_guest_while_it_prints() -> None:
    machine = Machine()
    printed = []

    def output(data: bytes) -> None:
        printed.append(data)
        machine.guest.pause()

    machine.guest = LinuxGuest("web01", machine.clock, output, boot_speed=0)
    machine.guest.start()
    assert len(printed) == 1
    assert b"login:" not in printed[0]
    while machine.guest._frozen:
        machine.guest.resume()
    assert printed[-1].endswith(b"login: ")


def test_break_and_chatter_leave_the_line_as_it_was() -> None:
    machine = Machine(chatter=10)
    machine.guest.start()
    machine.type(b"root\recho hal")
    machine.out = b""
    machine.guest.break_received()
    assert b"sysrq: HELP" in machine.out
    assert machine.out.endswith(PROMPT + b"echo hal")
    machine.out = b""
    machine.clock.advance(15)
    assert machine.out.startswith(b"\r\nNov 14 22:13:20 web01 ")
    assert machine.out.endswith(PROMPT + b"echo hal")
    machine.guest.stop()
    assert machine.clock.getDelayedCalls() == []
    assert machine.type(b"anything\r") == b""


@given(st.lists(st.binary(max_size=40), max_size=30))
def test_no_input_upsets_it(pieces: list[bytes]) -> None:
    machine = Machine()
    machine.guest.start()
    for piece in pieces:
        machine.guest.feed(piece)
        machine.clock.advance(0.01)
    machine.guest.stop()


@pytest.mark.parametrize("pieces", [[b"uname\r\n"], [b"uname\r", b"\n"], [b"uname\r\0\n"]])
def test_cr_and_lf_are_an_enter_each_as_on_a_linux_terminal(machine: Machine, pieces: list[bytes]) -> None:
    out = b"".join(map(machine.type, pieces))
    assert out == b"uname\r\nLinux\r\n" + PROMPT + b"\r\n" + PROMPT
