"""What is told to systemd: the datagrams as they arrive, on a socket of either kind, and that nothing can go wrong."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from vmproxy.app.systemd import Notifier


class Manager:
    """The other end: a service manager that only listens."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)
        self.address = address

    def heard(self) -> list[dict[str, str]]:
        """What has been told since the last time, message by message."""
        messages: list[dict[str, str]] = []
        while True:
            try:
                text = self.socket.recv(65536).decode()
            except BlockingIOError:
                return messages
            messages.append(dict(line.split("=", 1) for line in text.split("\n")))


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@vmproxy-test-{os.getpid()}-{time.time_ns()}"
    manager = Manager(address)
    yield manager
    manager.socket.close()


class Told:
    """A notifier, its clock, and the status that it tells."""

    def __init__(self, address: str, **environment: str) -> None:
        self.clock = Clock()
        self.status = "0 consoles"
        self.notifier = Notifier(self.clock, {"NOTIFY_SOCKET": address, **environment}, lambda: self.status)


def test_ready_is_said_with_the_status(manager: Manager) -> None:
    told = Told(manager.address)
    assert manager.heard() == []
    told.notifier.ready()
    assert manager.heard() == [{"READY": "1", "STATUS": "0 consoles"}]
    told.notifier.stopping()


def test_a_reload_is_said_with_the_time_and_ends_with_ready(manager: Manager) -> None:
    told = Told(manager.address)
    told.notifier.ready()
    manager.heard()
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    told.notifier.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    (message,) = manager.heard()
    assert message["RELOADING"] == "1"
    assert before <= int(message["MONOTONIC_USEC"]) <= after
    told.notifier.ready()
    assert manager.heard() == [{"READY": "1"}]
    told.notifier.stopping()


def test_stopping_is_said_and_is_the_last_word(manager: Manager) -> None:
    told = Told(manager.address, WATCHDOG_USEC="2000000")
    told.notifier.ready()
    told.notifier.stopping()
    assert [sorted(message) for message in manager.heard()] == [["READY", "STATUS"], ["STATUS", "STOPPING"]]
    told.clock.advance(100)
    told.notifier.ready()
    assert manager.heard() == []
    assert told.clock.getDelayedCalls() == []


@pytest.mark.parametrize(("usec", "beats"), [("2000000", 10), ("3000000", 6), ("60000000", 1), ("500000", 40)])
def test_the_watchdog_hears_of_us_at_half_of_its_time_and_at_least_every_ten_seconds(
    manager: Manager, usec: str, beats: int
) -> None:
    told = Told(manager.address, WATCHDOG_USEC=usec, WATCHDOG_PID=str(os.getpid()))
    told.notifier.ready()
    manager.heard()
    heard = []
    for _ in range(80):  # ten seconds; the system keeps only some datagrams that nobody reads
        told.clock.advance(0.125)
        heard += manager.heard()
    assert heard == [{"WATCHDOG": "1"}] * beats
    told.notifier.stopping()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "²"},
        {"WATCHDOG_USEC": "9" * 400},
    ],
)
def test_a_watchdog_that_is_not_ours_or_makes_no_sense_hears_nothing(
    manager: Manager, environment: dict[str, str]
) -> None:
    told = Told(manager.address, **environment)
    told.notifier.ready()
    manager.heard()
    told.clock.pump([1] * 30)
    assert manager.heard() == []
    told.notifier.stopping()


def test_a_status_is_told_when_it_has_changed(manager: Manager) -> None:
    told = Told(manager.address)
    told.notifier.ready()
    manager.heard()
    told.clock.pump([1] * 30)
    assert manager.heard() == []
    told.status = "7 consoles"
    told.clock.pump([1] * 30)
    assert manager.heard() == [{"STATUS": "7 consoles"}]
    told.notifier.stopping()


@pytest.mark.parametrize("address", ["", "@", "relative/path", "vsock:2:1234", "/nonexistent/notify", "/" + "x" * 500])
def test_without_a_manager_nothing_happens(address: str) -> None:
    told = Told(address, WATCHDOG_USEC="2000000")
    told.notifier.ready()
    told.clock.pump([1] * 30)
    told.notifier.reloading()
    told.notifier.ready()
    told.notifier.stopping()
    assert told.clock.getDelayedCalls() == []


def test_a_manager_that_does_not_listen_any_more_is_no_trouble(manager: Manager) -> None:
    told = Told(manager.address, WATCHDOG_USEC="2000000")
    told.notifier.ready()
    # First it only does not read: what does not fit is left out, and nobody waits.
    told.clock.pump([1] * 5000)
    assert len(manager.heard()) > 1
    manager.socket.close()
    told.clock.pump([1] * 30)
    told.notifier.stopping()
    assert told.clock.getDelayedCalls() == []
