"""Connections, vMotions, logins, sessions and readings come and go, over SSH and the web.

The daemon stays as large as it was.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.daemon import Client, Daemon, environment, eventually
from tests.support.host import FakeVM, HostConnection
from tests.support.logins import SECRET, cheap_hash
from tests.support.web_daemon import token_of, web_settings
from tests.support.web_visits import log_in_and_out, visit
from tests.system.test_memory import TIMER, Probed

SETTINGS = "[vm]\nvmotions-per-minute = 100000\nidentify-timeout = 5\n[log]\nrotate-size = '1M'\nkeep = 2\n"
ROUNDS = 8
WARM = 3
VMS = 10
# What 256 reads were taken apart into; 64 beginnings of what hosts say.
REMEMBERED = (
    "vmproxy.wire.telnet.Subnegotiation",
    "vmproxy.vm.beginning.Beginning",
    "vmproxy.vm.beginning.ExtensionState",
    "vmproxy.vm.beginning.Step",
    "vmproxy.vm.negotiation.NegotiationState",
    "vmproxy.wire.options.OptionsState",
)
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "3600"))


@pytest.fixture
def daemon(tmp_path: Path, keys: Path, request: pytest.FixtureRequest) -> Iterator[Probed]:
    """A daemon with a front for SSH and one for browsers; with its collector in the soak."""
    settings = web_settings(keys, account=f"password = '{cheap_hash()}'\n").replace("[ssh]", "[ssh]\nkeepalive = 5")
    daemon = Probed(tmp_path / "daemon", keys, SETTINGS + settings)
    daemon.collects = request.node.get_closest_marker("soak") is not None
    daemon.start()
    yield daemon
    daemon.stop()
    assert "Traceback" not in daemon.said(), daemon.said()


def a_round(daemon: Daemon, keys: Path, number: int, token: str) -> HostConnection:
    """Some of everything.

    :returns: somebody who never says who he is: he is thrown out five seconds after he came, and is to be closed then.
    """
    with ExitStack() as stack:
        vms = [FakeVM(daemon.vm_port, f"vm{n}") for n in range(VMS)]
        for n, vm in enumerate(vms):
            stack.callback(vm.close)
            vm.connect()
            vm.connected.say(b"hello\r\n" * 20)
            for move in range(3):
                vm.migrate(bytes((number % 250, n, move, 1)), close_first=bool(move % 2))
            if n % 3 == 0:
                vm.connected.sub(40, b"lost")
                vm.connected.wait_sub(41)
        silent = HostConnection(daemon.vm_port)
        for line in ("list", "log vm0", "search hello", "events vm1", "status vm2", "log nothing"):
            daemon.run(*line.split())
        daemon.run("list", identity=keys / "stranger")
        sessions = []
        for words in (
            ("-T", "127.0.0.1", "vm3"),
            ("127.0.0.1", "log", "-f", "vm4"),
            ("127.0.0.1", "events", "-f"),
            ("-W", "vm5:1", "127.0.0.1"),
        ):
            sessions.append(Client(daemon.ssh(*words)))
            stack.callback(sessions[-1].close)
        sessions[0].expect_err(b"[attached]")
        sessions[1].expect(b"hello")
        visit(daemon.web_port, token, "vm6")
        log_in_and_out(daemon.web_port, "alice", SECRET)
        with socket.create_connection(("127.0.0.1", daemon.ssh_port)) as stranger:
            stranger.recv(100)
    return silent


def thrown_out(silent: list[HostConnection]) -> None:
    """Wait until all of them are."""
    while silent:
        silent[-1].wait_closed()
        silent.pop().close()


def threads(daemon: Daemon) -> int:
    return len(os.listdir(f"/proc/{daemon.process.pid}/task"))


@pytest.mark.slow
def test_nothing_is_left_after_some_rounds_of_everything(daemon: Probed, keys: Path) -> None:
    token = token_of(daemon)
    before: dict[str, int] = {}
    files = tasks = 0
    silent: list[HostConnection] = []
    for number in range(ROUNDS):
        silent.append(a_round(daemon, keys, number, token))
        if number == WARM:
            thrown_out(silent)
            daemon.circles_without_connections()
            before, files, tasks = daemon.probe()["living"], daemon.open_files(), threads(daemon)
    thrown_out(silent)
    assert daemon.circles_without_connections() == {}
    # One or two of a kind may be under way: a timer, a line for the log. What is left of each round would be more.
    enough = ROUNDS - WARM - 1
    grown: dict[str, int] = {}

    def back() -> bool:
        # More may be under way for a moment: lines that wait to be written together, timers that are over.
        after = daemon.probe()["living"].items()
        grown.clear()
        grown.update({kind: n - before.get(kind, 0) for kind, n in after if kind not in REMEMBERED})
        return not any(more >= enough for more in grown.values())

    with suppress(AssertionError):  # the one below says what is left
        eventually(back, "nothing is left")
    assert {kind: more for kind, more in grown.items() if more >= enough} == {}
    eventually(lambda: daemon.open_files() < files + enough, f"no more than {files} descriptors are open, or nearly so")
    assert threads(daemon) < tasks + enough


@pytest.mark.soak
def test_an_hour_of_coming_and_going_is_flat(daemon: Probed, keys: Path) -> None:
    token = token_of(daemon)
    load = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "vmproxy",
            "simulate",
            "--port",
            str(daemon.vm_port),
            "-n",
            "500",
            "--vmotion-every",
            "20",
        ],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    seen: list[tuple[float, int, int, int]] = []
    living: list[dict[str, int]] = []
    began = time.monotonic()
    number = late = 0
    try:
        while (now := time.monotonic() - began) < SOAK_SECONDS:
            try:
                thrown_out([a_round(daemon, keys, number, token)])
            except (AssertionError, TimeoutError, subprocess.TimeoutExpired) as error:  # a machine with other work
                print(f"{now:6.0f} s  {error!r}")
                late += 1
            number += 1
            if now > SOAK_SECONDS / 4 * (len(living) + 1):
                living.append(daemon.probe()["living"])
                print(f"{now:6.0f} s  {living[-1].get(TIMER, 0)} timers, {sum(living[-1].values())} objects")
            seen.append((now, daemon.memory() // 1024, daemon.open_files(), threads(daemon)))
            print(f"{now:6.0f} s  round {number}: {seen[-1][1]} kB, {seen[-1][2]} descriptors, {seen[-1][3]} threads")
    finally:
        load.send_signal(signal.SIGTERM)
        load.wait()
    assert late <= number / 10
    warm = [one for one in seen if one[0] > SOAK_SECONDS / 4]
    half = len(warm) // 2
    for at, slack in ((1, 2048), (2, 8), (3, 2)):
        first, last = (sorted(one[at] for one in part)[len(part) // 2] for part in (warm[:half], warm[half:]))
        assert last <= first * 1.02 + slack, (at, first, last)
    # Of 500 VMs some are about something at any moment; what were left of each round would be more.
    enough = 50 + number // 4
    more = {kind: n - living[0].get(kind, 0) for kind, n in living[-1].items()}
    assert {kind: n for kind, n in more.items() if n > enough} == {}
