"""Hosts that vanish without a word: their consoles are down in time, whatever is under way, and up when they return."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.daemon import PATIENCE, Client, Daemon, eventually
from tests.support.host import FakeVM
from tests.support.network import CONCENTRATOR, Networks, networks

MakeVM = Callable[..., FakeVM]
MakeDaemon = Callable[..., Daemon]
BUSY = 10.0  # seconds by which a busy machine may be late


@pytest.fixture
def net() -> Iterator[Networks]:
    with networks() as made:
        yield made


@pytest.fixture
def far_daemon(net: Networks, tmp_path: Path, keys: Path) -> Iterator[Callable[[int], Daemon]]:
    """Starts a daemon in a network of its own."""
    daemons: list[Daemon] = []

    def make(keep_idle: int) -> Daemon:
        daemon = Daemon(tmp_path / "daemon", keys, f"[vm]\nkeep-idle = {keep_idle}\n")
        daemon.within, daemon.vm_address = net.concentrator, CONCENTRATOR
        daemons.append(daemon)
        return daemon.start()

    yield make
    for daemon in daemons:
        daemon.stop()
        assert "Traceback" not in daemon.said(), daemon.said()


def when(event: dict[str, object]) -> float:
    return datetime.fromisoformat(str(event["at"])).timestamp()


def down(daemon: Daemon, name: str) -> list[dict[str, object]]:
    return [event for event in daemon.events(name) if event["event"] == "down"]


def stays(condition: Callable[[], bool], seconds: float) -> None:
    """It goes on to hold."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert condition()
        time.sleep(0.05)


def type_all(client: Client, data: bytes) -> None:
    with contextlib.suppress(OSError):  # the client ends before it has taken all of it
        client.type(data)


def vanish_and_return(net: Networks, daemon: Daemon, late: float) -> None:
    """Three VMs whose host vanishes: one is quiet, at one somebody types on, one has no room for what was typed."""
    keep_idle = int(daemon.config.read_text().partition("keep-idle = ")[2].split()[0])
    gate = threading.Event()
    vms = {name: FakeVM(daemon.vm_port, name, address=CONCENTRATOR) for name in ("quiet", "typed", "full")}
    clients: list[Client] = []
    paste: threading.Thread | None = None
    try:
        with net.at_the_hosts():
            for vm in vms.values():
                vm.connect()
        vms["full"].connected.on_data = lambda _data: (gate.wait(), None)[1]
        for name in ("typed", "full"):
            clients.append(Client(daemon.ssh("-W", f"{name}:1", "127.0.0.1")))
            eventually(lambda name=name: daemon.status(name)["writer"], "the raw stream has the pen")
        typed, full = clients
        paste = threading.Thread(target=type_all, args=(full, bytes(20_000_000)))
        paste.start()
        typed.type(b"here")
        vms["typed"].connected.wait_data(b"here")

        def stuck() -> bool:
            taken = daemon.status("full")["bytes_in"]
            return bool(taken) and daemon.status("full")["bytes_in"] == taken

        eventually(stuck, "the VM has no room")
        # It stays though it takes nothing, for longer than a host may be silent: it still answers.
        stays(lambda: not down(daemon, "full"), keep_idle + 2.0)

        net.forward(False)
        for vm in vms.values():
            vm.connected.raw(b"never heard")
        began = datetime.now().timestamp()

        def type_on() -> bool:
            type_all(typed, b"x")  # its stream ends with the connection
            return all(down(daemon, name) for name in vms)

        eventually(type_on, "all consoles are down", 1.05 * keep_idle + PATIENCE)
        for name in vms:
            (event,) = down(daemon, name)
            assert str(event["reason"]).startswith("connection lost to 10.2.0.1")
            assert when(event) - began <= keep_idle * 1.05 + 2 + late, name

        net.forward(True)
        gate.set()
        with net.at_the_hosts():
            for vm in vms.values():
                vm.close()
                vm.connect()
                vm.connected.say(b"back\r\n")
        for name in vms:
            log = daemon.log(name)
            eventually(lambda log=log: log.exists() and log.read_bytes() == b"back\r\n", f"{name} is back")
            assert daemon.status(name)["state"] == "up"
    finally:
        gate.set()
        for client in clients:
            client.process.kill()
        if paste is not None:
            paste.join()
        for client in clients:
            client.close()
        for vm in vms.values():
            vm.close()


def test_consoles_of_a_host_that_vanishes_are_down_and_up_when_it_returns(
    net: Networks, far_daemon: Callable[[int], Daemon]
) -> None:
    vanish_and_return(net, far_daemon(1), BUSY)


@pytest.mark.soak
@pytest.mark.parametrize("keep_idle", [1, 5, 20, 60])
def test_consoles_of_a_host_that_vanishes_are_down_within_the_bound(
    net: Networks, far_daemon: Callable[[int], Daemon], keep_idle: int
) -> None:
    vanish_and_return(net, far_daemon(keep_idle), 0.0)
