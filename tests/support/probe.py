"""A VM that asks something again and again, and notes how long it waits: a process of its own, on a host of its own."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time

from tests.support.daemon import PATIENCE, environment
from tests.support.host import IAC, SB, SE, VMWARE, FakeVM, HostConnection

HOST = "127.0.0.2"
PAUSE = 0.005
START = "from tests.support.probe import main; main()"


class _Connection(HostConnection):
    """A connection from another host than those of the tests."""

    def _connect(self, address: str, port: int) -> socket.socket:
        connected = socket.create_connection((address, port), PATIENCE, (HOST, 0))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.settimeout(None)
        return connected


def main() -> None:
    """Ask until the end of the input."""
    vm = FakeVM(int(sys.argv[1]), "probe")
    line = _Connection(vm.port)
    line.identify(vm.uuid, vm.name)
    print("ready", flush=True)
    longest, asked = 0.0, 0
    while not select.select([sys.stdin], (), (), PAUSE)[0]:
        line.subs.clear()
        began = time.monotonic()
        line.raw(bytes((IAC, SB, VMWARE, 99, IAC, SE)))
        line.wait_sub(3)
        longest = max(longest, time.monotonic() - began)
        asked += 1
    line.close()
    print(json.dumps([longest, asked]))


class Probe:
    """The VM, as the test knows it."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def stop(self) -> tuple[float, int]:
        """End it; :returns: the seconds of its longest wait, and how often it has asked."""
        said, _ = self._process.communicate()
        longest, asked = json.loads(said)
        return longest, asked
