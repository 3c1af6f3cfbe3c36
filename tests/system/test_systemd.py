"""Under systemd, without systemd: what it is told, the sockets that it hands over, and what it thinks of our units."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import ROOT, Daemon, eventually
from tests.support.host import FakeVM, HostConnection

PrepareDaemon = Callable[..., Daemon]
MakeVM = Callable[..., FakeVM]

# Puts descriptors where systemd would, says so as systemd does, and becomes the daemon.
STARTER = """
import json, os, sys
descriptors, names = json.loads(sys.argv[1])
kept = [os.dup(d) for d in descriptors]
kept = [os.dup2(d, 3 + n + 100, inheritable=False) for n, d in enumerate(kept)]
for n, d in enumerate(kept):
    os.dup2(d, 3 + n)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(kept)), LISTEN_FDNAMES=":".join(names))
os.execv(sys.argv[2], sys.argv[2:])
"""
UNITS = ROOT / "etc"


class Manager:
    """The service manager's notify socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._heard: list[dict[str, str]] = []

    def heard(self) -> list[dict[str, str]]:
        """All that has been told."""
        while True:
            try:
                text = self._socket.recv(65536).decode()
            except BlockingIOError:
                return self._heard
            self._heard.append(dict(line.split("=", 1) for line in text.split("\n")))

    def wait(self, variable: str, count: int = 1) -> None:
        """Wait until something has been told so often."""
        eventually(lambda: sum(variable in m for m in self.heard()) >= count, f"{variable} is told, {count} times")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def test_systemd_is_told_of_everything_from_ready_to_stopping(
    prepare_daemon: PrepareDaemon, make_vm: MakeVM, manager: Manager
) -> None:
    daemon = prepare_daemon()
    daemon.environment |= {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
    daemon.start()
    manager.wait("READY")
    assert manager.heard()[0] == {"READY": "1", "STATUS": "0 connections of VMs, 0 consoles known, 0 operators"}
    make_vm(daemon)  # ready means that it listens
    manager.wait("WATCHDOG", 3)
    eventually(lambda: any("1 connections" in m.get("STATUS", "") for m in manager.heard()), "the status changes")
    assert not any("RELOADING" in m for m in manager.heard())
    # Whether the new configuration is good or not, the reload has an end.
    daemon.process.send_signal(signal.SIGHUP)
    manager.wait("READY", 2)
    good = daemon.config.read_text()
    daemon.config.write_text("[vm]\nlisen = 3\n")
    daemon.process.send_signal(signal.SIGHUP)
    manager.wait("READY", 3)
    daemon.says("lisen: there is no such setting")
    daemon.config.write_text(good)
    order = [next(iter(m)) for m in manager.heard() if "READY" in m or "RELOADING" in m]
    assert order == ["READY", "RELOADING", "READY", "RELOADING", "READY"]
    assert all(int(m["MONOTONIC_USEC"]) > 0 for m in manager.heard() if "RELOADING" in m)
    assert daemon.stop() == -signal.SIGTERM
    assert "STOPPING" in manager.heard()[-1]


def test_a_manager_that_is_gone_does_not_keep_the_daemon_from_its_work(
    prepare_daemon: PrepareDaemon, make_vm: MakeVM, manager: Manager
) -> None:
    daemon = prepare_daemon()
    daemon.environment |= {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "100000"}
    daemon.start()
    manager.wait("WATCHDOG")
    manager.close()
    manager.path.unlink()
    vm = make_vm(daemon)
    vm.connected.say(b"still here\r\n")
    eventually(lambda: daemon.log("web01").exists() and daemon.log("web01").read_bytes(), "the VM is logged")
    assert daemon.stop() == -signal.SIGTERM


def listening(family: int = socket.AF_INET, address: str = "127.0.0.1") -> socket.socket:
    """A socket as systemd opens it."""
    handle = socket.socket(family, socket.SOCK_STREAM)
    handle.bind((address, 0))
    handle.listen(64)
    return handle


def hand_over(daemon: Daemon, **sockets: socket.socket) -> None:
    """Have the daemon started with these sockets; an underscore at the end of a name tells equal ones apart."""
    descriptors = [handle.fileno() for handle in sockets.values()]
    names = [name.rstrip("_") for name in sockets]
    daemon.prefix = [sys.executable, "-c", STARTER, json.dumps([descriptors, names])]
    daemon.pass_fds = tuple(descriptors)


def test_sockets_that_are_handed_over_are_served_and_outlive_the_daemon(prepare_daemon: PrepareDaemon) -> None:
    with listening() as vm, listening() as second, listening() as ssh:
        daemon = prepare_daemon()
        hand_over(daemon, vm=vm, ssh=ssh, vm_=second)
        # Nobody is there yet, and nobody is refused.
        early = HostConnection(vm.getsockname()[1])
        daemon.start()
        assert (daemon.vm_port, daemon.ssh_port) == (vm.getsockname()[1], ssh.getsockname()[1])
        machine = FakeVM(vm.getsockname()[1], "web01")
        early.identify(machine.uuid, "web01")
        early.say(b"first\r\n")
        eventually(lambda: daemon.status("web01").get("state") == "up", "the VM is served, and the operator too")
        # A reload leaves them alone: they stand for what the configuration says.
        daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: "the configuration is in force" in daemon.said(), "the configuration is read again")
        assert daemon.status("web01")["state"] == "up"
        other = FakeVM(second.getsockname()[1], "db01").connect()
        eventually(lambda: daemon.status("db01").get("state") == "up", "so is one at the other address")
        early.close()
        other.close()
        assert daemon.stop() == -signal.SIGTERM
        # While it is away, hosts wait instead of being refused.
        waiting = HostConnection(vm.getsockname()[1])
        daemon.start()
        waiting.identify(machine.uuid, "web01")
        eventually(lambda: daemon.status("web01").get("state") == "up", "who waited is served")
        waiting.close()


