"""A guest over the real OpenSSH client: a password that counts once, and a restart in between."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.support.daemon import PATIENCE, Client, Daemon, environment
from tests.support.host import FakeVM

MakeVM = Callable[..., FakeVM]


def test_a_guest_gets_in_once_and_is_out_when_revoked(daemon: Daemon, make_vm: MakeVM, tmp_path: Path) -> None:
    make_vm(daemon)
    made = json.loads(daemon.run("guest", "web01", "--ro", "--logins", "2", "--json").stdout)
    assert made["password"] not in (daemon.state / "guests.json").read_text()
    daemon.stop()
    daemon.start()
    vm = make_vm(daemon)
    askpass = tmp_path / "askpass"
    askpass.write_text(f"#!/bin/sh\necho '{made['password']}'\n")
    askpass.chmod(0o700)
    env = {**environment(), "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    line = daemon.ssh("-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1")
    line = [word.replace("BatchMode=yes", "BatchMode=no") for word in line]
    user = f"{made['guest']}:web01"
    done = subprocess.run(
        [*line, "-l", user, "127.0.0.1", "list"], capture_output=True, env=env, timeout=PATIENCE, check=False
    )
    assert (done.returncode, b"web01" in done.stdout) == (0, True), done.stderr
    client = Client(
        [
            "env",
            *(f"{name}={env[name]}" for name in env if "ASKPASS" in name or name == "DISPLAY"),
            *line,
            "-tt",
            "-l",
            user,
            "127.0.0.1",
        ]
    )
    try:
        client.expect_err(b"[spy --")
        vm.connected.say(b"hello\r\n")
        client.expect(b"hello")
        third = subprocess.run(
            [*line, "-l", user, "127.0.0.1", "list"], capture_output=True, env=env, timeout=PATIENCE, check=False
        )
        assert (third.returncode, b"Permission denied" in third.stderr) == (255, True)
        assert daemon.run("guest", "--revoke", made["guest"]).returncode == 0
        client.expect_err(b"your time as a guest is over")
        client.end()
    finally:
        client.close()
    assert [entry["guest-of"] for entry in daemon.audited("login") if "guest-of" in entry] == [made["by"]] * 2
