"""SFTP: bounds of what is open, read, asked for and answered."""

from __future__ import annotations

import os
import struct
from typing import Any

import pytest
from twisted.conch.ssh.common import NS, getNS

from tests.support.sftp import (
    CLOSE,
    END,
    FAILED,
    HANDLE,
    NO_ATTRS,
    NO_SUCH_FILE,
    OK,
    OPEN,
    OPENDIR,
    READ,
    REALPATH,
    SENT,
    STATUS,
    Session,
)
from tests.support.ssh import DATA, RemoteChannel, SSHWorld
from vmproxy.auth.limits import FILES_EACH, FILES_IN_ALL, Quota
from vmproxy.base.turns import SPAN
from vmproxy.ssh.sftp import INPUT_HIGH, OUTPUT_HIGH, SFTP
from vmproxy.ssh.sftp_folder import READ_LIMIT


def test_there_is_a_bound_for_open_files_and_closing_makes_room(sftp: Session) -> None:
    before = len(os.listdir("/proc/self/fd"))
    handles = [sftp.open("web01.log") for _ in range(FILES_EACH - 1)]
    answer, _ = sftp.ask(OPENDIR, NS(b"/"))
    assert answer == HANDLE
    assert sftp.cannot_open("web01.log") == FAILED
    assert sftp.status(OPENDIR, NS(b"/")) == FAILED
    assert sftp.status(CLOSE, NS(handles[3])) == OK
    assert sftp.read(handles[3]) == FAILED
    assert sftp.open("web01.log") not in handles
    sftp.channel.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_an_operator_has_open_is_counted_over_all_his_sessions(w: SSHWorld, sftp: Session) -> None:
    before = len(os.listdir("/proc/self/fd"))
    w.services.open_files = Quota(5, 7)
    second, third = Session(w), Session(w)
    for session in (sftp, second):
        session.open("web01.log")
        session.open("web01.log.events")
    handle = getNS(third.ask(OPENDIR, NS(b"/"))[1])[0]
    for session in (sftp, second, third):
        assert session.cannot_open("web01.log") == FAILED
        answer, rest = session.ask(OPENDIR, NS(b"/"))
        assert (answer, getNS(rest[4:])[0]) == (STATUS, b"too many open files")
    assert len(os.listdir("/proc/self/fd")) == before + 4
    assert third.status(CLOSE, NS(handle)) == OK
    assert third.cannot_open("nosuch.log") == NO_SUCH_FILE
    assert third.cannot_open("web01.log.7") == NO_SUCH_FILE, "what was not opened takes no place"
    third.ask(OPENDIR, NS(b"/"))
    assert third.cannot_open("web01.log") == FAILED
    third.channel.close()
    assert len(w.services.open_files) == 4
    sftp.channel.client.tcp.closed()
    assert len(w.services.open_files) == 2
    second.open("web01.log")
    second.channel.close()
    assert len(w.services.open_files) == 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_there_is_a_bound_for_what_all_operators_have_open(w: SSHWorld, sftp: Session) -> None:
    w.services.open_files = Quota(5, 7)
    for n in range(7):
        w.services.open_files.take(n, f"operator{n}")
    assert sftp.cannot_open("web01.log") == FAILED
    w.services.open_files.give_back(3)
    assert sftp.open("web01.log")
    assert FILES_IN_ALL > FILES_EACH


def test_what_is_being_opened_is_counted_and_given_back_if_it_cannot_be(w: SSHWorld) -> None:
    w.vm()
    w.console().feed(b"hello\n")
    w.settle()
    w.services.open_files = Quota(2, 7)
    sessions = [Session(w) for _ in range(3)]
    w.threads_held = True
    for session, name in zip(sessions, (b"web01.log", b"web01.log.7", b"web01.log"), strict=True):
        session.raw(session.request(OPEN, NS(name) + struct.pack(">L", 1) + NO_ATTRS))
    assert w.waiting_for_threads == 2
    w.threads_held = False
    w.release_threads()
    kinds = [kind for session in sessions for kind, _ in session.answers()]
    assert kinds == [HANDLE, STATUS, STATUS]
    assert len(w.services.open_files) == 1


