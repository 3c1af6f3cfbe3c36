"""SFTP: the logs that one may see, read-only, and nothing else, whatever is asked for."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.conch.ssh.common import NS, getNS

from tests.support.fakes import VM_B
from tests.support.sftp import (
    ATTRS,
    DENIED,
    END,
    FAILED,
    FSETSTAT,
    FSTAT,
    MKDIR,
    NAME,
    NO_ATTRS,
    NO_SUCH_FILE,
    OPENDIR,
    READDIR,
    READLINK,
    REALPATH,
    REMOVE,
    RENAME,
    RMDIR,
    SETSTAT,
    STAT,
    STATUS,
    SYMLINK,
    WRITE,
    Session,
)
from tests.support.ssh import DATA, SSHWorld
from vmproxy.access.policy import Right
from vmproxy.base.turns import SPAN
from vmproxy.console.console import Console
from vmproxy.operators.log_listing import CONSOLES_AT_ONCE, canonical


def log(w: SSHWorld, name: str = "web01") -> Path:
    return w.console(name).log.path


# What there is.


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


# What may be done.


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
