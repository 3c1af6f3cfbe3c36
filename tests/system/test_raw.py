"""The raw stream with real programs: gdb's remote protocol, and large binaries both ways."""

from __future__ import annotations

import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.daemon import PATIENCE, Client, Daemon, eventually
from tests.support.host import FakeVM, HostConnection
from tests.support.ports import free_port

MEGABYTE = 1_000_000
SIZE = 50 * MEGABYTE
GROWTH = 64 * MEGABYTE  # more than all bounds together, and less than what is sent


@pytest.fixture
def vm(daemon: Daemon, make_vm: Callable[..., FakeVM]) -> HostConnection:
    """A VM's connection."""
    return make_vm(daemon).connected


def progress(size: Callable[[], int], wanted: int, daemon: Daemon, memory: int) -> None:
    """Wait until so much has come, as long as it goes on; the daemon must not grow meanwhile."""
    while (now := size()) < wanted:
        eventually(lambda now=now: size() >= min(now + MEGABYTE, wanted), f"more than {now} bytes have come")
        assert daemon.memory() < memory + GROWTH


def say(vm: HostConnection, data: bytes) -> threading.Thread:
    """Have a VM say something while we do something else."""
    thread = threading.Thread(target=vm.say, args=(data,), daemon=True)
    thread.start()
    return thread


# Large binaries


def test_fifty_megabytes_pass_both_ways_at_once(
    daemon: Daemon, vm: HostConnection, client: Callable[..., Client]
) -> None:
    memory = daemon.memory()
    raw = client("-W", "web01:1", "127.0.0.1")
    eventually(lambda: daemon.status("web01").get("writer"), "it is attached")
    down, up = os.urandom(SIZE), os.urandom(SIZE)
    threads = [say(vm, down), threading.Thread(target=raw.type, args=(up,), daemon=True)]
    threads[1].start()
    progress(lambda: len(raw.out), SIZE, daemon, memory)
    progress(lambda: len(vm.data), SIZE, daemon, memory)
    for thread in threads:
        thread.join(PATIENCE)
    assert bytes(raw.out) == down
    assert bytes(vm.data) == up


class Sluggard:
    """An OpenSSH client whose output nobody reads, until told to."""

    def __init__(self, daemon: Daemon, *words: str) -> None:
        self.process = subprocess.Popen(
            daemon.ssh(*words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None

    def read(self, size: int) -> bytes:
        """Read exactly so much, or up to the end."""
        assert self.process.stdout is not None
        return self.process.stdout.read(size)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def sluggard(daemon: Daemon, vm: HostConnection) -> Iterator[Sluggard]:
    """A raw stream that nobody reads."""
    one = Sluggard(daemon, "-W", "web01:1", "127.0.0.1")
    eventually(lambda: daemon.status("web01").get("writer"), "it is attached")
    yield one
    one.close()


@pytest.mark.parametrize("rotate", [False, True])
def test_a_slow_reader_gets_everything_and_slows_nobody(
    daemon: Daemon, vm: HostConnection, sluggard: Sluggard, rotate: bool
) -> None:
    memory = daemon.memory()
    data = os.urandom(SIZE)
    half = SIZE // 2
    log = daemon.log_file("web01")
    vm.say(data[:half])
    eventually(lambda: log.exists() and log.stat().st_size == half, "the VM was heard though nobody reads")
    if rotate:
        log.rename(log.with_name(log.name + ".1"))
        daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: "opened anew" in daemon.said(), "the log is opened anew")
    vm.say(data[half:])
    eventually(lambda: log.exists() and log.stat().st_size == (half if rotate else SIZE), "all of it was heard")
    assert daemon.memory() < memory + GROWTH
    got = sluggard.read(half + 7)
    vm.say(b"live")  # while it catches up
    got += sluggard.read(SIZE - half - 7)
    assert got == data
    assert sluggard.read(4) == b"live"
    vm.say(b" again")
    assert sluggard.read(6) == b" again"
    assert daemon.memory() < memory + GROWTH


def test_a_slow_reader_gets_everything_across_our_own_rotation(
    make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM]
) -> None:
    daemon = make_daemon('[log]\nrotate-size = "30 MB"\n')
    vm = make_vm(daemon).connected
    sluggard = Sluggard(daemon, "-W", "web01:1", "127.0.0.1")
    eventually(lambda: daemon.status("web01").get("writer"), "it is attached")
    data = os.urandom(SIZE)
    vm.say(data)
    log = daemon.log_file("web01")
    eventually(lambda: any(log.parent.glob(f"{log.name}.1*")), "the log was rotated")
    assert sluggard.read(SIZE) == data
    sluggard.close()


def test_input_for_a_vm_that_takes_nothing_waits_at_the_client(
    daemon: Daemon, vm: HostConnection, sluggard: Sluggard
) -> None:
    memory = daemon.memory()
    stop, go = threading.Event(), threading.Event()

    def stall(_: bytes) -> None:
        stop.set()
        go.wait(PATIENCE)

    vm.on_data = stall
    data = os.urandom(SIZE)
    assert sluggard.process.stdin is not None
    pipe = sluggard.process.stdin
    writer = threading.Thread(target=lambda: (pipe.write(data), pipe.flush()), daemon=True)
    writer.start()
    assert stop.wait(PATIENCE)
    assert daemon.memory() < memory + GROWTH
    assert writer.is_alive()
    vm.on_data = None
    go.set()
    progress(lambda: len(vm.data), SIZE, daemon, memory)
    writer.join(PATIENCE)
    assert bytes(vm.data) == data


