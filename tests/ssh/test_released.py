"""A client that is gone is gone: nothing of its connection or sessions waits for the cyclic collector."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from twisted.conch.ssh.common import NS

from tests.support.living import nothing_left
from tests.support.ssh import SSHWorld
from vmproxy.operators.commands.job import Job
from vmproxy.operators.commands.watcher import Watcher
from vmproxy.operators.console_session import ConsoleSession
from vmproxy.operators.input_router import InputRouter
from vmproxy.operators.log_reading import BatchReader, OpenedLog
from vmproxy.operators.operator import Operator
from vmproxy.operators.output_view import OutputView
from vmproxy.operators.terminal.menu import Menu
from vmproxy.operators.terminal.menu_view import MenuView
from vmproxy.operators.viewer_queue import ViewerQueue
from vmproxy.ssh.channel import FlowChannel
from vmproxy.ssh.connection import OperatorConnection
from vmproxy.ssh.sftp import SFTP
from vmproxy.ssh.sftp_folder import SFTPFile
from vmproxy.ssh.transport import OperatorTransport
from vmproxy.ssh.userauth import UserAuth

PARTS = (
    OperatorTransport, UserAuth, OperatorConnection, FlowChannel, InputRouter, Operator, ConsoleSession, OutputView,
    ViewerQueue, Menu, MenuView, Job, Watcher, OpenedLog, BatchReader, SFTP, SFTPFile,
)  # fmt: skip


def leave(w: SSHWorld) -> None:
    """Every client closes its connection."""
    for transport in list(w.front.transports):
        transport.transport.closed()
    w.clock.advance(2)


def before_the_login(w: SSHWorld) -> None:
    w.connect(key_exchange=False)
    w.connect()


def no_login(w: SSHWorld) -> None:
    client = w.connect()
    client.sendPacket(5, NS(b"ssh-userauth"))
    client.sendPacket(50, NS(b"alice") + NS(b"ssh-connection") + NS(b"password") + b"\0" + NS(b"guess"))
    client.pump()


def overdue(w: SSHWorld) -> None:
    w.connect()
    w.clock.advance(100)


def logged_in(w: SSHWorld) -> None:
    w.login()


def command(line: str) -> Callable[[SSHWorld], None]:
    def run(w: SSHWorld) -> None:
        w.login().run(line)
        w.settle()
        w.clock.advance(1)

    run.__name__ = line.replace(" ", "-")
    return run


def attached(w: SSHWorld) -> None:
    w.login("web01").attach().type(b"typed")
    w.settle()


def attached_and_left(w: SSHWorld) -> None:
    w.login("web01").attach().type(b"\x05c.")
    w.settle()


def moved(w: SSHWorld) -> None:
    w.login("web01").attach().type(b"\x05c;web01\r")
    w.settle()


def in_a_question(w: SSHWorld) -> None:
    w.login("web01").attach().type(b"\x05cn")
    w.settle()


def in_the_menu(w: SSHWorld) -> None:
    w.login().attach().type(b"w:lis\t")
    w.clock.advance(3)


def from_the_menu(w: SSHWorld) -> None:
    w.login().attach().type(b"\r")
    w.clock.advance(3)


def command_in_the_menu(w: SSHWorld) -> None:
    w.login().attach().type(b":log -f web01\r")
    w.clock.advance(3)


def raw(w: SSHWorld) -> None:
    w.login().open(b"direct-tcpip", NS(b"web01") + struct.pack(">L", 1) + NS(b"127.0.0.1") + struct.pack(">L", 1))
    w.vm().more_to_come = False


def sftp(w: SSHWorld) -> None:
    channel = w.login().open()
    channel.request(b"subsystem", NS(b"sftp"))
    channel.send(94, NS(struct.pack(">LBL", 5, 1, 3)))
    name = NS(b"web01.log")
    body = struct.pack(">L", 7) + name + struct.pack(">LL", 1, 0)
    channel.send(94, NS(struct.pack(">LB", len(body) + 1, 3) + body))
    w.settle()


COMMANDS = (
    "list", "status web01", "who", "log web01", "log -f web01", "log nothing", "events web01", "events -f",
    "search hello", "replay web01", "record web01", "expect web01 never", "send web01 x", "kick web01 x", "nonsense",
)  # fmt: skip


@pytest.mark.parametrize(
    "course",
    [
        before_the_login, no_login, overdue, logged_in, attached, attached_and_left, moved, in_a_question, in_the_menu,
        from_the_menu, command_in_the_menu, raw, sftp, *map(command, COMMANDS),
    ],
    ids=lambda course: course.__name__,
)  # fmt: skip
def test_nothing_is_left_of_a_client(w: SSHWorld, course: Callable[[SSHWorld], None]) -> None:
    w.vm().peer = "10.1.2.3"
    w.console().feed(b"hello\r\n" * 100)
    w.settle()
    with nothing_left(*PARTS):
        course(w)
        leave(w)
        w.settle()
