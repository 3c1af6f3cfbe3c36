"""Sessions that last: new keys under way, many sessions in one connection, and clients that are no longer there."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Client, Daemon, eventually
from tests.support.host import FakeVM

PIECE = 64 * 1024
PIECES = 80


@pytest.fixture
def start() -> Iterator[Callable[..., Client]]:
    """Starts OpenSSH clients against any daemon."""
    clients: list[Client] = []

    def begin(line: list[str], terminal: bool = False) -> Client:
        clients.append(Client(line, terminal))
        return clients[-1]

    yield begin
    for one in clients:
        one.close()


def rekeyed(client: Client) -> int:
    """How many key exchanges there were, the first of which is the login's."""
    return client.err.count(b"SSH2_MSG_NEWKEYS received")


def test_new_keys_every_megabyte_lose_nothing_of_a_session_either_way(
    daemon: Daemon, make_vm: Callable[..., FakeVM], start: Callable[..., Client]
) -> None:
    vm = make_vm(daemon).connected
    client = start(daemon.ssh("-v", "-o", "RekeyLimit=1M", "-T", "127.0.0.1", "web01,replay=0"))
    client.expect_err(b"[attached]")
    down, up = os.urandom(PIECES * PIECE), os.urandom(PIECES * PIECE)
    for n in range(PIECES):
        # A viewer that is slow skips, so no more than a piece is under way; both directions at the same time.
        vm.say(down[n * PIECE : (n + 1) * PIECE])
        client.type(up[n * PIECE : (n + 1) * PIECE])
        client.wait_size((n + 1) * PIECE)
        vm.wait_size((n + 1) * PIECE)
    assert bytes(client.out) == down
    assert bytes(vm.data) == up
    assert rekeyed(client) > PIECES * PIECE // 2**20


def test_new_keys_every_megabyte_lose_nothing_of_a_raw_stream_at_full_speed(
    daemon: Daemon, make_vm: Callable[..., FakeVM], start: Callable[..., Client]
) -> None:
    vm = make_vm(daemon).connected
    client = start(daemon.ssh("-v", "-o", "RekeyLimit=1M", "-W", "web01:1", "127.0.0.1"))
    eventually(lambda: daemon.status("web01").get("writer"), "it is attached")
    down, up = os.urandom(20_000_000), os.urandom(20_000_000)
    threads = [threading.Thread(target=vm.say, args=(down,)), threading.Thread(target=client.type, args=(up,))]
    for thread in threads:
        thread.start()
    client.wait_size(len(down))
    vm.wait_size(len(up))
    for thread in threads:
        thread.join()
    assert bytes(client.out) == down
    assert bytes(vm.data) == up
    assert rekeyed(client) > 10


def test_many_sessions_share_a_connection_and_end_with_it(
    daemon: Daemon, make_vm: Callable[..., FakeVM], start: Callable[..., Client], tmp_path: Path
) -> None:
    web, db = make_vm(daemon).connected, make_vm(daemon, "db01").connected
    control = f"/tmp/vmproxy-{os.getpid()}-{os.urandom(4).hex()}"
    master = start(daemon.ssh("-M", "-S", control, "-N", "127.0.0.1"))
    eventually(lambda: Path(control).exists(), "the master is there")
    shared = ("-S", control)
    attached = start(daemon.ssh(*shared, "-T", "127.0.0.1", "web01"))
    attached.expect_err(b"[attached]")
    raw = start(daemon.ssh(*shared, "-W", "db01:1", "127.0.0.1"))
    raw.type(b"to db")
    db.wait_data(b"to db")
    for n in range(10):
        listed = start(daemon.ssh(*shared, "127.0.0.1", "list"))
        assert listed.end() == 0
        assert b"web01" in listed.out
        attached.type(b"%d" % n)
    web.wait_data(b"0123456789")
    web.say(b"from web")
    db.say(b"from db")
    attached.expect(b"from web")
    raw.expect(b"from db")
    master.process.kill()
    attached.end()
    raw.end()
    eventually(lambda: not daemon.status("web01").get("writer"), "the pen is free")
    Path(control).unlink(missing_ok=True)


def test_a_client_that_asks_whether_we_are_alive_is_answered(
    daemon: Daemon, make_vm: Callable[..., FakeVM], start: Callable[..., Client]
) -> None:
    vm = make_vm(daemon).connected
    options = ("-vvv", "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=30")
    client = start(daemon.ssh(*options, "-T", "127.0.0.1", "web01"))
    at = client.expect_err(b"[attached]")
    for _ in range(3):
        at = client.expect_err(b"receive packet: type 82", at)
    client.type(b"still here")
    vm.wait_data(b"still here")


@pytest.mark.parametrize("flood", [False, True])
def test_a_client_that_was_stopped_loses_the_pen_to_the_next(
    make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM], start: Callable[..., Client], flood: bool
) -> None:
    daemon = make_daemon("[ssh]\nkeepalive = 1\n")
    vm = make_vm(daemon).connected
    first = start(daemon.ssh("-tt", "127.0.0.1", "web01"), terminal=True)
    first.expect(b"[attached]")
    second = start(daemon.ssh("-T", "127.0.0.1", "web01"))
    second.expect_err(b"is attached")
    first.process.send_signal(signal.SIGSTOP)
    if flood:
        for _ in range(100):
            vm.say(b"x" * 100_000)
    second.expect_err(b"[attached]")
    second.type(b"mine now")
    vm.wait_data(b"mine now")
    assert first.process.poll() is None
    first.process.kill()


def test_a_client_that_is_only_idle_stays(
    make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM], start: Callable[..., Client]
) -> None:
    daemon = make_daemon("[ssh]\nkeepalive = 1\n")
    vm = make_vm(daemon).connected
    client = start(daemon.ssh("-vvv", "-T", "127.0.0.1", "web01"))
    at = client.expect_err(b"[attached]")
    for _ in range(5):
        at = client.expect_err(b"keepalive@openssh.com", at)
    client.type(b"still here")
    vm.wait_data(b"still here")
