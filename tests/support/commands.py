"""Commands without a terminal, and logs for them to read."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

from tests.support.consoles import World
from tests.support.ssh import RemoteChannel, SSHWorld


def run(w: SSHWorld, command: str, user: str = "alice", **options: int) -> RemoteChannel:
    return w.login(user).run(command, **options)


def result(channel: RemoteChannel) -> tuple[str, str, int | None]:
    return channel.out.decode(), channel.err.decode(), channel.status


def say(w: SSHWorld, data: bytes, name: str = "web01", wait: float = 10) -> None:
    """A VM says something, and time goes by."""
    w.console(name).feed(data)
    w.store.flush()
    w.clock.advance(wait)


def rotate(w: SSHWorld, name: str = "web01", compress: bool = False) -> None:
    """What rotation does to a log and its trail."""
    rotate_log(w, w.console(name).log.path, compress)


def rotate_log(w: World, path: Path, compress: bool = False) -> None:
    """The same, by the path of the log."""
    w.store.flush()
    for live in (path, path.with_name(path.name + ".events")):
        for number in range(9, 0, -1):
            for suffix in ("", ".gz"):
                old = live.with_name(f"{live.name}.{number}{suffix}")
                if old.exists():
                    old.rename(live.with_name(f"{live.name}.{number + 1}{suffix}"))
        if live.exists():
            first = live.with_name(f"{live.name}.1")
            live.rename(first)
            if compress:
                packed = live.with_name(f"{live.name}.1.gz")
                packed.write_bytes(gzip.compress(first.read_bytes()))
                os.utime(packed, (w.clock.seconds(),) * 2)
                first.unlink()
    w.store.reopen()


def fds() -> int:
    return len(os.listdir("/proc/self/fd"))
