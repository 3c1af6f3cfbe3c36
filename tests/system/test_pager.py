"""The history of a console in the pager: over the real OpenSSH client, in a real terminal."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, eventually
from tests.support.host import FakeVM
from tests.support.tmux import Tmux

MakeVM = Callable[..., FakeVM]
PROGRAM = b"\x1b[?1049h\x1b[?25l\x1b[?1003h\x1b[2J\x1b[Htop - up 3 days\r\ntasks"

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux")


def test_one_pages_through_all_files_and_is_back_where_one_was(daemon: Daemon, make_vm: MakeVM) -> None:
    vm = make_vm(daemon)
    vm.connected.say(b"".join(b"new %04d\r\n" % number for number in range(3000)))
    eventually(lambda: daemon.logged("web01").endswith(b"2999\r\n"), "it is logged")
    log = daemon.log("web01").resolve()
    for number in (1, 2):
        lines = (b"old %d of file %d\r\n" % (line, number) for line in range(100_000))
        Path(f"{log}.{number}.gz").write_bytes(gzip.compress(b"".join(lines), 1))
    with Tmux() as terminal:
        terminal.command(daemon.ssh("-t", "127.0.0.1", user="web01"))
        terminal.wait("[-- live --]")
        before = terminal.lines
        terminal.type("\x05c[")
        terminal.wait("  end  ")
        assert terminal.lines[22] == "new 2999"
        terminal.type("g")
        terminal.wait("old 22 of file 2")
        assert terminal.lines[0] == "old 0 of file 2"
        terminal.type("/new 0+$\r")
        terminal.wait("new 0000")
        assert "old 99999 of file 1" in terminal.lines
        terminal.type("?77777 of file 2\r")
        terminal.wait("old 77777 of file 2")
        vm.connected.say(b"one more\r\n")
        terminal.wait("+1 line")
        terminal.type("q")
        terminal.wait("one more")
        assert [line for line in terminal.lines if line][:-1] == [line for line in before if line][1:]
        vm.connected.say(PROGRAM)
        eventually(lambda: terminal.flags("mouse_any_flag")["mouse_any_flag"] == "1", "the program has the terminal")
        terminal.type("\x05c[")
        terminal.wait("q live")
        paging = {"mouse_any_flag": "0", "cursor_flag": "1"}
        eventually(lambda: terminal.flags(*paging) == paging, "the pager has the terminal")
        terminal.type("q")
        terminal.wait("tasks")
        assert terminal.lines[:2] == ["top - up 3 days", "tasks"]
        state = ("mouse_any_flag", "cursor_flag", "alternate_on")
        eventually(lambda: terminal.flags(*state) == dict(zip(state, "101", strict=True)), "the program has it again")
        terminal.type("\x05c.")
        terminal.wait("[detached]")
        eventually(lambda: terminal.flags(*state) == dict(zip(state, "010", strict=True)), "it is as it was")
    assert daemon.audited("log-read", count=1)
