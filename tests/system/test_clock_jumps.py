"""Somebody sets the machine's clock by hours while the daemon runs: nothing stands still, nobody is cut off."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import Client, Daemon, eventually
from tests.support.host import FakeVM, HostConnection

MakeVM = Callable[..., FakeVM]
HOUR = 3600

# Shifts the clock on the wall, and no other, by as many seconds as stand in a file.
SHIFT = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *shift;

__attribute__((constructor)) static void open_shift(void) {
    int fd = open(SHIFT_FILE, O_RDONLY | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED : mmap(0, 8, PROT_READ, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) shift = at;
    if (fd >= 0) close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *found) {
    int result = syscall(SYS_clock_gettime, clock, found);
    if (!result && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) found->tv_sec += *shift;
    return result;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    found->tv_sec = now.tv_sec;
    found->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found) *found = now.tv_sec;
    return now.tv_sec;
}
"""


class WallClock:
    """The clock of one daemon."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            if os.environ.get("CI"):
                pytest.fail("there is no C compiler")
            pytest.skip("there is no C compiler to make another clock with")
        self._file = folder / "shift"
        self._file.write_bytes(bytes(8))
        self.library = folder / "shift.so"
        source = folder / "shift.c"
        source.write_text(SHIFT)
        subprocess.run(
            [compiler, "-shared", "-fPIC", f'-DSHIFT_FILE="{self._file}"', "-o", str(self.library), str(source)],
            check=True,
        )

    def set(self, hours: int) -> None:
        with self._file.open("rb+") as file:
            file.write(struct.pack("=q", hours * HOUR))


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_is_set_stops_nothing_and_cuts_off_nobody(
    tmp_path: Path, keys: Path, make_vm: MakeVM, hours: int
) -> None:
    wall = WallClock(tmp_path)
    daemon = Daemon(tmp_path / "daemon", keys, "[vm]\nidentify-timeout = 3600\n")
    daemon.preload = str(wall.library)
    daemon.start()
    viewer: Client | None = None
    stranger: HostConnection | None = None
    try:
        vm = make_vm(daemon)
        vm.connected.say(b"before\r\n")
        viewer = Client(daemon.ssh("127.0.0.1", user="web01"))
        viewer.expect_err(b"[attached]")
        eventually(lambda: daemon.log("web01").exists() and daemon.log("web01").read_bytes() == b"before\r\n", "logged")
        stranger = HostConnection(daemon.vm_port)  # it has an hour to say which VM it is
        stranger.negotiate()

        wall.set(hours)
        vm.connected.say(b"after\r\n")
        viewer.expect(b"after\r\n")
        eventually(lambda: daemon.log("web01").read_bytes() == b"before\r\nafter\r\n", "what comes is logged")
        viewer.type(b"typed")
        vm.connected.wait_data(b"typed")
        vm.migrate(b"seq1").close()
        vm.connected.say(b"moved\r\n")
        eventually(lambda: daemon.log("web01").read_bytes().endswith(b"moved\r\n"), "it has moved")
        viewer.type(b"still there")
        vm.connected.wait_data(b"still there")
        other = make_vm(daemon, "db01")
        other.connected.say(b"new\r\n")
        eventually(lambda: daemon.log("db01").exists() and daemon.log("db01").read_bytes() == b"new\r\n", "a new one")

        # Logins and commands work, and what they tell has the new time.
        status = daemon.status("web01")
        assert status["state"] == "up"
        (moved,) = [event for event in daemon.events("web01") if event["event"] == "vmotion-complete"]
        wanted = time.strftime("%Y-%m-%dT%H", time.gmtime(time.time() + hours * HOUR))
        late = time.strftime("%Y-%m-%dT%H", time.gmtime(time.time() + hours * HOUR - 600))
        assert str(moved["at"])[:13] in (wanted, late)
        assert 0 <= float(str(moved["seconds"])) < 600
        assert daemon.run("log", "web01").stdout == b"before\r\nafter\r\nmoved\r\n"
        trail = daemon.log("web01").resolve()
        times = [json.loads(line)["at"] for line in trail.with_name(f"{trail.name}.events").read_text().splitlines()]
        assert (sorted(times) == times) == (hours > 0)

        # The stranger has not been thrown out by a jump forwards: it can still say which VM it is.
        assert not stranger.closed
        assert "did not say which VM it is in time" not in daemon.said()
    finally:
        if viewer is not None:
            viewer.close()
        if stranger is not None:
            stranger.close()
        daemon.stop()
    assert "Traceback" not in daemon.said(), daemon.said()
