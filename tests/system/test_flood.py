"""One that floods, and one that pastes: the others notice nothing, and memory stays bounded."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import Client, Daemon, eventually
from tests.support.host import FakeVM

MakeVM = Callable[..., FakeVM]
MakeClient = Callable[..., Client]
MEGABYTE = 1024 * 1024
BOUND = 64 * MEGABYTE  # of memory that may be added: buffers with their limits, and what Python keeps for itself


class Flood(threading.Thread):
    """A VM that says as much as the line takes.

    :ivar sent: bytes, so far.
    """

    def __init__(self, vm: FakeVM) -> None:
        super().__init__()
        self.vm = vm
        self.sent = 0
        self._stop_it = threading.Event()

    def run(self) -> None:
        piece = b"".join(b"%062d\r\n" % n for n in range(1024))
        with contextlib.suppress(OSError):
            while not self._stop_it.is_set():
                self.vm.connected.say(piece)
                self.sent += len(piece)

    def stop(self) -> None:
        self._stop_it.set()
        self.join()


def echo(vm: FakeVM) -> None:
    """Have a VM say again what is typed."""
    vm.connected.on_data = vm.connected.say


def flooded(daemon: Daemon, make_vm: MakeVM, client: MakeClient, quiet: int, operators: int, least: int) -> None:
    loud = make_vm(daemon, "loud")
    vms = [make_vm(daemon, f"quiet{n:03}") for n in range(quiet)]
    for vm in vms:
        echo(vm)
    clients = [client("127.0.0.1", user=vm.name) for vm in vms[:operators]]
    onlooker = client("-n", "127.0.0.1", "console -s loud")
    for one in (*clients, onlooker):
        one.expect_err(b"[")
    eventually(lambda: all(b"[attached]" in one.err for one in clients), "all of them are attached")
    before = peak = daemon.memory()
    flood = Flood(loud)
    flood.start()
    slowest = 0.0
    said = dict.fromkeys((vm.name for vm in vms), b"")
    try:
        round_ = 0
        while flood.sent < least:
            for vm in vms:
                line = b"line %d\r\n" % round_
                vm.connected.say(line)
                said[vm.name] += line
            for number, one in enumerate(clients):
                key = b"<key %d of %d>" % (round_, number)
                began = time.monotonic()
                one.type(key)
                one.expect(key)  # there, to the VM, and back
                slowest = max(slowest, time.monotonic() - began)
            peak = max(peak, daemon.memory())
            round_ += 1
    finally:
        flood.stop()
    slow, more = f"slowest echo {1000 * slowest:.0f} ms", f"{(peak - before) / MEGABYTE:.1f} MB more"
    print(f"\n{flood.sent / MEGABYTE:.0f} MB; {slow}; {more}")
    assert peak - before < BOUND
    for vm in vms:
        eventually(lambda vm=vm: without_keys(daemon.log(vm.name)) == said[vm.name], f"all of {vm.name} is there")

    def recorded() -> int:
        gaps = [event for event in daemon.events("loud") if event["event"] == "gap"]
        return daemon.log("loud").stat().st_size + sum(int(str(event["bytes"])) for event in gaps)

    eventually(lambda: recorded() >= flood.sent, "the flood is recorded")


def without_keys(log: Path) -> bytes:
    """What a VM said of itself, without what it echoed."""
    return re.sub(rb"<key \d+ of \d+>", b"", log.read_bytes()) if log.exists() else b""


def pasted(daemon: Daemon, make_vm: MakeVM, client: MakeClient, size: int) -> None:
    vm = make_vm(daemon)
    gate = threading.Event()
    vm.connected.on_data = lambda _data: (gate.wait(), None)[1]
    first = client("127.0.0.1", user="web01")
    first.expect_err(b"[attached]")
    before = peak = daemon.memory()
    text = b"".join(b"%014d\r\n" % n for n in range(65536))

    def paste() -> None:
        with contextlib.suppress(OSError):  # the client is ended before it has got rid of all of it
            for _ in range(-(-size // len(text))):
                first.type(text)

    paster = threading.Thread(target=paste)
    paster.start()
    try:

        def stuck() -> bool:
            taken = daemon.status("web01")["bytes_in"]
            return bool(taken) and daemon.status("web01")["bytes_in"] == taken

        eventually(stuck, "nothing more is taken")
        assert int(str(daemon.status("web01")["bytes_in"])) < size, "more was pasted than all buffers hold"
        peak = max(peak, daemon.memory())
        second = client("127.0.0.1", "console -f web01", user="root")
        second.expect_err(b"[attached")
        first.expect_err(b"forced to `spy' mode by")
        second.type(b"and now me")
        for _ in range(10):
            peak = max(peak, daemon.memory())
            assert daemon.status("web01")["state"] == "up"
        assert peak - before < BOUND
        print(f"\n{(peak - before) / MEGABYTE:.1f} MB more")
        gate.set()
        vm.connected.wait_data(b"and now me")
        vm.connected.say(b"thanks\r\n")
        second.expect(b"thanks\r\n")
    finally:
        gate.set()
        first.process.kill()
        paster.join()


def test_a_vm_that_floods_slows_no_other_and_memory_stays_bounded(
    daemon: Daemon, make_vm: MakeVM, client: MakeClient
) -> None:
    flooded(daemon, make_vm, client, quiet=15, operators=3, least=48 * MEGABYTE)


def test_a_paste_into_a_vm_that_reads_nothing_fills_no_memory_and_the_pen_can_be_taken(
    daemon: Daemon, make_vm: MakeVM, client: MakeClient
) -> None:
    pasted(daemon, make_vm, client, 48 * MEGABYTE)


@pytest.mark.soak
def test_a_flood_beside_a_hundred_vms_and_ten_operators(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    flooded(daemon, make_vm, client, quiet=100, operators=10, least=1024 * MEGABYTE)


@pytest.mark.soak
def test_a_hundred_megabytes_pasted(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    pasted(daemon, make_vm, client, 100 * MEGABYTE)
