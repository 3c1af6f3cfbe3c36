"""Keepalive and what stands in for it while bytes are on their way: options and answers of real sockets."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from twisted.internet.interfaces import ISystemHandle
from twisted.internet.task import Clock
from zope.interface import implementer

from tests.support.vm import VMWorld
from vmproxy.vm.frontend import HELD_SECONDS
from vmproxy.vm.keepalive import (
    _TCP_RTO_MAX_MS,
    LOOK_SECONDS,
    Liveness,
    change_options,
    is_dead,
    noticed_after,
    set_options,
    under_way,
)

KEEP_IDLE = 20  # and two probes: 22 s of silence
LIMIT = 22_000


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        accepted, _ = server.accept()
        with accepted:
            yield accepted


@pytest.mark.parametrize(
    ("keep_idle", "interval", "probes"),
    [(300, 3, 5), (100, 1, 5), (101, 2, 3), (60, 1, 4), (20, 1, 2), (5, 1, 1), (1, 1, 1), (32767, 328, 4)],
)
def test_a_dead_host_is_noticed_by_the_hosts_own_formula(
    connection: socket.socket, keep_idle: int, interval: int, probes: int
) -> None:
    set_options(connection, keep_idle)
    tcp = socket.IPPROTO_TCP
    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert connection.getsockopt(tcp, socket.TCP_KEEPIDLE) == keep_idle
    assert connection.getsockopt(tcp, socket.TCP_KEEPINTVL) == interval
    assert connection.getsockopt(tcp, socket.TCP_KEEPCNT) == probes
    # It would cut off a host that is there but has no room.
    assert connection.getsockopt(tcp, socket.TCP_USER_TIMEOUT) == 0
    assert connection.getsockopt(tcp, socket.TCP_NODELAY)


def test_it_is_noticed_within_the_bound_whatever_is_set() -> None:
    for keep_idle in range(1, 32768):
        assert noticed_after(keep_idle) <= max(keep_idle * 1.05 + 1, keep_idle + 1)


def test_zero_leaves_keepalive_off_but_not_nodelay(connection: socket.socket) -> None:
    set_options(connection, 0)
    assert not connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def longest(handle: socket.socket) -> int:
    """How many milliseconds there may be between two retransmissions; 0 where Linux does not tell."""
    try:
        return handle.getsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS)
    except OSError:
        return 0


def test_a_longer_time_ends_what_a_short_one_needed(connection: socket.socket) -> None:
    if not longest(connection):
        pytest.skip("this Linux does not know TCP_RTO_MAX_MS")
    set_options(connection, 20)
    assert longest(connection) == 5000
    change_options(connection, 600)
    assert longest(connection) == 120_000
    change_options(connection, 20)
    assert longest(connection) == 5000
    change_options(connection, 0)
    assert longest(connection) == 120_000


def test_connections_have_it_from_the_socket_that_they_came_by(w: VMWorld) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accepted(keep_idle: int) -> tuple[int, ...]:
            w.front.settings = replace(w.front.settings, keep_idle=keep_idle)
            w.front.prepare(server)
            with socket.create_connection(server.getsockname()):
                connection, _ = server.accept()
                with connection:
                    return (
                        connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                        connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                        connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                        connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
                        longest(connection),
                    )

        known = longest(server) > 0
        assert accepted(20) == (1, 1, 20, 1, 5000 * known)
        assert accepted(600) == (1, 1, 600, 6, 120_000 * known)
        assert accepted(0)[:2] == (0, 1)
        assert accepted(20) == (1, 1, 20, 1, 5000 * known)


def test_a_local_socket_has_none_of_this() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        set_options(ours, 300)
        assert not ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


class Answering(socket.socket):
    """A socket of which the system says what the test wants."""

    info = b""

    def getsockopt(self, level: int, option: int, size: int = 0) -> int | bytes:  # type: ignore[override]  # one for its overloads
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        return self.info[:size]

    def says(
        self, silent: int = 0, unacknowledged: int = 0, unsent: int = 0, retransmits: int = 0, probes: int = 0
    ) -> None:
        """By offsetof(struct tcp_info, ...)."""
        info = bytearray(b"\xaa" * 248)
        struct.pack_into("=BB", info, 2, retransmits, probes)
        for offset, value in ((24, unacknowledged), (52, silent + 5000), (56, silent), (144, unsent)):
            struct.pack_into("=I", info, offset, value)
        self.info = bytes(info)


@implementer(ISystemHandle)
class Transport:
    def __init__(self, handle: socket.socket) -> None:
        self._handle = handle

    def getHandle(self) -> socket.socket:
        return self._handle


class Link:
    peer = "10.0.0.1"

    def __init__(self) -> None:
        self.handle = Answering(socket.AF_INET)
        self.transport = Transport(self.handle)
        self.closed: list[str] = []

    def close(self, reason: str) -> None:
        self.closed.append(reason)


@pytest.fixture
def link() -> Iterator[Link]:
    made = Link()
    with contextlib.closing(made.handle):
        yield made


def test_a_host_that_leaves_what_is_sent_unacknowledged_and_is_silent_too_long_is_closed(link: Link) -> None:
    clock = Clock()
    liveness = Liveness(clock, KEEP_IDLE)
    link.handle.says(silent=LIMIT - 1, unacknowledged=1, retransmits=9)
    liveness.written(link)
    clock.advance(LOOK_SECONDS)
    assert not link.closed
    link.handle.says(silent=LIMIT, unacknowledged=1, retransmits=9)
    clock.advance(LOOK_SECONDS)
    assert link.closed == ["connection lost to 10.0.0.1: it does not answer"]
    assert not clock.getDelayedCalls()


def test_one_that_has_not_been_asked_in_vain_may_have_been_silent_for_ever(link: Link) -> None:
    # The machine that we run on stood still, say: nothing was heard because nothing was asked.
    clock = Clock()
    liveness = Liveness(clock, KEEP_IDLE)
    for retransmits in (0, 1):
        link.handle.says(silent=1000 * LIMIT, unacknowledged=3, retransmits=retransmits)
        liveness.written(link)
        clock.advance(LOOK_SECONDS)
        assert not link.closed


def test_one_that_has_no_room_but_says_so_stays_and_one_that_says_nothing_any_more_goes(link: Link) -> None:
    clock = Clock()
    liveness = Liveness(clock, KEEP_IDLE)
    liveness.written(link)
    for _ in range(10_000):
        link.handle.says(silent=5000, unsent=100_000)
        clock.advance(LOOK_SECONDS)
    assert not link.closed
    link.handle.says(silent=LIMIT, unsent=100_000, probes=2)
    clock.advance(LOOK_SECONDS)
    assert len(link.closed) == 1


def test_what_is_acknowledged_is_looked_after_no_more(link: Link) -> None:
    clock = Clock()
    liveness = Liveness(clock, KEEP_IDLE)
    link.handle.says(silent=1000 * LIMIT, retransmits=9, probes=9)
    liveness.written(link)
    liveness.written(link)
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(LOOK_SECONDS)
    assert not link.closed
    assert not clock.getDelayedCalls()


@pytest.mark.parametrize("keep_idle", [0, KEEP_IDLE])
def test_nothing_is_left_of_one_that_is_gone_and_nothing_is_done_without_keepalive(link: Link, keep_idle: int) -> None:
    clock = Clock()
    liveness = Liveness(clock, keep_idle)
    liveness.written(link)
    assert len(clock.getDelayedCalls()) == bool(keep_idle)
    liveness.discard(link)
    assert not clock.getDelayedCalls()
    liveness.written(link)
    liveness.stop()
    assert not clock.getDelayedCalls()


def test_a_real_connection_with_nothing_under_way_and_one_whose_other_side_does_not_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as far:
        near, _ = server.accept()
        with near:
            assert under_way(near) is None
            near.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    near.send(bytes(65536))
            found = under_way(near)
            assert found is not None
            assert found.silent < 30_000
            far.settimeout(30)
        assert far.recv(1)
        assert under_way(near) is None  # closed


def test_a_host_that_is_gone_is_noticed_also_while_nobody_reads_what_it_says(w: VMWorld) -> None:
    host, _ = w.vm()
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    with near, far:
        host.protocol.transport = Held(near)  # what is asked of it here
        host.protocol.hold_output(True)
        for _ in range(10):
            w.clock.advance(HELD_SECONDS)
        assert (host.protocol.transport.paused, is_dead(near)) == (True, False)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()  # a reset
        until = time.monotonic() + 30
        while host.protocol.transport.paused and time.monotonic() < until:
            time.sleep(0.01)
            w.clock.advance(HELD_SECONDS)
        assert not host.protocol.transport.paused
        assert len(w.front.held) == 0
    assert not is_dead(near)  # it is closed: that was noticed


class Held(Transport):
    """A transport that says whether it is read from."""

    paused = False

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
