"""Clients that find no place among those that have not logged in: they wait, unread, and begin when there is one."""

from __future__ import annotations

from tests.support.ssh import Client, SSHWorld
from vmproxy.auth.limits import WAIT_SECONDS, LoginLimits


def test_a_client_waits_unread_and_begins_when_another_has_logged_in(w: SSHWorld) -> None:
    w.accounts.gate.reconfigure(LoginLimits(in_all=40, per_address=1))
    first = w.connect()
    second = Client(w)
    assert not second.tcp.reading
    assert second.tcp.drain() == b""
    first.log_in("alice")
    assert second.tcp.reading
    second.begin()
    second.pump()
    assert second.secure
    second.log_in("alice")
    assert len(w.accounts.gate) == 0


def test_a_client_that_waits_in_vain_is_closed(w: SSHWorld) -> None:
    w.accounts.gate.reconfigure(LoginLimits(in_all=40, per_address=1))
    w.connect()
    second = Client(w)
    w.clock.advance(WAIT_SECONDS)
    assert second.tcp.aborted
    w.clock.advance(1)
    assert len(w.accounts.gate) == 1


def test_a_silent_client_makes_place(w: SSHWorld) -> None:
    w.accounts.gate.reconfigure(LoginLimits(in_all=3, per_address=3))
    silent = [Client(w) for _ in range(3)]
    w.clock.advance(3)
    from_elsewhere = object()
    assert w.accounts.gate.enter(Waiting(from_elsewhere), "10.9.9.9")
    assert [one.tcp.aborted for one in silent] == [True, False, False]


class Waiting:
    """A connection from another address."""

    silent = True

    def __init__(self, key: object) -> None:
        self.key = key

    def come_in(self) -> None: ...

    def make_place(self) -> None: ...
