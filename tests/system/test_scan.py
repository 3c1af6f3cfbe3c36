"""Port scanners at the VMs' port: nobody is dropped, and nothing is left behind.

A short form runs always; the long one, a thousand connections a second for a minute, with ``make soak``.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from random import Random

import pytest

from tests.support.daemon import Daemon, eventually
from tests.support.host import AUTH, IAC, KNOWN, SB, VMWARE, WILL, FakeVM

SILENT_AT_ONCE = 300
HALF_A_HANDSHAKE = bytes((IAC, WILL, AUTH, IAC, WILL, VMWARE, IAC, SB, VMWARE, 0)) + KNOWN[:9]
IN_A_SUBNEGOTIATION = bytes((IAC, SB, VMWARE, 70)) + b"Svmpr"
RESET = struct.pack("ii", 1, 0)


class Scanner:
    """Makes one connection after the other, of five kinds in turn."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._random = Random(17)
        self._silent: deque[socket.socket] = deque()
        self.made = 0

    def once(self) -> None:
        """One connection; whatever becomes of it."""
        one = socket.create_connection(("127.0.0.1", self._port), 30)
        kind = self.made % 5
        self.made += 1
        with contextlib.suppress(ConnectionError):
            if kind == 1:
                one.sendall(self._random.randbytes(self._random.randint(1, 2000)))
            elif kind == 2:
                self._silent.append(one)
                if len(self._silent) > SILENT_AT_ONCE:
                    self._silent.popleft().close()
                return
            elif kind == 3:
                one.sendall(HALF_A_HANDSHAKE[: self._random.randint(1, len(HALF_A_HANDSHAKE))])
            elif kind == 4:
                one.sendall(IN_A_SUBNEGOTIATION)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        one.close()

    def scan(self, seconds: float, per_second: float, between: Callable[[], None]) -> None:
        """Scan for so long; ``between`` is called some times a second."""
        start = said = time.monotonic()
        while (now := time.monotonic()) - start < seconds:
            self.once()
            if now - said > 0.2:
                said = now
                between()
            time.sleep(max(0.0, start + self.made / per_second - time.monotonic()))

    def close(self) -> None:
        for one in self._silent:
            one.close()
        self._silent.clear()


def connections(daemon: Daemon) -> int:
    """How many connections of hosts it says that it has."""
    before = len(daemon.said())
    daemon.process.send_signal(signal.SIGUSR2)
    eventually(lambda: "; connections: " in daemon.said()[before:], "it reports")
    return int(daemon.said()[before:].partition("; connections: ")[2].partition(";")[0])


def survives(daemon: Daemon, make_vm: Callable[..., FakeVM], seconds: float, per_second: float, memory: int) -> Scanner:
    """Scan a daemon that serves some VMs, and look at what is left."""
    vms = [make_vm(daemon, f"vm-{n}") for n in range(5)]
    wanted = {vm.name: b"" for vm in vms}

    def say() -> None:
        for vm in vms:
            line = b"line %d\n" % len(wanted[vm.name])
            wanted[vm.name] += line
            vm.connected.say(line)

    say()
    for vm in vms:
        eventually(lambda vm=vm: daemon.log(vm.name).exists(), "there is a log")
    scanner = Scanner(daemon.vm_port)
    try:
        scanner.scan(seconds / 8, per_second, say)  # from now on it has what it needs
        eventually(lambda: daemon.status("vm-0"), "an operator gets in")
        files, resident = daemon.open_files() - len(scanner._silent), daemon.memory()
        scanner.made = 0
        scanner.scan(seconds, per_second, say)
        migrating = vms[0]
        migrating.migrate(b"seq1")
        vms.append(make_vm(daemon, "late"))
        wanted["late"] = b""
        say()
    finally:
        scanner.close()
    eventually(lambda: connections(daemon) == len(vms), "only the VMs' connections are left")
    for vm in vms:
        eventually(lambda vm=vm: daemon.logged(vm.name) == wanted[vm.name], vm.name)
        assert [e["event"] for e in daemon.events(vm.name) if e["event"] in ("down", "replaced", "gap")] == []
    # The log and the trail of each VM may be open besides, and what is open for a moment.
    eventually(lambda: daemon.open_files() <= files + 2 * len(vms), f"no more than {files} descriptors are open")
    assert daemon.memory() - resident < memory
    lines = [line for line in daemon.said().splitlines() if "; connections: " not in line]
    assert len(lines) < 100 + 80 * (seconds / 60 + 2), "complaints are bounded"
    return scanner


def test_scanners_drop_nobody_and_leave_nothing_behind(daemon: Daemon, make_vm: Callable[..., FakeVM]) -> None:
    scanner = survives(daemon, make_vm, 2, 100_000, 64 * 2**20)
    assert scanner.made > 50


@pytest.mark.soak
def test_a_thousand_scanners_a_second_for_a_minute(daemon: Daemon, make_vm: Callable[..., FakeVM]) -> None:
    scanner = survives(daemon, make_vm, 60, 1000, 64 * 2**20)
    assert scanner.made > 10_000
