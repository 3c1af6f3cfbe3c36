"""``vmproxy run``: the daemon in the foreground, its exit statuses, and what the journal gets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, environment, eventually
from tests.support.host import FakeVM

PrepareDaemon = Callable[..., Daemon]
MakeVM = Callable[..., FakeVM]

# Says that its standard output is the journal, as systemd does, and becomes the daemon.
IN_THE_JOURNAL = """
import os, sys
status = os.fstat(1)
os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def in_the_foreground(daemon: Daemon, *prefix: str) -> Daemon:
    """Have a daemon started by ``vmproxy run``."""
    daemon.command = lambda: [sys.executable, *prefix, "-m", "vmproxy", "run", "--config", str(daemon.config)]
    return daemon


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``vmproxy run`` to its end."""
    command = [sys.executable, "-m", "vmproxy", "run", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_ends_well(
    prepare_daemon: PrepareDaemon, make_vm: MakeVM, number: signal.Signals
) -> None:
    daemon = in_the_foreground(prepare_daemon()).start()
    make_vm(daemon).connected.say(b"to the disk\r\n")
    eventually(lambda: daemon.log("web01").exists() and daemon.log("web01").read_bytes(), "the VM is logged")
    daemon.process.send_signal(number)
    assert daemon.process.wait(30) == 0
    assert "starting on" not in daemon.said()
    assert not list(daemon.folder.glob("twistd.*"))


def test_log_level_counts_at_the_start_and_at_a_reload(prepare_daemon: PrepareDaemon) -> None:
    daemon = in_the_foreground(prepare_daemon()).start()
    daemon.reload("log-level = 'warn'\n[log]\nopen-files = 300", said="wait for a restart")
    assert "is in force" not in daemon.said()
    daemon.reload("log-level = 'debug'\n[log]\nopen-files = 300")


def test_the_journal_gets_priorities_and_no_second_time(prepare_daemon: PrepareDaemon) -> None:
    daemon = in_the_foreground(prepare_daemon(), "-c", IN_THE_JOURNAL).start()
    daemon.reload("[log]\nopen-files = 300", said="<4>these changes wait for a restart: log.open-files")
    lines = daemon.said().splitlines()
    daemon.says("<6>vmproxy")
    assert all(line[0] == "<" and line[2] == ">" for line in lines)
    # A warning or worse is for an administrator to see.
    shown = [line for line in lines if line[1] <= "4" and "runs as root" not in line]
    assert shown == ["<4>these changes wait for a restart: log.open-files"]
    daemon.process.terminate()
    assert daemon.process.wait(30) == 0


def test_what_keeps_it_from_starting_is_said_with_status_1(prepare_daemon: PrepareDaemon, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[vm]\nlisen = 3\n")
    bad = run("--config", "bad.toml", cwd=tmp_path)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert "bad.toml:2: vm.lisen: there is no such setting" in bad.stderr
    daemon = prepare_daemon().start()
    taken = run("--vm-listen", f"tcp:{daemon.vm_port}:interface=127.0.0.1", "--state-dir", "state", cwd=tmp_path)
    assert taken.returncode == 1
    assert taken.stderr.startswith(f"vmproxy cannot listen on tcp:{daemon.vm_port}:"), taken.stderr
    assert "Traceback" not in taken.stderr
    assert "Main loop" not in taken.stdout + taken.stderr
    (tmp_path / "file").touch()
    no_state = run("--vm-listen=tcp:0", "--ssh-listen=tcp:0", f"--state-dir={tmp_path / 'file'}", cwd=tmp_path)
    assert no_state.returncode == 1
    assert no_state.stderr.startswith(("vmproxy cannot start: ", "--state-dir: ")), no_state.stderr


def test_a_command_line_that_makes_no_sense_is_said_with_status_2(tmp_path: Path) -> None:
    wrong = run("--cofnig", "x", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "--cofnig" in wrong.stderr
    assert os.listdir(tmp_path) == []


def test_what_init_writes_is_run_and_lets_its_operator_in(prepare_daemon: PrepareDaemon, make_vm: MakeVM) -> None:
    daemon = prepare_daemon()
    daemon.config.unlink(missing_ok=True)
    answers = ["--yes", "--no-tls", f"--dir={daemon.folder}", "--operator=alice", f"--key={daemon.identity}.pub"]
    command = [sys.executable, "-m", "vmproxy", "init", *answers]
    subprocess.run(command, env=environment(), check=True, capture_output=True, timeout=60)
    options = ["--vm-listen=tcp:0:interface=127.0.0.1", "--ssh-listen=tcp:0:interface=127.0.0.1"]
    options += [f"--state-dir={daemon.state}"]  # host keys are there, which take a while
    daemon.command = lambda: [sys.executable, "-m", "vmproxy", "run", "--config", str(daemon.config), *options]
    daemon.write_config = lambda: None
    daemon.start()
    make_vm(daemon).connected.say(b"hello\r\n")
    done = daemon.run("list", user="alice")
    assert done.returncode == 0, done.stderr
    assert b"web01" in done.stdout
    eventually(lambda: (daemon.folder / "log/by-name/web01.log").exists(), "the log is where the file says")