def test_what_is_not_handed_over_is_opened_as_configured(prepare_daemon: PrepareDaemon, make_vm: MakeVM) -> None:
    with listening() as ssh:
        daemon = prepare_daemon()
        hand_over(daemon, ssh=ssh)
        daemon.start()
        assert daemon.ssh_port == ssh.getsockname()[1]
        make_vm(daemon)
        assert daemon.status("web01")["state"] == "up"


@pytest.mark.parametrize("case", ["name", "datagrams", "not listening", "a file"])
def test_what_is_handed_over_wrongly_is_said_in_a_line(
    prepare_daemon: PrepareDaemon, tmp_path: Path, case: str
) -> None:
    daemon = prepare_daemon()
    kind = socket.SOCK_DGRAM if case == "datagrams" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as handle, (tmp_path / "file").open("w") as file:
        handle.bind(("127.0.0.1", 0))
        if case == "name":
            handle.listen()
            hand_over(daemon, **{"vmproxy.socket": handle})
            wanted = "a socket named 'vmproxy.socket' was handed over"
        else:
            hand_over(daemon, vm=handle)
            wanted = "the descriptor handed over as vm is not a listening stream socket"
        if case == "a file":
            daemon.prefix[-1] = json.dumps([[file.fileno()], ["vm"]])
            daemon.pass_fds = (file.fileno(),)
            wanted = "the descriptor handed over as vm is not a socket"
        daemon.write_config()
        done = subprocess.run(
            [*daemon.prefix, *daemon.command()],
            env=daemon.environment,
            pass_fds=daemon.pass_fds,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=tmp_path,
        )
    assert done.returncode == 1
    assert wanted in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


# The units.


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd-analyze."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze (Debian: systemd)")
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL
    )


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with programs that are there."""
    folder = tmp_path / "units"
    folder.mkdir()
    for name in ("vmproxy.service", "vmproxy.socket"):
        text = (UNITS / name).read_text()
        (folder / name).write_text(re.sub(r"/opt/vmproxy/bin/\w+", "/bin/true", text))
    return folder


def test_systemd_understands_the_units(units: Path) -> None:
    done = analyze("verify", "--man=no", str(units / "vmproxy.service"), str(units / "vmproxy.socket"))
    ours = [line for line in done.stderr.splitlines() if "vmproxy" in line]
    assert ours == []
    assert done.returncode == 0, done.stderr


def test_the_unit_is_hardened(units: Path) -> None:
    done = analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(units / "vmproxy.service"))
    found = re.search(r"Overall exposure level for vmproxy\.service: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= 2.0
    assert done.returncode == 0


def test_the_unit_tells_systemd_what_the_daemon_does() -> None:
    text = (UNITS / "vmproxy.service").read_text()
    for line in ("Type=notify", "ExecReload=/bin/kill -HUP $MAINPID", "UMask=0027"):
        assert f"\n{line}\n" in text
    assert re.search(r"^WatchdogSec=\d+$", text, re.MULTILINE)
    assert re.search(r"^LimitNOFILE=\d+$", text, re.MULTILINE)
    assert "\nFileDescriptorName=vm\n" in (UNITS / "vmproxy.socket").read_text()
