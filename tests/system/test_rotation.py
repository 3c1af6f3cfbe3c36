"""Rotation under load, in the real daemon: by itself, by logrotate's renames and a signal, and by copytruncate."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, eventually
from tests.support.host import FakeVM

MakeVM = Callable[..., FakeVM]
MakeDaemon = Callable[..., Daemon]
LINES = 60_000

SETTINGS = "[log]\nrotate-size = 200_000\nkeep = 500\nplain = true\n"


def stream(lines: int) -> Iterator[bytes]:
    """Numbered lines with bytes in them that are easily lost or doubled, in pieces of different sizes."""
    pending = b""
    for n in range(lines):
        pending += b"%07d \x1b[1m\xff\xff\0text\x1b[m that goes on for a while\r\n" % n
        if n % 37 in (0, 5, 30):
            yield pending
            pending = b""
    yield pending


def files(path: Path) -> list[Path]:
    """Old logs, the oldest first, and the live one."""
    old: dict[int, Path] = {}
    for file in path.parent.glob(f"{path.name}.*"):
        number = file.name.removeprefix(f"{path.name}.").removesuffix(".gz")
        # One that is just being compressed is there twice for a moment.
        if number.isdecimal() and (file.suffix != ".gz" or int(number) not in old):
            old[int(number)] = file
    return [old[number] for number in sorted(old, reverse=True)] + ([path] if path.exists() else [])


def content(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def whole(path: Path) -> bytes:
    return b"".join(content(file) for file in files(path))


def ends(path: Path, last: bytes) -> bool:
    """Whether a log ends in these bytes, whatever it is made of just now."""
    try:
        return whole(path).endswith(last)
    except FileNotFoundError:  # rotated, or compressed, a moment ago
        return False


def rename(path: Path) -> None:
    """What logrotate does by default, without its signal."""
    for kind in (path, path.with_name(path.name + ".events")):
        number = 1
        while kind.with_name(f"{kind.name}.{number}").exists():
            number += 1
        for n in range(number - 1, 0, -1):
            kind.with_name(f"{kind.name}.{n}").rename(kind.with_name(f"{kind.name}.{n + 1}"))
        kind.rename(kind.with_name(f"{kind.name}.1"))


@pytest.mark.alone  # a line that comes in pieces for longer than a prompt waits is two lines of plain text
def test_its_own_rotation_loses_and_doubles_nothing_under_a_fast_stream(
    make_daemon: MakeDaemon, make_vm: MakeVM
) -> None:
    daemon = make_daemon(SETTINGS)
    vms = [make_vm(daemon, name) for name in ("web01", "db01", "mail01")]
    pieces = list(stream(LINES))
    sent = b"".join(pieces)
    burst = len(pieces) // 6

    def pour(vm: FakeVM) -> None:
        for start in range(0, len(pieces), burst):
            for piece in pieces[start : start + burst]:
                vm.connected.say(piece)
            # A batch may be larger than a log: what must not be is that all of it came in one.
            eventually(lambda last=piece: ends(daemon.log(vm.name).resolve(), last), "it is written")

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(pour, vm) for vm in vms]:
            done.result()
    for vm in vms:
        log = daemon.log(vm.name).resolve()
        eventually(lambda log=log: all(f.suffix == ".gz" for f in files(log)[:-1]), "old logs are compressed")
    daemon.stop(signal.SIGTERM)
    for vm in vms:
        log = daemon.log(vm.name).resolve()
        assert whole(log) == sent
        assert len(files(log)) >= 5
        assert not [event for event in daemon.events(vm.name) if event["event"] == "gap"]
        assert not list(log.parent.glob("*.tmp"))
        for file in files(log):
            # Each has its trail, whose first line says the offset of its first byte, and whose first mark the time.
            trail = log.with_name(f"{log.name}.events{file.name.removeprefix(log.name).removesuffix('.gz')}")
            if not trail.exists():
                trail = trail.with_name(f"{trail.name}.gz")
            events = [json.loads(line) for line in content(trail).splitlines()]
            offsets = [event["offset"] for event in events]
            size = len(content(file))
            assert events[0]["event"] == "format"
            assert [event["offset"] for event in events if event["event"] == "time"][:1] == offsets[: size and 1]
            assert offsets == sorted(offsets)
            assert offsets[-1] - offsets[0] <= size
        text = b"".join(content(file) for file in files(log.with_suffix(".txt")))
        lines = text.splitlines()
        assert [line.split()[1] for line in lines] == [b"%07d" % n for n in range(LINES)]
        assert b"\x1b" not in text


def test_renames_and_a_signal_during_the_stream_lose_nothing(daemon: Daemon, make_vm: MakeVM) -> None:
    vm = make_vm(daemon)
    stop = threading.Event()
    sent = bytearray(b"begin\r\n")
    vm.connected.say(bytes(sent))
    log = daemon.log("web01")
    eventually(lambda: log.exists() and log.stat().st_size, "the log is there")
    log = log.resolve()

    def pour() -> None:
        for piece in stream(10_000_000):
            vm.connected.say(piece)
            sent.extend(piece)
            if stop.wait(0.0005):  # a busy VM, not a flood: it goes on as long as it is needed
                return

    pouring = threading.Thread(target=pour)
    pouring.start()
    try:
        for _ in range(6):
            eventually(lambda: log.exists() and log.stat().st_size > 50_000, "there is something to rotate")
            rename(log)
            daemon.process.send_signal(signal.SIGHUP)
    finally:
        stop.set()
        pouring.join()
    eventually(lambda: ends(log, bytes(sent[-1000:])), "all of it is written")
    daemon.stop(signal.SIGTERM)
    assert whole(log) == bytes(sent)
    assert len(files(log)) >= 6


def test_copytruncate_in_a_quiet_moment_loses_nothing(daemon: Daemon, make_vm: MakeVM) -> None:
    vm = make_vm(daemon)
    log = daemon.log("web01")
    copies = b""
    sent = b""
    for round_ in range(4):
        piece = b"".join(b"%d: %05d\r\n" % (round_, n) for n in range(2000))
        sent += piece
        vm.connected.say(piece)
        eventually(lambda piece=piece: log.exists() and log.stat().st_size == len(piece), "the log is complete")
        copies += log.read_bytes()
        os.truncate(log, 0)
    vm.connected.say(b"last")
    eventually(lambda: log.stat().st_size, "the log goes on")
    assert copies + log.read_bytes() == sent + b"last"  # and no hole where the log once ended
