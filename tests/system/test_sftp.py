"""Logs fetched with OpenSSH's own sftp and scp."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import PATIENCE, Daemon, eventually
from tests.support.host import FakeVM

pytestmark = pytest.mark.skipif(
    shutil.which("sftp") is None or shutil.which("scp") is None,
    reason="there is no sftp or scp (Debian: openssh-client)",
)

HELLO = b"hello\xff\x00 world\r\n"


def run(daemon: Daemon, tool: str, *words: str, say: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run sftp or scp with the operator's key."""
    options = daemon.ssh()[5:]
    line = [tool, "-F", "none", "-P", str(daemon.ssh_port), *options, *words]
    return subprocess.run(line, capture_output=True, input=say.encode(), timeout=PATIENCE, check=False)


@pytest.fixture(scope="module")
def daemon(shared_daemon: Callable[..., Daemon]) -> Iterator[Daemon]:
    """The daemon of all tests here but two, with a VM that has said something."""
    daemon = shared_daemon()
    vm = FakeVM(daemon.vm_port, "web01").connect()
    vm.connected.say(HELLO)
    eventually(lambda: daemon.logged("web01") == HELLO, "it is in the log")
    eventually(lambda: daemon.events("web01"), "its trail is there")
    yield daemon
    vm.close()


def test_a_log_is_fetched_by_name(daemon: Daemon, tmp_path: Path) -> None:
    for n, (tool, name) in enumerate((("sftp", "web01.log"), ("scp", "web01.log"), ("scp", "/web01.log"))):
        done = run(daemon, tool, f"127.0.0.1:{name}", str(tmp_path / f"{n}"))
        assert done.returncode == 0, done.stderr
        assert (tmp_path / f"{n}").read_bytes() == HELLO


def test_people_list_match_and_fetch(
    make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM], tmp_path: Path
) -> None:
    daemon = make_daemon()
    for name, said in (("web01", HELLO), ("db01", b"db\n")):
        make_vm(daemon, name).connected.say(said)
        eventually(lambda name=name, said=said: daemon.logged(name) == said, "it is in the log")
    (tmp_path / "got").mkdir()
    done = run(daemon, "sftp", "-b", "-", "127.0.0.1", say=f"pwd\nls\nls -l\nlcd {tmp_path / 'got'}\nget *.log\n")
    assert done.returncode == 0, done.stderr
    shown = done.stdout.decode()
    assert "Remote working directory: /" in shown
    for name in ("web01.log", "web01.log.events", "db01.log", "db01.log.events"):
        assert f" {name}\n" in shown or f"\n{name}" in shown, shown
    assert f"vmproxy            {len(HELLO)} " in shown
    assert {path.name: path.read_bytes() for path in (tmp_path / "got").iterdir()} == {
        "web01.log": HELLO,
        "db01.log": b"db\n",
    }


def test_a_large_log_comes_whole_also_in_two_parts(
    daemon: Daemon, make_vm: Callable[..., FakeVM], tmp_path: Path
) -> None:
    vm = make_vm(daemon, "large")
    data = os.urandom(8_000_000)
    vm.connected.say(HELLO + data)
    eventually(lambda: len(daemon.logged("large")) == len(HELLO + data), "it is in the log")
    target = tmp_path / "large.log"
    target.write_bytes((HELLO + data)[:3_000_001])
    done = run(daemon, "sftp", "-b", "-", "127.0.0.1", say=f"get -a large.log {target}\n")
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == HELLO + data
    done = run(daemon, "scp", "127.0.0.1:large.log", str(target))
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == HELLO + data


@pytest.mark.parametrize(
    "command",
    [
        "put {here} new.log",
        "put {here} web01.log",
        "rm web01.log",
        "rename web01.log x.log",
        "mkdir x",
        "chmod 600 web01.log",
    ],
)
def test_nothing_can_be_changed(daemon: Daemon, tmp_path: Path, command: str) -> None:
    here = tmp_path / "here"
    here.write_bytes(b"mine")
    before = sorted(os.listdir(daemon.log_dir))
    done = run(daemon, "sftp", "-b", "-", "127.0.0.1", say=command.format(here=here) + "\n")
    assert done.returncode == 1
    assert b"ermission denied" in done.stderr
    assert daemon.log("web01").read_bytes() == HELLO
    assert sorted(os.listdir(daemon.log_dir)) == before


def test_what_is_not_there_is_not_found(daemon: Daemon, tmp_path: Path) -> None:
    for name in ("nosuch.log", "../vmproxy.toml", "/etc/passwd", "../../../../../../etc/passwd"):
        done = run(daemon, "scp", f"127.0.0.1:{name}", str(tmp_path / "x"))
        assert done.returncode == 1
        assert b"No such file" in done.stderr, done.stderr


def test_the_old_protocol_is_refused_in_words(daemon: Daemon, tmp_path: Path) -> None:
    done = run(daemon, "scp", "-O", "127.0.0.1:web01.log", str(tmp_path / "x"))
    assert done.returncode == 1
    assert b"leave out -O" in done.stderr
    assert not (tmp_path / "x").exists()


def test_fetching_stands_in_the_audit_trail(daemon: Daemon, make_vm: Callable[..., FakeVM], tmp_path: Path) -> None:
    make_vm(daemon, "fetched").connected.say(HELLO)
    eventually(lambda: daemon.logged("fetched") == HELLO, "it is in the log")
    assert run(daemon, "scp", "127.0.0.1:fetched.log", str(tmp_path / "x")).returncode == 0
    eventually(
        lambda: any("fetched" in map(str, event.values()) for event in daemon.audited("sftp-read")),
        "it is in the audit trail",
    )
