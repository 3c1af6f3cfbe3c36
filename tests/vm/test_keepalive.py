"""The options of a connection from a host, on real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.vm import World
from vmproxy.vm.keepalive import _TCP_RTO_MAX_MS, change_options, noticed_after, set_options


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


def test_connections_have_it_from_the_socket_that_they_came_by(w: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accepted(keep_idle: int) -> tuple[int, ...]:
            w.hub.settings = replace(w.hub.settings, keep_idle=keep_idle)
            w.hub.prepare(server)
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
