"""``trace``: who may trace what, and that it ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.fakes import VM_B
from tests.support.ssh import RemoteChannel, SSHWorld
from vmproxy.console.console import Console
from vmproxy.errors import VMProxyError
from vmproxy.operators.commands.trace import LOOK_SECONDS, WAITING_LIMIT


class Hosts:
    """The traces that were asked for."""

    def __init__(self, w: SSHWorld) -> None:
        self.running: dict[Console | str, Callable[[str], None]] = {}
        self.unknown: set[str] = set()
        w.services.trace = self.trace

    async def trace(self, wanted: Console | str, told: Callable[[str], None]) -> Callable[[], None]:
        if wanted in self.unknown:
            raise VMProxyError(f"{wanted}: there is no such host")
        self.running[wanted] = told
        return lambda: self.running.__delitem__(wanted)


@pytest.fixture
def hosts(w: SSHWorld) -> Hosts:
    w.vm()
    w.vm("db01", uuid=VM_B)
    return Hosts(w)


def trace(w: SSHWorld, words: str) -> RemoteChannel:
    return w.login().run(f"trace {words}")


def test_lines_come_as_they_are_told_with_the_time_until_there_are_enough(w: SSHWorld, hosts: Hosts) -> None:
    channel = trace(w, "web01 -n 3")
    (told,) = hosts.running.values()
    assert list(hosts.running) == [w.console("web01")]
    for n in range(5):
        told(f"10.0.0.1#1 +0.00{n} < line {n}")
    w.clock.advance(LOOK_SECONDS)
    channel.client.pump()
    first, *rest = channel.out.decode().splitlines()
    assert first[8] == "."
    assert [line[13:] for line in (first, *rest)] == [f"10.0.0.1#1 +0.00{n} < line {n}" for n in range(3)]
    assert (channel.status, hosts.running) == (0, {})
    assert w.audited("trace")[0]["of"] == "web01"


def test_it_ends_in_time_and_with_the_client(w: SSHWorld, hosts: Hosts) -> None:
    channel = trace(w, "10.0.0.1 --for 5")
    assert list(hosts.running) == ["10.0.0.1"]
    w.clock.pump([LOOK_SECONDS] * 30)
    channel.client.pump()
    assert (channel.status, hosts.running) == (0, {})
    channel = trace(w, "esx03")
    assert list(hosts.running) == ["esx03"]
    channel.close()
    w.clock.pump([LOOK_SECONDS] * 2)
    assert hosts.running == {}


def test_who_reads_too_slowly_skips(w: SSHWorld, hosts: Hosts) -> None:
    channel = trace(w, f"web01 -n {WAITING_LIMIT}")
    (told,) = hosts.running.values()
    for _ in range(WAITING_LIMIT + 7):
        told("x")
    w.clock.pump([LOOK_SECONDS] * 3)
    channel.client.pump()
    assert b"7 lines skipped" in channel.err


def test_a_console_needs_its_administrator_and_a_host_one_from_whom_nothing_is_hidden(
    w: SSHWorld, hosts: Hosts
) -> None:
    w.rules(("*", "admin", "web*"), ("*", "write", "db*"))
    assert trace(w, "db01").status == 10
    channel = trace(w, "web01")
    assert list(hosts.running) == [w.console("web01")]
    w.rules(("*", "write", "*"))  # and loses it meanwhile
    w.clock.advance(LOOK_SECONDS)
    channel.client.pump()
    assert (channel.status, hosts.running) == (10, {})
    w.rules(("*", "", "db*"), ("*", "admin", "*"))
    told = trace(w, "10.0.0.1")
    assert (told.status, hosts.running) == (10, {})
    # What is hidden is no console, and no host is looked up for them either.
    assert (trace(w, "db01").status, trace(w, "esx03").status, hosts.running) == (3, 3, {})


def test_what_is_neither_console_nor_host_is_said(w: SSHWorld, hosts: Hosts) -> None:
    hosts.unknown.add("esx09")
    told = trace(w, "esx09")
    assert (told.status, told.err) == (1, b"esx09: there is no such host\n")
