"""An operator's own terminal, a real one: it asks the guest nothing, and gets nothing from it that stays."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.support.daemon import Daemon, eventually
from tests.support.host import FakeVM
from tests.support.tmux import Tmux

MakeVM = Callable[..., FakeVM]
# What systemd prints when it resets a console, and the prompt behind it.
LOGIN = b"\x1b[!p\x1b]104\x07\x1b[?7h\x1b[6n\x1b[32766;32766H\x1b[6n\x1b[c\r\nweb01 login: "
STATE = ("alternate_on", "cursor_flag", "mouse_any_flag", "keypad_flag", "scroll_region_upper", "scroll_region_lower")
PROGRAM = b"\x1b[?1049h\x1b[?25l\x1b[?1003h\x1b=\x1b[5;10r\x1b[1;31mtop - up 3 days"

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux")


def test_attaching_types_nothing_and_leaving_puts_the_terminal_right(daemon: Daemon, make_vm: MakeVM) -> None:
    vm = make_vm(daemon)
    other = make_vm(daemon, "db01")
    vm.connected.say(LOGIN)
    eventually(lambda: daemon.logged("web01").endswith(b"login: "), "it is logged")
    with Tmux() as terminal:
        before = terminal.flags(*STATE)
        terminal.command(daemon.ssh("-t", "127.0.0.1", user="web01"))
        terminal.wait("[-- live --]")
        terminal.type("\x05cr")
        eventually(lambda: sum("live" in line for line in terminal.lines) == 2, "it is replayed again")
        # A live question is answered, once; whatever the replay had asked would have been answered before.
        vm.connected.say(b"\x1b[5n")
        vm.connected.wait_data(b"\x1b[0n")
        assert bytes(vm.connected.data) == b"\x1b[0n"
        vm.connected.say(PROGRAM)
        eventually(lambda: terminal.flags(*STATE)["mouse_any_flag"] == "1", "the program has the terminal")
        terminal.type("\x05c;db01\r")
        terminal.wait("[attached]")
        eventually(lambda: terminal.flags(*STATE) == before, "it has no more of the first one's state")
        other.connected.say(PROGRAM)
        eventually(lambda: terminal.flags(*STATE)["mouse_any_flag"] == "1", "the program has the terminal")
        terminal.type("\x05c.")
        terminal.wait("[detached]")
        eventually(
            lambda: terminal.lines and "here>" in "".join(terminal.lines[-3:] + terminal.lines), "the shell is back"
        )
        eventually(lambda: terminal.flags(*STATE) == before, "it has nothing of a guest's state")