# Refusals


def test_a_refusal_is_shown_by_the_client(daemon: Daemon, vm: HostConnection, client: Callable[..., Client]) -> None:
    refused = client("-W", "nosuch:1", "127.0.0.1")
    refused.expect_err(b"nosuch: no such console")
    assert refused.end() != 0
    client("-W", "web01:1", "127.0.0.1")
    eventually(lambda: daemon.status("web01").get("writer"), "it is attached")
    refused = client("-W", "web01:1", "127.0.0.1")
    refused.expect_err(b"is attached, idle")
    assert refused.end() != 0


# gdb

DEBUGGED = """
unsigned char table[4096];
volatile unsigned long sum;

__attribute__((noinline)) void work(int number)
{
    sum = 0;
    for (int i = 0; i < 4096; i++)
        sum += table[i] * (unsigned long)(i + 1);
}

int main(void)
{
    for (int i = 0; i < 4096; i++)
        table[i] = i;
    for (int number = 41; ; number++)
        work(number);
}
"""

TOOLS = [tool for tool in ("gdb", "gdbserver", "gcc") if shutil.which(tool) is None]
needs_gdb = pytest.mark.skipif(
    bool(TOOLS), reason=f"there is no {', '.join(TOOLS)} (Debian: gdb gdbserver gcc libc6-dev)"
)


@pytest.fixture(scope="session")
def debugged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program to debug."""
    folder = tmp_path_factory.mktemp("debugged")
    (folder / "debugged.c").write_text(DEBUGGED)
    program = folder / "debugged"
    subprocess.run(["gcc", "-g", "-O0", "-o", str(program), str(folder / "debugged.c")], check=True, timeout=PATIENCE)
    return program


@pytest.fixture
def serial(vm: HostConnection) -> Iterator[str]:
    """A terminal device that is the VM's serial port, as the kernel in the VM would have it."""
    master, slave = pty.openpty()
    tty.setraw(slave)

    def to_vm(data: bytes) -> None:
        while data:
            data = data[os.write(master, data) :]

    vm.on_data = to_vm

    def from_vm() -> None:
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:
                return
            if not data:
                return
            vm.say(data)

    thread = threading.Thread(target=from_vm, daemon=True)
    thread.start()
    yield os.ttyname(slave)
    vm.on_data = None
    os.close(slave)  # the reading of the other side ends with that
    thread.join(PATIENCE)
    os.close(master)


@pytest.fixture
def gdbserver(serial: str, debugged: Path) -> Iterator[subprocess.Popen[str]]:
    """gdbserver on the serial port, with the program stopped at its first instruction."""
    server = subprocess.Popen(
        ["gdbserver", "--once", serial, str(debugged)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert server.stdout is not None
    said = ""
    while "Remote debugging" not in said:
        line = server.stdout.readline()
        said += line
        if not line:
            server.wait()
            server.stdout.close()
            pytest.skip(f"gdbserver cannot trace a process here: {said.strip()}")
    yield server
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    server.stdout.close()
    inferior = re.search(r"pid = (\d+)", said)  # once the debugger has let go of it, it runs by itself
    if inferior is not None:
        with suppress(ProcessLookupError):
            os.kill(int(inferior[1]), signal.SIGKILL)


@needs_gdb
@pytest.mark.parametrize("way", ["-W", "-L"])
def test_gdb_debugs_through_the_serial_port(
    daemon: Daemon,
    gdbserver: subprocess.Popen[str],
    debugged: Path,
    client: Callable[..., Client],
    tmp_path: Path,
    way: str,
) -> None:
    if way == "-W":
        target = f"target remote | {shlex.join(daemon.ssh('-W', 'web01:1', '127.0.0.1'))}"
    else:
        port = free_port()
        forward = client("-v", "-N", "-L", f"127.0.0.1:{port}:web01:1", "-o", "ExitOnForwardFailure=yes", "127.0.0.1")
        forward.expect_err(b"Entering interactive session")
        target = f"target remote 127.0.0.1:{port}"
    new = os.urandom(4096)
    (tmp_path / "new").write_bytes(new)
    commands = [
        "set confirm off",
        "set sysroot /",
        "set remotetimeout 30",
        target,
        "break work",
        "continue",
        "print number",
        f"dump binary memory {tmp_path / 'old'} table table+4096",
        f"restore {tmp_path / 'new'} binary table",
        f"dump binary memory {tmp_path / 'back'} table table+4096",
        "continue",
        "print number",
        "print sum",
        "stepi",
        "delete",
        "detach",
    ]
    line = ["gdb", "-nx", "-batch", *(word for command in commands for word in ("-ex", command)), str(debugged)]
    done = subprocess.run(
        line, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=2 * PATIENCE, check=False
    )
    said = done.stdout + done.stderr
    assert (tmp_path / "old").read_bytes() == bytes(range(256)) * 16, said
    assert (tmp_path / "back").read_bytes() == new, said
    assert re.search(r"^\$1 = 41$", done.stdout, re.MULTILINE), said
    assert re.search(r"^\$2 = 42$", done.stdout, re.MULTILINE), said
    total = sum(byte * (n + 1) for n, byte in enumerate(new))
    assert f"$3 = {total}\n" in done.stdout, said
    assert "detached]" in done.stdout, said
    eventually(lambda: not daemon.status("web01").get("writer") or way == "-L", "the pen is free")
