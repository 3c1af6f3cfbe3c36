"""Who is meant: a VM that was built anew, impostors, and consoles that are forgotten, at a daemon with real clients."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.support.daemon import Client, Daemon, environment, eventually
from tests.support.host import FakeVM


@pytest.fixture
def named(daemon: Daemon) -> Iterator[Callable[[str], FakeVM]]:
    """Connects VMs, each with a UUID of its own, whatever it is called."""
    vms: list[FakeVM] = []

    def make(name: str) -> FakeVM:
        vm = FakeVM(daemon.vm_port, name)
        vm.uuid = uuid.uuid4()
        vms.append(vm)
        return vm.connect()

    yield make
    for vm in vms:
        vm.close()


def said(daemon: Daemon, *command: str) -> str:
    done = daemon.run(*command)
    assert done.returncode == 0, done
    return done.stdout.decode()


def test_a_vm_that_was_built_anew_has_the_name_of_the_old_one(daemon: Daemon, named: Callable[[str], FakeVM]) -> None:
    old = named("web01")
    old.connected.say(b"the old one\r\n")
    eventually(lambda: b"the old one" in daemon.logged("web01"), "the old one is logged")
    old.close()
    eventually(lambda: daemon.status("web01")["state"] == "down", "the old one is down")
    new = named("web01")
    eventually(lambda: daemon.status("web01")["uuid"] == str(new.uuid), "the name is the new one's")
    new.connected.say(b"the new one\r\n")
    link = daemon.log_dir / "by-name" / "web01.log"
    eventually(lambda: link.exists() and b"the new one" in link.read_bytes(), "the link leads to the new one")

    daemon.run("send", "web01", "sent")
    new.connected.wait_data(b"sent")
    raw = Client(daemon.ssh("-W", "web01:1", "127.0.0.1"))
    raw.type(b"raw")
    new.connected.wait_data(b"raw")
    raw.close()
    assert "the new one" in said(daemon, "log", "web01")
    assert said(daemon, "list", "--state", "down", "-c", "alias").split()[-1] == f"web01~{old.uuid.hex[:8]}"
    assert "the old one" in said(daemon, "log", f"web01~{old.uuid.hex[:8]}")

    # Who takes the names of others gets nothing of theirs.
    named(f"web01~{old.uuid.hex[:8]}").connected.say(b"an impostor\r\n")
    named(str(old.uuid)).connected.say(b"another one\r\n")
    eventually(lambda: len(said(daemon, "list", "-c", "uuid").split()) >= 4 + 2, "all are known")
    for target in (str(old.uuid), f"web01~{old.uuid.hex[:8]}"):
        assert "the old one" in said(daemon, "log", target)

    assert daemon.run("forget", "web01").returncode == 1  # that is the new one
    assert "is forgotten" in said(daemon, "forget", str(old.uuid))
    assert said(daemon, "list", "--state", "down") == "none of 3 consoles is down\n"
    assert daemon.audited("forget", count=1)[0]["uuid"] == str(old.uuid)
    assert (daemon.log_dir / f"{old.uuid}.log").exists()
    daemon.stop()
    daemon.start()
    assert str(old.uuid) not in said(daemon, "list", "-c", "uuid")
    assert link.resolve() == (daemon.log_dir / f"{new.uuid}.log").resolve()
    # Back again, it is a new console, and its log goes on.
    old.port = daemon.vm_port
    old.connect().connected.say(b"back again\r\n")
    eventually(lambda: b"back again" in (daemon.log_dir / f"{old.uuid}.log").read_bytes(), "its log goes on")
    assert (daemon.log_dir / f"{old.uuid}.log").read_bytes() == b"the old one\r\nback again\r\n"


def test_a_copied_vm_that_comes_first_after_a_restart_gets_nothing_of_the_others(
    daemon: Daemon, named: Callable[[str], FakeVM]
) -> None:
    vms = [FakeVM(daemon.vm_port, name) for name in ("web01", "copy")]
    for vm in vms:
        vm.uuid, vm.bios = uuid.UUID(int=0x52 << 120), uuid.uuid4()
    first, copy = vms
    try:
        for vm in vms:
            vm.connect().connected.say(vm.name.encode())
            eventually(lambda vm=vm: daemon.logged(vm.name) == vm.name.encode(), "each has its own")
        for times, how in enumerate((signal.SIGTERM, signal.SIGKILL), 1):
            daemon.stop(how)
            daemon.start()
            for vm in (copy, first):
                vm.close()
                vm.connect().connected.say(b"+")
                said = vm.name.encode() + b"+" * times
                eventually(lambda vm=vm, said=said: daemon.logged(vm.name) == said, "it is logged")
        assert [daemon.status(vm.name)["bios_uuid"] for vm in vms] == [str(first.bios), str(copy.bios)]
        assert sum(event["event"] == "same-uuid" for event in daemon.events("copy")) == 1
    finally:
        for vm in vms:
            vm.close()


def test_slow_switchovers_copies_ports_that_are_alike_and_words_as_urls(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon("[vm]\nvmotion-timeout = 4\n")
    command = [sys.executable, "-m", "vmproxy", "simulate", "--port", str(daemon.vm_port), "-n", "4", "--copies", "1"]
    command += ["--ports-per-vm", "2", "--ports-alike", "--uri-form", "mixed", "--switchover", "5", "--boot-speed", "0"]
    fleet = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:

        def up() -> set[str]:
            consoles = json.loads(daemon.run("list", "--json").stdout)
            return {f"{c['name']} {c['port']}" for c in consoles if c["state"] == "up"}

        names = ["web01", "db01", "mail01", "build01", "web01-copy"]
        wanted = {f"{name} {port}" for name in names for port in (1, 2)}
        eventually(lambda: up() == wanted, "each port of each VM has its console")
        said = daemon.said()
        assert said.count("two VMs, kept apart") == 1
        fleet.send_signal(signal.SIGUSR1)

        def told(event: str) -> int:
            return sum(event in path.read_text() for path in daemon.log_dir.glob("*.events"))

        # The time of a vMotion has passed by then, but not that of one whose destination is there.
        eventually(lambda: told("vmotion-complete") == 10, "all of them have moved")
        assert up() == wanted
        assert told("vmotion-abandoned") == 0
    finally:
        fleet.terminate()
        fleet.wait(30)
