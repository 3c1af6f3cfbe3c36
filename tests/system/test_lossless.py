"""Nothing is lost: in vMotion, at a stop, in a crash, on a full disk, beside a stalled viewer."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Client, Daemon, environment, eventually
from tests.support.host import FakeVM, HostConnection

MakeVM = Callable[..., FakeVM]
MakeClient = Callable[..., Client]
MakeDaemon = Callable[..., Daemon]
MIGRATIONS = 20
FLEET_PATIENCE = 120.0  # hundreds of VMs share two processors with us


def full(line: HostConnection) -> bytes:
    """Fill the buffers of both systems, far more than is read in one turn; :returns: what is under way."""
    numbers = b"".join(b"%07d\r\n" % n for n in range(4_000_000))
    sent = line.fill(numbers)
    assert 1024 * 1024 < sent < len(numbers)
    return numbers[:sent]


def wait_for_last(daemon: Daemon, words: bytes) -> None:
    """Wait until the log of web01 is there and has these last words."""
    log = daemon.log("web01")
    eventually(lambda: log.exists() and log.read_bytes().endswith(words), f"{words!r} is heard")


def record(kind: bytes, number: int) -> bytes:
    """A numbered record with bytes in it that are easily lost or doubled."""
    return b"%s%06d\xff\r\0\xff\xff\r\n" % (kind, number)


def test_twenty_migrations_lose_double_and_reorder_nothing_in_either_direction(
    daemon: Daemon, make_vm: MakeVM, client: MakeClient
) -> None:
    daemon.reload("[vm]\nvmotions-per-minute = 1000\n")
    vm = make_vm(daemon)
    raw = client("-W", "web01:1", "127.0.0.1")
    eventually(lambda: daemon.status("web01")["writer"], "the raw stream has the pen")
    typed = bytearray()
    arrived = bytearray()
    stop = threading.Event()

    def type_on() -> None:
        number = 0
        while not stop.is_set():
            for _ in range(20):
                data = record(b"I", number)
                number += 1
                typed.extend(data)
                raw.type(data)
            time.sleep(0.001)  # a person, or a script, not a flood: paces, and is waited for by nothing

    typist = threading.Thread(target=type_on)
    typist.start()
    said = bytearray()
    number = 0
    try:
        for round_ in range(MIGRATIONS):
            for _ in range(200):
                data = record(b"O", number)
                number += 1
                said.extend(data)
                vm.connected.say(data)
            # Every other host leaves the source open until after COMPLETE; the guest says nothing in between.
            source = vm.migrate(bytes((255, round_, 0, 255)), close_first=bool(round_ % 2))
            arrived.extend(source.data)
    finally:
        stop.set()
        typist.join()
    for _ in range(50):
        data = record(b"O", number)
        number += 1
        said.extend(data)
        vm.connected.say(data)
    vm.connected.wait_size(len(typed) - len(arrived))
    arrived.extend(vm.connected.data)
    raw.wait_size(len(said))
    eventually(lambda: daemon.log("web01").stat().st_size >= len(said), "the log is complete")
    assert bytes(arrived) == bytes(typed)
    assert bytes(raw.out) == bytes(said)
    assert daemon.log("web01").read_bytes() == bytes(said)
    completed = [event for event in daemon.events("web01") if event["event"] == "vmotion-complete"]
    assert len(completed) == MIGRATIONS


@pytest.mark.parametrize("close_first", [True, False], ids=["source closes first", "source stays open"])
def test_a_burst_that_the_source_sends_last_stays_before_the_destinations_bytes(
    daemon: Daemon, make_vm: MakeVM, close_first: bool
) -> None:
    vm = make_vm(daemon)
    source = vm.connected
    source.sub(40, b"seq1")
    answer = source.wait_sub(41)
    destination = HostConnection(daemon.vm_port)
    destination.negotiate()
    destination.sub(44, answer)
    destination.wait_sub(45)
    with daemon.standing_still():
        burst = full(source)
        if close_first:
            source.end()
        destination.sub(46, b"seq1")
        destination.say(b"destination")
    vm.line = destination
    wait_for_last(daemon, b"destination")
    assert daemon.log("web01").read_bytes() == burst + b"destination"
    assert not [event for event in daemon.events("web01") if event["event"] == "gap"]
    source.close()


def test_a_connection_that_is_replaced_is_read_to_its_end(daemon: Daemon, make_vm: MakeVM) -> None:
    vm = make_vm(daemon)
    old = vm.connected
    with daemon.standing_still():
        burst = full(old)
    vm.connect()
    vm.connected.say(b"new")
    wait_for_last(daemon, b"new")
    assert daemon.log("web01").read_bytes() == burst + b"new"
    old.wait_closed()
    old.close()


def test_what_has_arrived_when_the_stop_comes_is_in_the_logs(make_daemon: MakeDaemon, make_vm: MakeVM) -> None:
    daemon = make_daemon()
    vms = [make_vm(daemon, f"vm{n:02}") for n in range(20)]
    sent = {}
    for vm in vms:
        sent[vm.name] = b"".join(b"%s line %05d\r\n" % (vm.name.encode(), n) for n in range(8000))
        vm.connected.say(sent[vm.name])
    # Acknowledged by the daemon's operating system, not necessarily read by the daemon.
    eventually(lambda: not any(vm.connected.unacknowledged() for vm in vms), "everything has arrived")
    assert daemon.stop(signal.SIGTERM) == -signal.SIGTERM
    for vm in vms:
        assert daemon.log(vm.name).read_bytes() == sent[vm.name]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_leaves_whole_logs(make_daemon: MakeDaemon, make_vm: MakeVM, how: signal.Signals) -> None:
    daemon = make_daemon()
    vms = [make_vm(daemon, f"vm{n:02}") for n in range(10)]
    acknowledged = [0] * len(vms)
    stopping = threading.Event()

    def talk(index: int) -> None:
        line, sent = vms[index].connected, 0
        try:
            while True:
                data = b"".join(b"%08d\r\n" % n for n in range(sent, sent + 1000))
                line.say(data)
                sent += 1000
                if not stopping.is_set():
                    acknowledged[index] = 10 * sent - line.unacknowledged()
        except OSError:
            return  # the daemon closed the connection

    talkers = [threading.Thread(target=talk, args=(n,)) for n in range(len(vms))]
    for talker in talkers:
        talker.start()
    eventually(lambda: min(acknowledged) > 200_000, "all of them talk")
    stopping.set()
    least = list(acknowledged)
    daemon.stop(how)
    for talker in talkers:
        talker.join()
    for vm, size in zip(vms, least, strict=True):
        log = daemon.log(vm.name).read_bytes()
        assert len(log) >= size
        assert log == b"".join(b"%08d\r\n" % n for n in range(len(log) // 10 + 1))[: len(log)]


def test_after_a_crash_consoles_are_known_and_logs_continue(make_daemon: MakeDaemon, make_vm: MakeVM) -> None:
    daemon = make_daemon()
    vm = make_vm(daemon)
    vm.connected.say(b"before\r\n")
    eventually(lambda: daemon.log("web01").exists() and daemon.log("web01").stat().st_size, "it is logged")
    eventually(lambda: b'"web01"' in (daemon.state / "consoles.jsonl").read_bytes(), "it is remembered")
    daemon.stop(signal.SIGKILL)
    vm.close()
    daemon.start()
    status = daemon.status("web01")
    assert (status["state"], status["reason"]) == ("down", "the concentrator was stopped")
    assert daemon.run("log", "web01").stdout == b"before\r\n"
    vm.connect()
    vm.connected.say(b"after\r\n")
    eventually(lambda: daemon.log("web01").read_bytes() == b"before\r\nafter\r\n", "the log continues")
    assert daemon.events("web01")[-1]["offset"] == len(b"before\r\n")


def test_a_stalled_viewer_slows_nobody_and_is_told_what_it_missed(
    daemon: Daemon, make_vm: MakeVM, client: MakeClient
) -> None:
    vm = make_vm(daemon)
    live = client("-n", "127.0.0.1", "console -s web01")
    live.expect_err(b"[spy]")
    stalled = client("-n", "127.0.0.1", "console -s web01")
    stalled.expect_err(b"[spy]")
    before = daemon.memory()
    os.kill(stalled.process.pid, signal.SIGSTOP)
    piece = b"".join(b"%015d\r\n" % n for n in range(2000))
    total = 0
    try:
        for _ in range(600):  # 20 MB: more than all buffers on the way to the stalled client
            vm.connected.say(piece)
            total += len(piece)
            live.wait_size(total)
    finally:
        os.kill(stalled.process.pid, signal.SIGCONT)
    assert bytes(live.out) == piece * 600
    assert daemon.memory() - before < 20_000_000
    end = stalled.expect_err(b" bytes skipped: your connection is too slow --]")
    match = re.search(rb"\[-- (\d+) bytes skipped", stalled.err[:end])
    assert match is not None
    stalled.wait_size(total - int(match[1]))
    assert len(stalled.out) == total - int(match[1])
    vm.connected.say(b"live again\r\n")
    stalled.expect(b"live again\r\n")
    assert daemon.log("web01").stat().st_size >= total


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here: this needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_told_and_becomes_a_gap_of_the_right_size(
    make_daemon: MakeDaemon, make_vm: MakeVM, small_disk: Path
) -> None:
    daemon = make_daemon(log_dir=small_disk / "log")
    vm, other = make_vm(daemon), make_vm(daemon, "db01")
    other.connected.say(b"fine\r\n")
    viewer = Client(daemon.ssh("-n", "127.0.0.1", user="web01"))
    try:
        viewer.expect_err(b"[attached]")
        data = b"".join(b"%014d\r\n" % n for n in range(200_000))  # 3.2 MB
        for at in range(0, len(data), 64_000):
            vm.connected.say(data[at : at + 64_000])
            viewer.wait_size(min(at + 64_000, len(data)))
        viewer.expect_err(b"[-- log: cannot write: No space left on device; NOT being recorded --]")
        assert bytes(viewer.out) == data
        assert daemon.status("web01")["log_problem"] == "No space left on device"
        subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
        viewer.expect_err(b"[-- log: recording again, ")
        vm.connected.say(b"the end\r\n")
        eventually(lambda: daemon.log("web01").read_bytes().endswith(b"the end\r\n"), "it is recorded again")
    finally:
        viewer.close()
    gaps = [event for event in daemon.events("web01") if event["event"] == "gap"]
    log = daemon.log("web01").read_bytes()
    assert len(gaps) == 1
    assert len(log) + int(str(gaps[0]["bytes"])) == len(data) + len(b"the end\r\n")
    offset = int(str(gaps[0]["offset"]))
    assert log[:offset] == data[:offset]
    assert log[offset:] == b"the end\r\n"
    # What had been written before, and what fits into memory, is not given up.
    assert offset > 1_000_000


def test_five_hundred_vms_connect_are_logged_and_migrate(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    daemon = make_daemon()
    command = [sys.executable, "-m", "vmproxy", "simulate", "--port", str(daemon.vm_port), "-n", "500"]
    report = tmp_path / "simulate.out"
    with report.open("wb") as output:
        fleet = subprocess.Popen(
            [*command, "--boot-speed", "0", "--connect-rate", "500", "--report", "0.5"],
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:

        def up() -> list[dict[str, object]]:
            consoles = json.loads(daemon.run("list", "--json").stdout)
            return [c for c in consoles if c["state"] == "up"]

        eventually(lambda: len(up()) == 500, "all of them are up", FLEET_PATIENCE)
        eventually(
            lambda: all(int(str(c["bytes_out"])) > 2000 for c in up()), "all of them have booted", FLEET_PATIENCE
        )
        fleet.send_signal(signal.SIGUSR1)
        moved = "vmotion-complete"
        eventually(
            lambda: sum(moved in p.read_text() for p in daemon.log_dir.glob("*.events")) == 500,
            "all of them have moved",
            FLEET_PATIENCE,
        )
        assert len(up()) == 500
        sizes = {c["uuid"]: c["bytes_out"] for c in up()}
    finally:
        fleet.terminate()
        assert fleet.wait(30) == 0, report.read_text()
    daemon.stop()
    for uuid, size in sizes.items():
        assert (daemon.log_dir / f"{uuid}.log").stat().st_size >= int(str(size))


def test_a_log_that_is_renamed_is_made_anew_at_the_signal_and_without_it(daemon: Daemon, make_vm: MakeVM) -> None:
    vm = make_vm(daemon)
    vm.connected.say(b"one\r\n")
    eventually(lambda: daemon.log("web01").exists() and daemon.log("web01").read_bytes() == b"one\r\n", "logged")
    path = daemon.log("web01").resolve()
    path.rename(path.with_name("first"))
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: "opened anew" in daemon.said(), "the signal is heard")
    vm.connected.say(b"two\r\n")
    eventually(lambda: path.exists() and path.read_bytes() == b"two\r\n", "a new file after the signal")
    path.rename(path.with_name("second"))
    eventually(path.exists, "a new file without a signal")
    vm.connected.say(b"three\r\n")
    eventually(lambda: path.read_bytes() == b"three\r\n", "it goes on there")
    assert path.with_name("first").read_bytes() == b"one\r\n"
    assert path.with_name("second").read_bytes() == b"two\r\n"
