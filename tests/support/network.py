"""Networks of a test's own, in which a host can vanish: its packets go nowhere, and nobody is told.

Three network namespaces in a row: that of the concentrator, a router, and that of the hosts. While the router does not
forward, packets disappear in it without an answer, as with a host that lost power or a cable that was cut far away:
neither end sees its own link go down.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import eventually

CONCENTRATOR, HOSTS = "10.1.0.1", "10.2.0.1"
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


class Networks:
    """The three namespaces; they live as long as the processes that hold them."""

    def __init__(self) -> None:
        self._holders = [
            subprocess.Popen(
                ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            for _ in range(3)
        ]
        self._near, self._router, self._far = (holder.pid for holder in self._holders)

    def build(self) -> str:
        """Connect them.

        :returns: why that cannot be; empty if it can.
        """
        ours = os.readlink("/proc/self/ns/net")

        def made() -> bool:
            return all(
                holder.poll() is not None or os.readlink(f"/proc/{holder.pid}/ns/net") != ours
                for holder in self._holders
            )

        with contextlib.suppress(FileNotFoundError):  # it has ended just now
            eventually(made, "namespaces are made")
        try:
            self._in(self._near, "ip link set lo up")
            for pid, name, end, middle in (
                (self._near, "near", CONCENTRATOR, "10.1.0.2"),
                (self._far, "far", HOSTS, "10.2.0.2"),
            ):
                self._in(self._router, f"ip link add {name} type veth peer name eth0 netns {pid}")
                self._in(self._router, f"ip addr add {middle}/24 dev {name}")
                self._in(self._router, f"ip link set {name} up")
                self._in(pid, f"ip addr add {end}/24 dev eth0")
                self._in(pid, "ip link set eth0 up")
                self._in(pid, f"ip route add default via {middle}")
            self.forward(True)
        except subprocess.CalledProcessError as error:
            said = [holder.stderr.read() for holder in self._holders if holder.poll() is not None and holder.stderr]
            return (b" ".join(said) or error.stderr).decode(errors="replace").strip()
        return ""

    def _in(self, pid: int, command: str) -> None:
        subprocess.run([*_within(pid), *command.split()], check=True, capture_output=True)

    @property
    def concentrator(self) -> tuple[str, ...]:
        """The command that runs another in the concentrator's network."""
        return _within(self._near)

    def forward(self, on: bool) -> None:
        """Have the hosts there, or vanished."""
        path = "/proc/sys/net/ipv4/ip_forward"
        subprocess.run(
            [*_within(self._router), "sh", "-c", f"echo {int(on)} > {path}"], check=True, capture_output=True
        )

    @contextlib.contextmanager
    def at_the_hosts(self) -> Iterator[None]:
        """What this thread connects meanwhile, it connects from there."""
        with Path("/proc/thread-self/ns/net").open("rb") as here, Path(f"/proc/{self._far}/ns/net").open("rb") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(here.fileno())

    def close(self) -> None:
        """Remove all of it."""
        for holder in self._holders:
            holder.communicate()


def _within(pid: int) -> tuple[str, ...]:
    return ("nsenter", f"--net=/proc/{pid}/ns/net", "--")


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def networks() -> Iterator[Networks]:
    """Networks, removed at the end; the test is skipped where there can be none, but never in CI."""
    missing = [tool for tool in ("unshare", "nsenter", "ip") if shutil.which(tool) is None]
    made = None if missing else Networks()
    try:
        problem = f"{', '.join(missing)} not found" if made is None else made.build()
        if problem and os.environ.get("CI"):
            pytest.fail(f"network namespaces cannot be made: {problem}")
        if problem:
            pytest.skip(f"network namespaces cannot be made here, this needs root: {problem}")
        assert made is not None
        yield made
    finally:
        if made is not None:
            made.close()
