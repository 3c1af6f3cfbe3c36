"""The menu on a real terminal: OpenSSH's client on a pty, and what a person sees of it."""

from __future__ import annotations

import getpass
import signal
import struct
import termios
from collections.abc import Callable, Iterator
from fcntl import ioctl

import pytest

from tests.support.daemon import Client, Daemon, eventually
from tests.support.host import FakeVM
from tests.support.terminal import Terminal

MakeVM = Callable[..., FakeVM]
MakeClient = Callable[..., Client]


class Person:
    """Somebody with a terminal, who has typed ``ssh HOST``."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.terminal = Terminal()
        self._seen = 0

    def look(self) -> list[str]:
        """What is on the screen now."""
        data = bytes(self.client.out)
        self.terminal.feed(data[self._seen :])
        self._seen = len(data)
        return self.terminal.lines

    def sees(self, text: str) -> str:
        """Wait until a text is on the screen; :returns: its line."""
        eventually(lambda: any(text in line for line in self.look()), f"{text!r} in {self.look()}")
        return self.terminal.line(text)

    def sees_no_more(self, text: str) -> None:
        eventually(lambda: not any(text in line for line in self.look()), f"{text!r} gone from {self.look()}")

    def type(self, data: bytes) -> None:
        self.client.type(data)

    def resize(self, width: int, height: int) -> None:
        self.terminal.resize(width, height)
        ioctl(self.client._input, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.client.process.send_signal(signal.SIGWINCH)

    def end(self) -> int:
        status = self.client.end()
        self.look()
        return status


Come = Callable[..., Person]


@pytest.fixture
def come(daemon: Daemon) -> Iterator[Callable[..., Person]]:
    """Has somebody come, with a terminal of some kind."""
    clients: list[Client] = []

    def start(term: str = "xterm-256color") -> Person:
        clients.append(Client(["env", f"TERM={term}", *daemon.ssh("-tt", "127.0.0.1")], terminal=True))
        return Person(clients[-1])

    yield start
    for one in clients:
        one.close()


def test_an_operator_finds_a_console_works_there_and_comes_back(daemon: Daemon, make_vm: MakeVM, come: Come) -> None:
    web, _, db = (make_vm(daemon, name) for name in ("web01", "web02", "db01"))
    web.connected.say(b"Debian GNU/Linux 13\r\n\r\nweb01 login: ")
    person = come()
    assert person.sees("web01 login:").startswith(" web01")
    assert person.terminal.alternate
    rows = [[">db01"], ["web01"], ["web02"]]
    eventually(lambda: [line.split()[:1] for line in person.look()[2:5]] == rows, "all of them are listed")
    person.type(b"web")
    person.sees_no_more("db01")
    person.type(b"\r")
    person.sees("[attached]")
    assert not person.terminal.alternate
    person.type(b"root\r")
    web.connected.wait_data(b"root\r")
    web.connected.say(b"root\r\nPassword: ")
    person.sees("Password:")
    person.type(b"\x05c.")
    person.sees(" web01: detached")
    assert person.terminal.alternate
    assert "filter: web  " in person.terminal.lines[0]
    assert person.sees("Password:").startswith(">web01")
    db.connected.say(b"never seen")
    person.type(b"\x04")
    assert person.end() == 0
    assert not person.terminal.alternate
    assert person.terminal.wraps
    assert "Connection to 127.0.0.1 closed." in "".join(person.terminal.lines)


def test_what_happens_appears_by_itself(daemon: Daemon, make_vm: MakeVM, client: MakeClient, come: Come) -> None:
    web = make_vm(daemon, "web01")
    person = come()
    person.sees(">web01")
    make_vm(daemon, "web02").connected.say(b"I am new\r\n")
    person.sees("I am new")
    other = client("-tt", "127.0.0.1", terminal=True, user="web02")
    other.expect(b"[attached]")
    writer = getpass.getuser()
    assert person.sees(f" {writer} ").startswith(" web02")
    web.close()
    person.sees("down <1m")


def test_commands_run_at_the_prompt_and_tab_completes(daemon: Daemon, make_vm: MakeVM, come: Come) -> None:
    make_vm(daemon, "web01")
    make_vm(daemon, "VM (old)")
    person = come()
    person.sees("VM (old)")
    person.type(b":li\t\r")
    person.sees("[any key: back to the menu]")
    assert not person.terminal.alternate
    assert person.terminal.line(":list")
    assert person.terminal.line("web01").split()[:3] == ["web01", "web01", "up"]
    person.type(b" ")
    person.sees(">VM (old)")
    person.type(b":status V\t")
    person.sees(":status 'VM (old)'")
    person.type(b"\r")
    person.sees("console: VM (old)")
    person.type(b" ")
    person.sees(">VM (old)")
    person.type(b":exit\r")
    assert person.end() == 0


def test_the_window_may_change_at_any_time(daemon: Daemon, make_vm: MakeVM, come: Come) -> None:
    for number in range(30):
        make_vm(daemon, f"vm{number:02d}")
    person = come()
    person.sees(" 30 consoles")
    person.type(b"\x1b[F")
    person.sees(">vm29")
    for width, height in ((40, 10), (20, 5), (132, 43), (80, 24)):
        person.resize(width, height)
        eventually(lambda: person.look()[-1].strip() and person.terminal.line(">vm29"), "it is drawn anew")
        person.sees(" 30")
    person.type(b"\x03")
    assert person.end() == 0


def test_a_terminal_that_cannot_gets_a_list(make_vm: MakeVM, daemon: Daemon, come: Come) -> None:
    make_vm(daemon, "web01")
    person = come("dumb")
    assert person.end() == 0
    assert b"web01" in person.client.out
    assert b"\x1b" not in person.client.out


def test_a_server_that_stops_leaves_the_terminal_in_order(daemon: Daemon, make_vm: MakeVM, come: Come) -> None:
    make_vm(daemon, "web01")
    person = come()
    person.sees(">web01")
    daemon.stop()
    assert person.end() == 6
    assert not person.terminal.alternate
    assert person.terminal.wraps
    assert person.terminal.line("[-- console server shutting down --]")
