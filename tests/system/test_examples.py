"""The examples do what they say, against a real daemon."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.daemon import PATIENCE, ROOT, Daemon, environment
from tests.support.host import FakeVM
from tests.support.web_daemon import token_of, web_settings

SCRIPT = ROOT / "examples" / "wait_for_login.py"


def wait_for(daemon: Daemon, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), f"http://127.0.0.1:{daemon.web_port}", *words]
    env = environment() | {"VMPROXY_TOKEN": token_of(daemon)}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_twenty_vms_are_waited_for_at_once_and_a_restart_is_no_end(
    make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM], keys: Path
) -> None:
    daemon = make_daemon(web_settings(keys))
    vms = [make_vm(daemon, f"vm{number:02}") for number in range(20)]
    for vm in vms:
        vm.connected.say(b"\x1b[1mbooting\x1b[m\r\n")
    vms[0].connected.say(b"\x1b[32mvm00 login: ")  # it waits already
    waiting = wait_for(daemon, *(vm.name for vm in vms))
    assert waiting.stdout is not None
    assert waiting.stderr is not None
    ready = [waiting.stdout.readline()]
    for vm in vms[1:10]:
        vm.connected.say(f"\r\n{vm.name} lo".encode())
        vm.connected.say(b"gin: ")
        ready.append(waiting.stdout.readline())
    daemon.stop()
    daemon.start()
    for vm in vms[10:]:
        vm.close()
        vm.port = daemon.vm_port
        vm.connect().connected.say(f"\r\n{vm.name} login: ".encode())
    ready += waiting.stdout.read().splitlines(keepends=True)
    assert waiting.wait(PATIENCE) == 0
    waiting.stdout.close()
    waiting.stderr.close()
    assert sorted(ready) == [f"{vm.name}: ready\n" for vm in vms]
    assert ready[:10] == [f"{vm.name}: ready\n" for vm in vms[:10]]


def test_a_console_that_is_not_there_is_told(make_daemon: Callable[..., Daemon], keys: Path) -> None:
    out, errors = (waiting := wait_for(make_daemon(web_settings(keys)), "nothing")).communicate(timeout=PATIENCE)
    assert (out, errors) == ("", "nothing: there is no such console\n")
    assert waiting.returncode == 2
