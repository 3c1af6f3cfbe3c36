"""The daemon among the things that happen to daemons: scans, signals, wrong files, a wheel on a clean machine."""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import PATIENCE, TWISTD, Daemon, environment, eventually
from tests.support.host import FakeVM, HostConnection

MakeVM = Callable[..., FakeVM]
MakeDaemon = Callable[..., Daemon]


@pytest.fixture
def daemon(shared_daemon: MakeDaemon) -> Daemon:
    """The daemon of all tests here that only look at one, or knock at its doors."""
    return shared_daemon()


def run(*command: str, cwd: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run something to its end."""
    return subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=timeout, check=False
    )


def test_it_says_what_one_needs_to_know(daemon: Daemon) -> None:
    said = daemon.said()
    for wanted in (
        f"Virtual machines connect to 127.0.0.1:{daemon.vm_port}",
        "Direction: Server, Port URI: vmproxy\n",
        f"vSPC URI: telnet://127.0.0.1:{daemon.vm_port}\n",
        f"Operators connect to        127.0.0.1:{daemon.ssh_port}",
        "with 1 key from",
        "nobody else",
        str(daemon.log_dir),
    ):
        assert wanted in said
    fingerprint = run(
        "ssh-keygen", "-lf", str(daemon.state / "ssh_host_ed25519_key"), cwd=daemon.folder
    ).stdout.split()[1]
    assert fingerprint in said


def test_its_private_keys_are_its_own(daemon: Daemon) -> None:
    for kind in ("ed25519", "rsa"):
        assert (daemon.state / f"ssh_host_{kind}_key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("kind", "garbage"),
    [
        ("nothing", b""),
        ("http", b"GET / HTTP/1.0\r\n\r\n"),
        ("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)),
        ("noise", os.urandom(50_000)),
    ],
    ids=["nothing", "http", "tls", "noise"],
)
def test_scans_of_both_ports_leave_no_trace_but_a_log_line(
    daemon: Daemon, make_vm: MakeVM, kind: str, garbage: bytes
) -> None:
    for port in (daemon.vm_port, daemon.ssh_port):
        for linger in (b"\1\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\0"):  # reset, and orderly
            with socket.create_connection(("127.0.0.1", port)) as scan:
                scan.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                try:
                    scan.sendall(garbage)
                except OSError:
                    continue  # it has been told to go away: that is right too
    vm = make_vm(daemon, f"after-{kind}")
    vm.connected.say(b"unimpressed\r\n")
    eventually(lambda: daemon.logged(vm.name) == b"unimpressed\r\n", "a VM is served")
    assert daemon.run("list").returncode == 0


def test_a_connection_that_does_not_say_who_it_is_is_closed(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon("[vm]\nidentify-timeout = 1\n[ssh]\nlogin-timeout = 1\n")
    line = HostConnection(daemon.vm_port)
    line.wait_closed()
    line.close()
    with socket.create_connection(("127.0.0.1", daemon.ssh_port), timeout=30) as silent:
        while silent.recv(4096):
            pass
    eventually(lambda: "it did not say which VM it is in time" in daemon.said(), "the reason is logged")


def test_a_wrong_service_uri_is_refused_with_a_logged_reason(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()  # one that has logged no other refusals, of which there is a limit
    line = HostConnection(daemon.vm_port)
    line.negotiate()
    line.sub(70, b"Ssomething-else")
    line.wait_sub(73)
    line.close()
    wanted = "WONT-PROXY: the service URI 'something-else' is not served"
    eventually(lambda: wanted in daemon.said(), "the reason is logged")


def test_sigusr2_reports_and_ends_nothing(make_daemon: MakeDaemon, make_vm: MakeVM) -> None:
    daemon = make_daemon()
    make_vm(daemon)
    daemon.process.send_signal(signal.SIGUSR2)
    eventually(lambda: "consoles: up 1; " in daemon.said(), "it reports")
    assert daemon.running


def test_what_makes_it_impossible_to_start_is_said_in_a_line(daemon: Daemon, tmp_path: Path) -> None:
    base = [sys.executable, "-c", TWISTD, "-n", "--pidfile=", "vmproxy", "--state-dir", str(tmp_path / "state")]
    taken = run(*base, "--vm-listen", f"tcp:{daemon.vm_port}:interface=127.0.0.1", cwd=tmp_path)
    assert taken.returncode == 1
    assert f"cannot listen on tcp:{daemon.vm_port}" in taken.stdout + taken.stderr
    assert "choose another port: --vm-listen tcp:PORT, or vm.listen" in taken.stdout + taken.stderr
    assert "Traceback" not in taken.stdout + taken.stderr
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[vm]\nlisen = 3\n")
    refused = run(*base, "--config", str(wrong), cwd=tmp_path)
    assert refused.returncode == 1
    assert "vm.lisen: there is no such setting; did you mean vm.listen?" in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr


def test_in_the_background_too_a_start_that_fails_is_reported(daemon: Daemon, tmp_path: Path) -> None:
    command = [sys.executable, "-c", TWISTD, "--logfile=twistd.log", "vmproxy", "--state-dir", str(tmp_path / "state")]
    failed = run(*command, "--vm-listen", f"tcp:{daemon.vm_port}:interface=127.0.0.1", cwd=tmp_path)
    assert failed.returncode == 1
    assert f"cannot listen on tcp:{daemon.vm_port}" in failed.stdout + failed.stderr


def test_the_demonstration_prints_commands_that_work(tmp_path: Path, keys: Path) -> None:
    output = tmp_path / "demo.out"
    ports = ("--vm-port=0", "--ssh-port=0", "--web-port=0")
    command = [sys.executable, "-m", "vmproxy", "demo", "--dir", "demo dir", *ports]
    with output.open("wb") as file:
        demo = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=file, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: "Press Ctrl-C" in output.read_text() or demo.poll() is not None, "it is ready", 60)
        said = output.read_text()
        listing = re.search(r"(ssh -F .* demo list)", said)
        tail = re.search(r"tail -F (.*\.log')", said)
        assert listing is not None
        assert tail is not None
        listed = run("sh", "-c", listing[1], cwd=tmp_path)
        assert listed.returncode == 0, listed.stderr
        for name in ("web01", "db01", "mail01"):
            assert f"\n{name}" in listed.stdout
        assert run("sh", "-c", f"test -s {tail[1]}", cwd=tmp_path).returncode == 0
        web = re.search(r"http://(127\.0\.0\.1:\d+)/\s+Log in as (\S+) with the password (\S+)", said)
        assert web is not None
        address, operator, password = web.groups()
        browser = http.client.HTTPConnection(address, timeout=PATIENCE)
        headers = {"Content-Type": "application/json", "Origin": f"http://{address}"}
        browser.request("POST", "/api/v1/login", json.dumps({"operator": operator, "password": password}), headers)
        assert browser.getresponse().status == 204
        browser.close()
    finally:
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0


def at_a_terminal(command: list[str], folder: Path, wanted: str) -> tuple[subprocess.Popen[bytes], int, str]:
    """Start a command at a terminal of its own, and wait until it has said something.

    :returns: the process, the other end of the terminal, and what it has said.
    """
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    # The tests themselves may run under nohup.
    process = subprocess.Popen(
        ["env", "--default-signal=HUP", "setsid", "--ctty", *command],
        cwd=folder,
        env=environment(),
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    said = b""
    while wanted.encode() not in said:
        assert select.select([master], [], [], PATIENCE)[0], said.decode()
        said += os.read(master, 65536)
    return process, master, said.decode()


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_closing_the_terminal_of_the_demonstration_ends_all_of_it(tmp_path: Path) -> None:
    ports = ("--vm-port=0", "--ssh-port=0", "--web-port=0")
    command = [sys.executable, "-m", "vmproxy", "demo", "--dir", str(tmp_path), *ports]
    demo, terminal, said = at_a_terminal(command, tmp_path, "Press Ctrl-C")
    started = children(demo.pid)
    assert len(started) == 2
    assert max(len(line) for line in said.splitlines() if str(tmp_path) not in line) < 80
    os.close(terminal)
    assert demo.wait(60) == 0
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []


def test_closing_the_terminal_ends_a_daemon_in_the_foreground_and_sighup_alone_does_not(
    tmp_path: Path, keys: Path
) -> None:
    made = Daemon(tmp_path / "daemon", keys)
    made.write_config()
    command = [sys.executable, "-m", "vmproxy", "run", "--config", str(made.config)]
    process, terminal, said = at_a_terminal(command, tmp_path, "--advise")
    summary = [line for line in said[said.index("vmproxy 0") :].splitlines() if "#warn" not in line]
    assert max(len(line) for line in summary if "/" not in line) < 80
    assert "#info]  Operators connect" not in said
    process.send_signal(signal.SIGHUP)
    while "is in force" not in said:
        assert select.select([terminal], [], [], PATIENCE)[0], said
        said += os.read(terminal, 65536).decode()
    os.close(terminal)
    assert process.wait(60) == 0
