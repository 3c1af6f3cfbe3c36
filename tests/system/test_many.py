"""Very many consoles that are known from before: the daemon starts, finds them, and stays small."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, eventually
from tests.support.host import FakeVM

MEGABYTE = 1024 * 1024


def known(number: int) -> str:
    """A line of the journal."""
    identity = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"known{number}.test"))
    return json.dumps(
        {
            "uuid": identity,
            "port": "1",
            "name": f"vm-{number:06}",
            "uri": "vmproxy",
            "log": f"{identity}.log",
            "template": "{uuid}.log",
            "host": "10.0.0.1",
            "up": number % 3 == 0,
            "since": 1.7e9,
            "reason": "" if number % 3 == 0 else "closed by 10.0.0.1",
        }
    )


def start_with(daemon: Daemon, number: int, make_vm: Callable[..., FakeVM]) -> None:
    (daemon.state / "consoles.jsonl").write_text("".join(f"{known(n)}\n" for n in range(number)))
    began = time.monotonic()
    daemon.start()
    print(f"\n{number} consoles: ready after {time.monotonic() - began:.1f} s, {daemon.memory() / MEGABYTE:.0f} MB")
    last = f"vm-{number - 1:06}"
    assert daemon.status(last)["state"] == "down"
    assert len(json.loads(daemon.run("list", "--json").stdout)) == number
    vm = make_vm(daemon, "one more")
    vm.connected.say(b"hello\r\n")
    path = daemon.log_dir / f"{vm.uuid}.log"
    eventually(lambda: path.exists() and path.read_bytes() == b"hello\r\n", "a new one is served and logged")
    eventually(lambda: daemon.log(last).is_symlink(), "all of them have their links")
    print(f"{time.monotonic() - began:.1f} s until all links are there, {daemon.memory() / MEGABYTE:.0f} MB")


@pytest.fixture
def fresh(tmp_path: Path, keys: Path) -> Daemon:
    return Daemon(tmp_path / "daemon", keys)


@pytest.mark.parametrize("number", [1000, pytest.param(50_000, marks=pytest.mark.soak)])
def test_many_known_consoles(fresh: Daemon, make_vm: Callable[..., FakeVM], number: int) -> None:
    try:
        start_with(fresh, number, make_vm)
    finally:
        fresh.stop()
    assert "Traceback" not in fresh.said(), fresh.said()
