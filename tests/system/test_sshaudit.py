"""What ssh-audit (PyPI) says about the daemon: nothing that fails."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.support.daemon import PATIENCE, Daemon, environment


def test_ssh_audit_finds_nothing_that_fails(daemon: Daemon) -> None:
    if find_spec("ssh_audit") is None:
        pytest.skip("there is no ssh-audit (pip install ssh-audit)")
    line = [sys.executable, "-W", "ignore", "-m", "ssh_audit", "--no-colors", "-p", str(daemon.ssh_port), "127.0.0.1"]
    done = subprocess.run(line, capture_output=True, text=True, env=environment(), timeout=4 * PATIENCE, check=False)
    assert "(key) ssh-ed25519" in done.stdout, done.stdout + done.stderr
    assert "[fail]" not in done.stdout, done.stdout
