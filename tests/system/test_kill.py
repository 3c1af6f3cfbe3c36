"""kill -9 at any moment, under load: what was written stays whole, little is missing, and everything goes on."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import re
import signal
import threading
import time
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import PATIENCE, Daemon, eventually
from tests.support.host import FakeVM

MakeVM = Callable[..., FakeVM]
MakeDaemon = Callable[..., Daemon]
CONFIG = '[log]\nrotate-size = "32 kB"\nkeep = 0\ncompress = true\nplain = true\n'
NAMES = tuple(f"vm{n}" for n in range(4))
LINE = 24


def stream(name: str, round_: int, size: int) -> bytes:
    """The beginning of what a VM says between two kills."""
    lines = (b"%-4s %03d %013d\r\n" % (name.encode(), round_, n) for n in range(-(-size // LINE)))
    return b"".join(lines)[:size]


class Talker(threading.Thread):
    """A VM that talks until its connection breaks.

    :ivar sent: the bytes that it has sent, ``times``: when each of them had been.
    :ivar late: by how much the machine let it wait longer than it wanted, at most, in seconds.
    """

    def __init__(self, vm: FakeVM, round_: int) -> None:
        super().__init__()
        self.vm = vm
        self.round = round_
        self.late = 0.0
        self.sent: list[int] = [0]
        self.times: list[float] = [time.monotonic()]

    def run(self) -> None:
        data = stream(self.vm.name, self.round, 4_000_000)
        at = 0
        pause = threading.Event()
        try:
            while at < len(data):
                piece = data[at : at + LINE * 20 + 7]  # cut anywhere
                self.vm.connected.say(piece)
                at += len(piece)
                self.sent.append(at)
                self.times.append(time.monotonic())
                pause.wait(0.003)
                self.late = max(self.late, time.monotonic() - self.times[-1] - 0.003)
        except OSError:
            return  # the daemon was killed


def history(log: Path) -> bytes:
    """All that a log has, the old ones first; read by other means than the daemon's."""
    parts: dict[int, bytes] = {0: log.read_bytes() if log.exists() else b""}
    for path in log.parent.glob(f"{log.name}.*"):
        match = re.fullmatch(r"\.(\d+)(\.gz)?", path.name.removeprefix(log.name))
        if match and not (match[2] and path.with_name(path.name.removesuffix(".gz")).exists()):
            parts[int(match[1])] = gzip.decompress(path.read_bytes()) if match[2] else path.read_bytes()
    return b"".join(parts[number] for number in sorted(parts, reverse=True))


def check_lines(path: Path) -> list[dict[str, object]]:
    """Every line of a file is a JSON object, the last one too."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    assert not data or data.endswith(b"\n"), path
    found = [json.loads(line) for line in data.splitlines()]
    assert all(isinstance(line, dict) for line in found), path
    return found


def tear(path: Path) -> None:
    """What the machine leaves that loses power in the middle of a line."""
    with path.open("ab") as file:
        file.write(b'{"at":"2026-11-23T01:02:03.004Z","offset":17,"event":"no')


def operate(daemon: Daemon, stop: threading.Event) -> None:
    while not stop.is_set():
        daemon.run("list")


def more_written(daemon: Daemon, name: str, before: bytes, round_: int) -> bool:
    """Whether a fair part of what a VM says is in its log already."""
    with contextlib.suppress(OSError, EOFError, zlib.error):  # it may be rotated, or compressed, at this moment
        found = history(daemon.log(name).resolve())
        more = len(found) - len(before)
        return more > 5_000 and found == before + stream(name, round_, more)
    return False


def kill_and_restart(daemon: Daemon, make_vm: MakeVM, rounds: int, dice: random.Random) -> Iterator[float]:
    """:returns: for each kill, the age of the oldest missing byte in seconds, less how late the machine is."""
    expected: dict[str, bytes] = dict.fromkeys(NAMES, b"")
    vms = {name: make_vm(daemon, name) for name in NAMES}
    logs: dict[str, Path] = {}
    for round_ in range(rounds):
        stop = threading.Event()
        operator = threading.Thread(target=operate, args=(daemon, stop))
        talkers = [Talker(vm, round_) for vm in vms.values()]
        for talker in talkers:
            talker.start()
        operator.start()
        eventually(lambda talkers=talkers: min(t.sent[-1] for t in talkers) > 20_000, "all of them talk")
        for name in NAMES:
            eventually(lambda name=name, r=round_: more_written(daemon, name, expected[name], r), f"{name} is logged")
        stop.wait(dice.uniform(0.0, 0.5))
        killed = time.monotonic()
        daemon.stop(signal.SIGKILL)
        stop.set()
        for talker in talkers:
            talker.join()
        operator.join()
        logs = logs or {name: daemon.log(name).resolve() for name in NAMES}
        worst = 0.0
        for talker in talkers:
            name = talker.vm.name
            found = history(logs[name])
            assert found.startswith(expected[name])
            more = len(found) - len(expected[name])
            assert found[len(expected[name]) :] == stream(name, round_, more)
            assert more > 5_000
            expected[name] = found
            missing = bisect_right(talker.sent, more)  # the first piece that is not there as a whole
            if missing < len(talker.times):
                worst = max(worst, killed - talker.times[missing - 1])
            talker.vm.close()
        yield worst - max(talker.late for talker in talkers)
        trails = [log.with_name(f"{log.name}.events") for log in logs.values()]
        tear(dice.choice([trail for trail in trails if trail.exists()]))
        tear(daemon.state / "consoles.jsonl")
        tear(daemon.state / "audit.jsonl")
        daemon.start()
        whole = [trail for trail in trails if trail.exists()]
        eventually(
            lambda whole=whole: all(t.read_bytes()[-1:] in (b"", b"\n") for t in whole if t.exists()),
            "trails are whole",
        )
        consoles = json.loads(daemon.run("list", "--json").stdout)
        assert {console["name"]: console["state"] for console in consoles} == dict.fromkeys(NAMES, "down")
        for vm in vms.values():
            vm.connect()
        audit = daemon.state / "audit.jsonl"
        eventually(lambda audit=audit: audit.read_bytes().endswith(b"}\n"), "the audit trail is whole")
        assert "login" in {event["event"] for event in check_lines(audit)}
    eventually(lambda: not list(daemon.log_dir.glob("*.tmp")), "what was half compressed is gone")
    assert daemon.run("log", "vm0", "-n", "100000").stdout.endswith(expected["vm0"][-100_000:])
    for name, log in logs.items():
        assert history(log) == expected[name]
    daemon.stop()
    for path in daemon.log_dir.glob("*.events*"):
        check_lines(path)
    names = {line["name"] for line in check_lines(daemon.state / "consoles.jsonl") if "format" not in line}
    assert names == set(NAMES)


def test_kill_9_under_load_damages_nothing(make_daemon: MakeDaemon, make_vm: MakeVM) -> None:
    dice = random.Random(time.time_ns())
    ages = list(kill_and_restart(make_daemon(CONFIG), make_vm, 3, dice))
    assert max(ages) < PATIENCE, "nothing stays behind; how little it is, `make soak` tells"


@pytest.mark.soak
def test_fifty_times_kill_9_cost_a_tenth_of_a_second_at_most(make_daemon: MakeDaemon, make_vm: MakeVM) -> None:
    seed = time.time_ns()
    print(f"\nseed {seed}")
    ages = []
    for age in kill_and_restart(make_daemon(CONFIG), make_vm, 50, random.Random(seed)):
        ages.append(age)
        print(f"kill {len(ages)}: what is missing is {1000 * age:.0f} ms old at most", flush=True)
    assert max(ages) <= 0.1