def test_a_file_that_is_being_read_when_the_client_goes_is_closed_afterwards(w: SSHWorld, sftp: Session) -> None:
    before = len(os.listdir("/proc/self/fd"))
    handle = sftp.open("web01.log")
    w.threads_held = True
    sftp.raw(sftp.request(READ, NS(handle) + struct.pack(">QL", 0, 100)))
    sftp.channel.close()
    assert len(os.listdir("/proc/self/fd")) == before + 1
    w.release_threads()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_is_being_opened_when_the_client_goes_is_closed(w: SSHWorld, sftp: Session) -> None:
    before = len(os.listdir("/proc/self/fd"))
    w.threads_held = True
    sftp.raw(sftp.request(OPEN, NS(b"web01.log") + struct.pack(">L", 1) + NO_ATTRS))
    sftp.channel.close()
    w.release_threads()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_read_gives_a_bounded_piece_however_much_is_asked_for(w: SSHWorld, sftp: Session) -> None:
    w.console().feed(b"x" * 1_000_000)
    handle = sftp.open("web01.log")
    piece = sftp.read(handle, 0, (1 << 32) - 1)
    assert isinstance(piece, bytes)
    assert len(piece) == READ_LIMIT
    assert sftp.read(handle, (1 << 64) - 1, 10) == END
    assert sftp.read(handle, (1 << 63) - 1, 10) in (END, FAILED)
    assert sftp.read(handle, 1_000_005, 10) == b"x"


@pytest.mark.parametrize("how", ["window", "socket"])
def test_answers_wait_for_the_client_to_read_them(w: SSHWorld, how: str) -> None:
    w.vm()
    data = os.urandom(3_000_000)
    for at in range(0, len(data), 100_000):
        w.console().feed(data[at : at + 100_000])
        w.store.flush()
    sftp = Session(w, window=1000 if how == "window" else 1 << 30)
    handle = sftp.open("web01.log")
    channel = sftp.channel
    channel.client.tcp.reads = how == "window"
    asked = b"".join(
        sftp.request(READ, NS(handle) + struct.pack(">QL", at, 32_768)) for at in range(0, len(data), 32_768)
    )
    sftp.raw(asked)
    sftp.raw(sftp.request(READ, NS(handle) + struct.pack(">QL", 0, 1)) * 3000)
    server = channel.session
    assert server.queued <= OUTPUT_HIGH + READ_LIMIT + 100
    assert server.holding
    assert len(requests(channel)) <= INPUT_HIGH + 3 * 64 * 1024
    channel.client.tcp.reads = True
    channel.adjust(1 << 30)
    answers = sftp.answers()
    assert b"".join(getNS(rest[4:])[0] for _, rest in answers[:-3000]) == data
    assert [kind for kind, _ in answers] == [SENT] * len(answers)
    assert not server.holding


def requests(channel: RemoteChannel) -> bytearray:
    """What of the client's requests waits to be read."""
    sftp = channel.session.router.activity
    assert isinstance(sftp, SFTP)
    return sftp._input


def test_many_small_requests_do_not_keep_the_reactor(sftp: Session) -> None:
    client = sftp.channel.client
    server: Any = sftp.channel.session
    clock = client.world.clock
    send = server.send

    def takes_time(data: bytes) -> None:
        clock.rightNow += SPAN / 50
        send(data)

    server.send = takes_time
    sftp.channel.queue(DATA, NS(b"".join(sftp.request(REALPATH, NS(b".")) for _ in range(1000))))
    client.server.dataReceived(bytes(client.out.buffer))
    client.out.buffer.clear()
    assert requests(sftp.channel), "all of them were handled in one turn"
    assert len(sftp.answers()) == 1000
