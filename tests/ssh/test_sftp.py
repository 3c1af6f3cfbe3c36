"""SFTP: the logs that one may see, read-only, and nothing else, whatever is asked for."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from twisted.conch.ssh.common import NS, getNS

from tests.support.fakes import VM_B, Logged
from tests.support.properties import examples
from tests.support.ssh import DATA, EOF, RemoteChannel, SSHWorld
from vmproxy.access.policy import Right
from vmproxy.auth.limits import FILES_EACH, FILES_IN_ALL, Quota
from vmproxy.base.turns import SPAN
from vmproxy.console.console import Console
from vmproxy.operators.log_listing import CONSOLES_AT_ONCE, canonical
from vmproxy.ssh.sftp import INPUT_HIGH, OUTPUT_HIGH, PACKET_LIMIT, SFTP
from vmproxy.ssh.sftp_folder import READ_LIMIT

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT, OPENDIR, READDIR = range(1, 13)
REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME, READLINK, SYMLINK = range(13, 21)
STATUS, HANDLE, SENT, NAME, ATTRS = range(101, 106)
EXTENDED = 200
OK, END, NO_SUCH_FILE, DENIED, FAILED, BAD_MESSAGE, NO_CONNECTION, LOST, UNSUPPORTED = range(9)
NO_ATTRS = struct.pack(">L", 0)


def packet(kind: int, body: bytes) -> bytes:
    return struct.pack(">LB", len(body) + 1, kind) + body


class Session:
    """An SFTP client that says each packet."""

    def __init__(self, w: SSHWorld, user: str = "alice", greet: bool = True, **options: Any) -> None:
        self.channel: RemoteChannel = w.login(user).open(**options)
        self.channel.request(b"subsystem", NS(b"sftp"))
        self._number = 0
        if greet:
            self.say(INIT, struct.pack(">L", 3))
            assert self.answers() == [(VERSION, struct.pack(">L", 3))]

    def say(self, kind: int, body: bytes) -> None:
        self.raw(packet(kind, body))

    def raw(self, data: bytes) -> None:
        for at in range(0, len(data), 32_000):
            self.channel.send(DATA, NS(data[at : at + 32_000]))

    def answers(self) -> list[tuple[int, bytes]]:
        """The packets that came since the last look."""
        self.channel.client.pump()
        data = self.channel.out
        self.channel.clear()
        found: list[Any] = []
        while data:
            (length,) = struct.unpack_from(">L", data)
            assert len(data) >= 4 + length, "a packet that is not whole"
            found.append((data[4], data[5 : 4 + length]))
            data = data[4 + length :]
        return found

    def request(self, kind: int, body: bytes) -> bytes:
        """A whole request packet."""
        self._number += 1
        return packet(kind, struct.pack(">L", self._number) + body)

    def ask(self, kind: int, body: bytes) -> tuple[int, bytes]:
        """Ask; the answer must be one, and to this."""
        self.raw(self.request(kind, body))
        ((answer, rest),) = self.answers()
        assert rest[:4] == struct.pack(">L", self._number)
        return answer, rest[4:]

    def status(self, kind: int, body: bytes) -> int:
        answer, rest = self.ask(kind, body)
        assert answer == STATUS
        return int.from_bytes(rest[:4], "big")

    def open(self, name: str, flags: int = 1) -> bytes:
        answer, rest = self.ask(OPEN, NS(name.encode()) + struct.pack(">L", flags) + NO_ATTRS)
        assert answer == HANDLE, rest
        return getNS(rest)[0]

    def cannot_open(self, name: str | bytes, flags: int = 1) -> int:
        name = name.encode() if isinstance(name, str) else name
        return self.status(OPEN, NS(name) + struct.pack(">L", flags) + NO_ATTRS)

    def read(self, handle: bytes, offset: int = 0, size: int = 32_768) -> bytes | int:
        answer, rest = self.ask(READ, NS(handle) + struct.pack(">QL", offset, size))
        return getNS(rest)[0] if answer == SENT else int.from_bytes(rest[:4], "big")

    def fetch(self, name: str) -> bytes:
        handle, data = self.open(name), b""
        while isinstance(piece := self.read(handle, len(data)), bytes):
            data += piece
        assert piece == END
        assert self.status(CLOSE, NS(handle)) == OK
        return data

    def size(self, name: str) -> int:
        answer, rest = self.ask(STAT, NS(name.encode()))
        assert answer == ATTRS, rest
        return int(struct.unpack(">LQ", rest[:12])[1])

    def listing(self) -> dict[str, int]:
        """Names and sizes."""
        answer, rest = self.ask(OPENDIR, NS(b"/"))
        assert answer == HANDLE
        handle = getNS(rest)[0]
        found: dict[str, int] = {}
        while True:
            answer, rest = self.ask(READDIR, NS(handle))
            if answer == STATUS:
                assert rest[:4] == struct.pack(">L", END)
                assert self.status(CLOSE, NS(handle)) == OK
                return found
            assert len(rest) < 64 * 1024
            (count,) = struct.unpack(">L", rest[:4])
            rest = rest[4:]
            for _ in range(count):
                name, line, rest = getNS(rest, 2)
                flags, size = struct.unpack(">LQ", rest[:12])
                assert flags == 0x1 | 0x4 | 0x8
                assert name in line
                assert name.decode() not in found
                found[name.decode()] = size
                rest = rest[12 + 4 + 8 :]
            assert rest == b""


@pytest.fixture
def sftp(w: SSHWorld) -> Session:
    """A session, and web01 with something in its log."""
    w.vm()
    w.console().feed(b"hello\n")
    w.settle()
    return Session(w)


def log(w: SSHWorld, name: str = "web01") -> Path:
    return w.console(name).log.path


# What there is


def test_a_log_and_its_trail_can_be_listed_looked_at_and_read(w: SSHWorld, sftp: Session) -> None:
    trail = log(w).with_name(log(w).name + ".events").read_bytes()
    assert sftp.listing() == {"web01.log": 6, "web01.log.events": len(trail)}
    assert sftp.size("web01.log") == sftp.size("/web01.log") == sftp.size("./x/../web01.log") == 6
    assert sftp.fetch("web01.log") == b"hello\n"
    assert sftp.fetch("/web01.log.events") == trail


@pytest.mark.parametrize("name", ["WEB.log", "01234567-89ab-cdef-fedc-ba9800000000.log", "web01.1.log", "web01.log"])
def test_a_console_is_found_by_whatever_it_is_called(sftp: Session, name: str) -> None:
    assert sftp.fetch(name) == b"hello\n"


def test_what_rotation_made_of_them_is_there_too(w: SSHWorld, sftp: Session) -> None:
    path = log(w)
    for ending in (".1", ".2.gz", ".events.1", ".events.2.gz"):
        path.with_name(path.name + ending).write_bytes(ending.encode())
    path.with_suffix(".txt").write_bytes(b"plain")
    path.with_name(path.stem + ".txt.1").write_bytes(b"plain 1")
    listed = set(sftp.listing()) - {"web01.log", "web01.log.events"}
    assert listed == {
        "web01.log.1",
        "web01.log.2.gz",
        "web01.log.events.1",
        "web01.log.events.2.gz",
        "web01.txt",
        "web01.txt.1",
    }
    assert sftp.fetch("web01.log.2.gz") == b".2.gz"
    assert sftp.fetch("web01.log.events.1") == b".events.1"
    assert sftp.fetch("web01.txt") == b"plain"


def test_a_vm_whose_name_looks_like_a_file_is_told_apart(w: SSHWorld, sftp: Session) -> None:
    w.vm("web01.log", uuid=VM_B)
    w.console("web01.log").feed(b"another")
    assert sftp.fetch("web01.log") == b"hello\n"
    assert sftp.fetch("web01.log.log") == b"another"


def test_a_name_that_is_no_alias_can_still_be_typed(w: SSHWorld, sftp: Session) -> None:
    w.vm("b\u00fcro \u2014 1", uuid=VM_B)
    w.console("b\u00fcro \u2014 1").feed(b"x")
    assert sftp.fetch("b\u00fcro \u2014 1.log") == b"x"


def test_what_has_just_come_is_in_the_size_and_in_what_is_read(w: SSHWorld, sftp: Session) -> None:
    w.console().feed(b"more")
    assert sftp.size("web01.log") == 10
    handle = sftp.open("web01.log")
    w.console().feed(b" and more")
    answer, rest = sftp.ask(FSTAT, NS(handle))
    assert (answer, struct.unpack(">Q", rest[4:12])) == (ATTRS, (19,))
    w.console().feed(b"!")
    assert sftp.read(handle, 19) == b"!"
    assert sftp.read(handle, 20) == END


def test_a_file_stays_open_though_it_is_renamed_and_a_new_one_begins(w: SSHWorld, sftp: Session) -> None:
    handle = sftp.open("web01.log")
    log(w).rename(log(w).with_name(log(w).name + ".1"))
    w.store.reopen()
    w.console().feed(b"new")
    assert sftp.read(handle) == b"hello\n"
    assert sftp.fetch("web01.log") == b"new"
    assert sftp.fetch("web01.log.1") == b"hello\n"


def test_thousands_of_consoles_are_listed_in_pieces(w: SSHWorld) -> None:
    for n in range(700):
        w.vm(f"vm{n:04}", uuid=UUID(int=n + 1))
    w.settle()
    sftp = Session(w)
    w.threads_held = True
    sftp.raw(sftp.request(OPENDIR, NS(b".")))
    ((_, rest),) = sftp.answers()
    sftp.raw(sftp.request(READDIR, NS(getNS(rest[4:])[0])))
    assert w.waiting_for_threads == 1, "the disk is not asked by the reactor"
    w.threads_held = False
    w.release_threads()
    assert len(sftp.answers()) == 1
    assert len(sftp.listing()) == 700


def test_a_console_with_very_many_old_logs_is_listed_in_pieces_too(w: SSHWorld, sftp: Session) -> None:
    for n in range(1, 1000):
        log(w).with_name(f"{log(w).name}.{n}.gz").touch()
    assert len(sftp.listing()) == 1001


# What may be done


def test_nothing_is_there_of_consoles_that_may_not_be_looked_at(w: SSHWorld, sftp: Session) -> None:
    w.vm("hidden", uuid=VM_B)
    w.vm("seen", uuid=UUID(int=9))
    w.console("hidden").feed(b"secret")
    w.settle()
    assert "hidden.log.events" in sftp.listing()
    w.rules(("*", "spy", "web*"), ("*", "see", "seen"))
    assert set(sftp.listing()) == {"web01.log", "web01.log.events"}
    for name in ("hidden.log", "nosuch.log", f"{VM_B}.log", "hid.log", "hidden.log.1"):
        assert sftp.cannot_open(name) == NO_SUCH_FILE
        assert sftp.status(STAT, NS(name.encode())) == NO_SUCH_FILE
    assert sftp.cannot_open("seen.log.events") == DENIED


def test_who_loses_the_right_cannot_read_on(w: SSHWorld, sftp: Session) -> None:
    handle = sftp.open("web01.log")
    w.rules(("*", "see", "*"))
    assert sftp.read(handle) == DENIED
    assert sftp.status(FSTAT, NS(handle)) == DENIED, "nor see it grow"


def pieces(sftp: Session) -> list[int]:
    """How many entries each answer of a listing has."""
    handle = getNS(sftp.ask(OPENDIR, NS(b"/"))[1])[0]
    found: list[Any] = []
    while True:
        sftp.raw(sftp.request(READDIR, NS(handle)))
        answers = sftp.answers()
        while not answers:  # it lets others have their turn
            answers = sftp.answers()
        ((answer, rest),) = answers
        if answer == STATUS:
            return found
        found.append(int.from_bytes(rest[4:8], "big"))


def test_the_pieces_of_a_listing_do_not_tell_how_many_others_there_are(w: SSHWorld) -> None:
    w.rules(("*", "spy", "web*"))
    sftp = Session(w)
    many = CONSOLES_AT_ONCE + 10
    for n in range(many):
        w.vm(f"web{n:03}", uuid=UUID(int=10_000 * n + 1))
    w.settle()
    alone = pieces(sftp)
    assert len(alone) == 2
    for n in range(many * 20):
        w.vm(f"hidden{n:04}", uuid=UUID(int=10_000 * (n // 20) + n % 20 + 2))
    w.settle()
    assert pieces(sftp) == alone


def test_a_search_for_what_may_be_listed_lets_others_have_their_turn(w: SSHWorld) -> None:
    w.rules(("*", "spy", "web*"), ("*", "see", "*"))
    for n in range(200):
        w.vm(f"unread{n:04}", uuid=UUID(int=n + 2))
    w.settle()
    sftp = Session(w)
    looked_at: list[object] = []
    view = sftp.channel.client.operator.view
    may = view.may

    def takes_time(console: Console, right: Right) -> bool:
        w.clock.rightNow += SPAN / 50
        looked_at.append(console)
        return bool(may(console, right))

    view.may = takes_time
    w.clock.advance(0)
    handle = getNS(sftp.ask(OPENDIR, NS(b"/"))[1])[0]
    sftp.channel.queue(DATA, NS(sftp.request(READDIR, NS(handle))))
    client = sftp.channel.client
    client.server.dataReceived(bytes(client.out.buffer))
    client.out.buffer.clear()
    assert len(looked_at) < 60
    answers: list[tuple[int, bytes]] = []
    while not answers:
        answers = sftp.answers()
    assert [answer for answer, _ in answers] == [STATUS]
    assert len(looked_at) == 200


@pytest.mark.parametrize("flags", [0, 2, 3, 1 | 4, 1 | 8, 1 | 16, 1 << 31])
def test_a_file_can_be_opened_for_reading_only(w: SSHWorld, sftp: Session, flags: int) -> None:
    assert sftp.cannot_open("web01.log", flags) == DENIED
    assert sftp.cannot_open("new.log", flags) == DENIED
    assert log(w).read_bytes() == b"hello\n"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (WRITE, NS(b"1") + struct.pack(">Q", 0) + NS(b"x")),
        (SETSTAT, NS(b"web01.log") + NO_ATTRS),
        (FSETSTAT, NS(b"1") + NO_ATTRS),
        (REMOVE, NS(b"web01.log")),
        (MKDIR, NS(b"x") + NO_ATTRS),
        (RMDIR, NS(b"/")),
        (RENAME, NS(b"web01.log") + NS(b"x.log")),
        (SYMLINK, NS(b"web01.log") + NS(b"/etc/passwd")),
    ],
)
def test_nothing_can_be_changed(w: SSHWorld, sftp: Session, kind: int, body: bytes) -> None:
    handle = sftp.open("web01.log")
    assert handle == b"1"
    assert sftp.status(kind, body) == DENIED
    assert sftp.status(kind, b"") == DENIED
    assert sftp.read(handle) == b"hello\n"


@pytest.mark.parametrize(
    "path",
    [
        "../log/x.log",
        "/etc/passwd",
        "../../../../etc/passwd",
        "..",
        "web01",
        "web01.log/",
        "web01.log/x.log",
        "x/web01.log",
        "web01.log.0",
        "web01.log.x",
        "web01.log.1.gz.gz",
        "web01.log.events.events",
        "web01.txt",
        "web01.log.7",
        ".log",
        "/.log.events",
        "consoles.jsonl",
        "web01.log\0",
        "*.log",
        "",
        "x" * 5000 + ".log",
    ],
)
def test_no_path_leads_anywhere_else(w: SSHWorld, sftp: Session, path: str) -> None:
    if path != "web01.log/":  # a slash behind a name is taken for nothing
        assert sftp.cannot_open(path) == NO_SUCH_FILE
    (w.folder / "etc").mkdir()
    assert sftp.status(OPENDIR, NS(b"/etc")) == NO_SUCH_FILE
    assert sftp.status(READLINK, NS(path.encode())) == NO_SUCH_FILE


@given(st.text(alphabet="./ab\\~\u00fc", max_size=20))
def test_a_path_in_full_never_leaves_the_folder(path: str) -> None:
    full = canonical(path)
    assert full.startswith("/")
    assert ".." not in full.split("/")
    assert canonical(full) == full
    assert "//" not in full


def test_paths_are_told_in_full(sftp: Session) -> None:
    for asked, told in ((b".", b"/"), (b"../..", b"/"), (b"x/../web01.log", b"/web01.log"), (b"\xff", b"/\xff")):
        answer, rest = sftp.ask(REALPATH, NS(asked))
        assert answer == NAME
        assert getNS(rest[4:])[0] == told


@pytest.mark.parametrize("what", ["link", "folder", "fifo"])
def test_only_files_are_opened_and_no_link_is_followed(w: SSHWorld, sftp: Session, what: str) -> None:
    outside = w.folder / "outside"
    outside.write_bytes(b"secret")
    path = log(w).with_name(log(w).name + ".1")
    if what == "link":
        path.symlink_to(outside)
    elif what == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    assert sftp.cannot_open("web01.log.1") in (NO_SUCH_FILE, FAILED)
    assert sftp.status(STAT, NS(b"web01.log.1")) == NO_SUCH_FILE
    assert "web01.log.1" not in sftp.listing()


def test_every_open_stands_in_the_audit_trail_once(w: SSHWorld, sftp: Session) -> None:
    sftp.fetch("web01.log")
    sftp.cannot_open("nosuch.log")
    w.settle()
    (event,) = w.audited("sftp-read")
    assert (event["who"], event["console"], event["file"]) == ("alice", "web01", "web01.log")


# Bounds


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


# Packets that make no sense


@pytest.mark.parametrize("length", [0, 4, PACKET_LIMIT + 1, (1 << 32) - 1])
def test_a_packet_of_an_impossible_length_ends_the_session(sftp: Session, length: int) -> None:
    sftp.raw(struct.pack(">LB", length, REALPATH))
    assert sftp.channel.ended
    assert b"impossible length" in sftp.channel.err
    assert sftp.channel.status == 2
    assert not sftp.channel.client.closed


@pytest.mark.parametrize("greet", [True, False])
def test_greetings_come_once_and_first(w: SSHWorld, greet: bool) -> None:
    sftp = Session(w, greet=greet)
    sftp.say(INIT if greet else REALPATH, struct.pack(">L", 3) + (b"" if greet else NS(b".")))
    assert sftp.channel.ended
    assert sftp.channel.status == 2


def test_a_client_of_a_later_version_gets_ours_and_one_that_cannot_greet_nothing(w: SSHWorld) -> None:
    sftp = Session(w, greet=False)
    sftp.say(INIT, struct.pack(">L", 6) + NS(b"vendor-id") + NS(b"x"))
    assert sftp.answers() == [(VERSION, struct.pack(">L", 3))]
    sftp = Session(w, greet=False)
    sftp.say(INIT, struct.pack(">L", 6) + b"\xff\xff\xff\xff")
    assert sftp.channel.ended


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        (0, b"", UNSUPPORTED),
        (99, b"", UNSUPPORTED),
        (VERSION, b"", UNSUPPORTED),
        (SENT, NS(b"x"), UNSUPPORTED),
        (EXTENDED, NS(b"statvfs@openssh.com") + NS(b"/"), UNSUPPORTED),
        (EXTENDED, b"", BAD_MESSAGE),
        (OPEN, b"", BAD_MESSAGE),
        (OPEN, NS(b"web01.log"), BAD_MESSAGE),
        (OPEN, NS(b"web01.log") + struct.pack(">3L", 1, 1 << 31, (1 << 32) - 1), BAD_MESSAGE),
        (READ, NS(b"1"), BAD_MESSAGE),
        (READ, NS(b"77") + struct.pack(">QL", 0, 1), FAILED),
        (CLOSE, NS(b"77"), NO_SUCH_FILE),
        (FSTAT, NS(b"77"), FAILED),
        (READDIR, NS(b"77"), FAILED),
        (STAT, NS(b"x") + b"more", BAD_MESSAGE),
    ],
)
def test_every_request_gets_one_answer_whatever_it_is(
    sftp: Session, kind: int, body: bytes, code: int, logged: Logged
) -> None:
    assert sftp.status(kind, body) == code
    assert sftp.fetch("web01.log") == b"hello\n"
    assert not logged.tracebacks


@pytest.fixture
def fresh(w: SSHWorld) -> Callable[[], Session]:
    w.vm()
    w.console().feed(b"hello\n")
    w.settle()
    return lambda: Session(w)


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(2, 21), st.binary(max_size=40)),
            st.tuples(st.integers(2, 21), st.binary(max_size=8).map(lambda b: NS(b) + b)),
            st.tuples(st.just(OPEN), st.just(NS(b"web01.log") + struct.pack(">LL", 1, 0))),
            st.tuples(st.just(READ), st.just(NS(b"1") + struct.pack(">QL", 0, 9))),
        ),
        max_size=12,
    ),
    st.integers(1, 30),
)
def test_anything_at_all_is_answered_in_order(
    fresh: Callable[[], Session], packets: list[tuple[int, bytes]], cut: int
) -> None:
    sftp = fresh()
    stream = b"".join(sftp.request(kind, body) for kind, body in packets)
    for at in range(0, len(stream), cut):
        sftp.raw(stream[at : at + cut])
    answers = sftp.answers()
    assert [rest[:4] for _, rest in answers] == [struct.pack(">L", n + 1) for n in range(len(packets))]
    sftp.channel.client.tcp.closed()


# The session


def test_the_end_of_its_input_ends_the_session_with_status_0_behind_all_answers(sftp: Session) -> None:
    handle = sftp.open("web01.log")
    sftp.channel.queue(DATA, NS(sftp.request(READ, NS(handle) + struct.pack(">QL", 0, 9)) * 30))
    sftp.channel.queue(EOF)
    sftp.channel.client.pump()
    assert sftp.channel.status == 0
    assert sftp.channel.ended
    assert len(sftp.answers()) == 30


def test_there_is_no_other_subsystem_and_one_per_session(w: SSHWorld) -> None:
    client = w.login()
    channel = client.open()
    channel.request(b"subsystem", NS(b"netconf"))
    channel.request(b"subsystem", NS(b"sftp"))
    channel.request(b"subsystem", NS(b"sftp"))
    assert channel.replies == [100, 99, 100]
    channel.request(b"exec", NS(b"list"))
    assert channel.replies == [100, 99, 100, 100]


def test_the_old_protocol_of_scp_is_refused_in_words(w: SSHWorld) -> None:
    channel = w.login().run("scp -f web01.log")
    assert channel.status == 2
    assert b"leave out -O" in channel.err


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("scp -v -f web01.log", b"leave out -O"),
        ("scp -t .", b"leave out -O"),
        ("/usr/bin/scp -f web01.log", b"leave out -O"),
        ("rsync --server --sender -logDtpre.iLsfxCIvu . web01.log", b"rsync is not served here; use sftp"),
        ("/usr/local/bin/rsync --server -e.LsfxCIvu . x", b"rsync is not served here"),
        ("/usr/lib/openssh/sftp-server -R", b"leave out the path of a server"),
        ("mosh-server new -s -c 256 -l LANG=C.UTF-8", b"mosh is not served here; use ssh"),
    ],
)
def test_what_clients_start_at_the_other_end_is_answered_in_words(w: SSHWorld, command: str, told: bytes) -> None:
    channel = w.login().run(command)
    assert told in channel.err
    assert channel.status == 2
    assert channel.out == b""


@pytest.mark.parametrize("name", ["scp", "rsync", "mosh-server", "rsync01"])
def test_a_vm_may_have_the_name_of_such_a_program(w: SSHWorld, name: str) -> None:
    w.vm(name)
    assert w.login().attach(name).screen.endswith(b"[attached]\r\n")
