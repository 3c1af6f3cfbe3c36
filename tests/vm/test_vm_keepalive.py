"""The options of a connection from a host, on real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from vmproxy.vm.keepalive import set_options


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        accepted, _ = server.accept()
        with accepted:
            yield accepted


@pytest.mark.parametrize(
    ("keep_idle", "interval", "noticed_after"),
    [(300, 3, 315_000), (1, 1, 6_000), (100, 1, 105_000), (101, 2, 111_000), (32767, 328, 34_407_000)],
)
def test_a_dead_host_is_noticed_by_the_hosts_own_formula(
    connection: socket.socket, keep_idle: int, interval: int, noticed_after: int
) -> None:
    set_options(connection, keep_idle)
    tcp = socket.IPPROTO_TCP
    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert connection.getsockopt(tcp, socket.TCP_KEEPIDLE) == keep_idle
    assert connection.getsockopt(tcp, socket.TCP_KEEPINTVL) == interval
    assert connection.getsockopt(tcp, socket.TCP_KEEPCNT) == 5
    # Keepalive does not run while bytes are under way to the host.
    assert connection.getsockopt(tcp, socket.TCP_USER_TIMEOUT) == noticed_after
    assert connection.getsockopt(tcp, socket.TCP_NODELAY)


def test_zero_leaves_keepalive_off_but_not_nodelay(connection: socket.socket) -> None:
    set_options(connection, 0)
    assert not connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_local_socket_has_none_of_this() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        set_options(ours, 300)
        assert not ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
