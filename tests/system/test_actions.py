"""An action of the real daemon: a program runs, is reloaded, and dies with the daemon."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.support.daemon import Daemon, eventually
from tests.support.host import FakeVM


def test_an_action_is_run_for_a_console(tmp_path: Path, daemon: Daemon, make_vm: Callable[..., FakeVM]) -> None:
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho "$1 $VMPROXY_CONSOLE $VMPROXY_UUID"; cat\n[ "$1" != fail ]\n')
    program.chmod(0o755)
    vm = make_vm(daemon, "web01")
    eventually(lambda: daemon.status("web01"), "it is known")
    daemon.reload(
        "".join(
            f'[[action]]\nname = "{name}"\nrun = ["{program}", "{name}"]\nconfirm = false\n' for name in ("on", "fail")
        )
    )
    assert daemon.audited("reload", count=1)[0]["changed"] == ["actions"]
    done = daemon.run("action", "on", "web01")
    first, second = done.stdout.decode().splitlines()
    assert (done.returncode, first) == (0, f"on web01 {vm.uuid}")
    assert json.loads(second)["action"] == "on"
    failed = daemon.run("action", "fail", "web01")
    assert (failed.returncode, failed.stderr) == (1, b"web01: fail: status 1\n")
    assert [event["problem"] for event in daemon.audited("action-done", count=2)] == ["", "status 1"]
