"""``vmproxy probe`` against the daemon: nothing is wrong with it."""

from __future__ import annotations

import subprocess
import sys

from tests.support.daemon import PATIENCE, Daemon, environment


def test_the_probe_finds_nothing_wrong_with_the_daemon(daemon: Daemon) -> None:
    line = [sys.executable, "-m", "vmproxy.cli.main", "probe", f"telnet://127.0.0.1:{daemon.vm_port}"]
    done = subprocess.run(line, capture_output=True, text=True, env=environment(), timeout=4 * PATIENCE, check=False)
    assert "WRONG" not in done.stdout, done.stdout
    assert "note" not in done.stdout
    assert "the VM has moved" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")
