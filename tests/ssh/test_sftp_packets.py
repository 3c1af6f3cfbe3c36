"""SFTP: packets that make no sense, and how a session begins and ends."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from twisted.conch.ssh.common import NS

from tests.support.fakes import Logged
from tests.support.properties import examples
from tests.support.sftp import (
    BAD_MESSAGE,
    CLOSE,
    EXTENDED,
    FAILED,
    FSTAT,
    INIT,
    NO_SUCH_FILE,
    OPEN,
    READ,
    READDIR,
    REALPATH,
    SENT,
    STAT,
    UNSUPPORTED,
    VERSION,
    Session,
)
from tests.support.ssh import DATA, EOF, SSHWorld
from vmproxy.ssh.sftp import PACKET_LIMIT

# Packets that make no sense.


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


# The session.


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
