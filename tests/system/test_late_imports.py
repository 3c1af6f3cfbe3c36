"""Nothing is imported once the daemon is ready: behind that it may be an account that cannot read its own code."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.alerts import Receiver, watch_file
from tests.support.daemon import PATIENCE, Client, Daemon, eventually
from tests.support.host import FakeVM, HostConnection
from tests.support.logins import cheap_hash

LATE = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)
pytestmark = pytest.mark.skipif(shutil.which("sftp") is None, reason="there is no sftp (Debian: openssh-client)")


def test_nothing_is_imported_once_it_is_ready(
    prepare_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM], keys: Path, tmp_path: Path
) -> None:
    operators = tmp_path / "operators.toml"
    public = (keys / "operator.pub").read_text().strip()
    operators.write_text(f"[operators.alice]\nkeys = ['{public}']\n[operators.bob]\npassword = '{cheap_hash()}'\n")
    operators.chmod(0o600)
    receiver = Receiver()
    watches = watch_file(
        tmp_path,
        f'[[watch]]\nname = "w"\nmatch = "x+"\ncontext = 1\nrun = "/bin/true"\n'
        f'webhook = "http://127.0.0.1:{receiver.port}/"\n',
    )
    extra = (
        f'{watches}[ssh]\noperators-file = "{operators}"\n[log]\nplain = true\nrotate-size = "1 KiB"\n'
        '[[dial]]\nto = "localhost"\nports = "*"\n[[console]]\non = "*"\nrecord-input = true\n'
    )
    daemon = prepare_daemon(extra)
    daemon.environment |= {"PYTHONPROFILEIMPORTTIME": "1"}
    daemon.start()
    start = len(daemon.said())
    vm = make_vm(daemon)
    vm.connected.say(b"x" * 5000 + b"\r\n")
    eventually(lambda: receiver.got, "the webhook is called")
    receiver.close()
    dialled = HostConnection(daemon.vm_port)
    dialled.negotiate()
    dialled.sub(70, b"Ctcp://localhost:1")
    dialled.wait_sub(73)  # the name is looked up, and the address refused
    dialled.close()
    # Every way in: a menu, a console, commands, a raw stream, files, a password, a stranger.
    for words in (
        ("list",),
        ("list", "--json"),
        ("search", "x+"),
        ("log", "web01", "-n", "3"),
        ("events", "web01"),
        ("alerts",),
        ("help",),
        ("nonsense",),
    ):
        daemon.run(*words)
    for user in ("alice", "web01"):
        client = Client(daemon.ssh("-tt", "127.0.0.1", user=user), terminal=True)
        client.expect(b"web01")
        client.type(b"\x05c.\x03q")
        client.close()
    raw = Client(daemon.ssh("-W", "web01:1", "127.0.0.1"))
    raw.close()
    options = daemon.ssh()[5:]
    subprocess.run(
        ["sftp", "-F", "none", "-P", str(daemon.ssh_port), *options, "-b", "-", "127.0.0.1"],
        input=b"ls -l\nget web01.log\n", cwd=tmp_path, capture_output=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    daemon.run("list", identity=keys / "stranger")
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: "the configuration is in force" in daemon.said(), "it reads its configuration again")
    daemon.process.send_signal(signal.SIGUSR2)
    eventually(lambda: "counters" in daemon.said(), "it reports")
    assert daemon.stop() == -signal.SIGTERM
    assert LATE.findall(daemon.said()[:start])
    assert LATE.findall(daemon.said()[start:]) == []
