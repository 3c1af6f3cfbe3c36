"""Disks that fail and are mended: everything goes on by itself, what is missing is told, nobody waits.

A disk is a tmpfs of the test's own. It is full when a file fills it, read-only when another file system that is lies on
top of it (open files cannot be made read-only from outside), and forbidden when its permissions are gone: root is not
bound by those, unless it is run without the capability to pass over them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Client, Daemon, eventually
from tests.support.host import FakeVM

MakeVM = Callable[..., FakeVM]
SIZE = 1024 * 1024
PIECE = b"".join(b"%014d\r\n" % n for n in range(4000))


def mount(*words: str) -> bool:
    """:returns: whether it could be done."""
    return (
        shutil.which("mount") is not None
        and not subprocess.run(["mount", *words], capture_output=True, check=False).returncode
    )


class Disk:
    """A small file system, and what can be wrong with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if not mount("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)):
            if os.environ.get("CI"):
                pytest.fail("a tmpfs cannot be mounted")
            pytest.skip("a tmpfs cannot be mounted here: this needs root")
        self._covered = False

    def fail(self, how: str) -> None:
        if how == "full":
            subprocess.run(["mount", "-o", f"remount,size={4 * SIZE}", str(self.folder)], check=True)
            with (self.folder / "ballast").open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
        elif how == "read-only":
            assert mount("-t", "tmpfs", "-o", "ro", "tmpfs", str(self.folder))
            self._covered = True
        elif how == "forbidden":
            self.folder.chmod(0)
        else:
            for path in self.folder.iterdir():
                shutil.rmtree(path)
            # What is not there is made again at once, unless it cannot be.
            self.folder.chmod(0o555)

    def mend(self, how: str) -> None:
        if how == "full":
            (self.folder / "ballast").unlink()
        elif how == "read-only":
            subprocess.run(["umount", str(self.folder)], check=True)
            self._covered = False
        else:
            self.folder.chmod(0o755)

    def close(self) -> None:
        if self._covered:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    yield made
    made.close()


@pytest.fixture
def fragile(tmp_path: Path, keys: Path, disk: Disk) -> Iterator[Daemon]:
    """A daemon whose logs and state are on that disk, and that permissions bind."""
    folder = tmp_path / "daemon"
    daemon = Daemon(folder, keys, log_dir=disk.folder / "log")
    shutil.move(daemon.state, disk.folder / "state")
    daemon.state = disk.folder / "state"
    if os.geteuid() == 0:
        daemon.within = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")
    yield daemon.start()
    daemon.stop()
    assert "Traceback" not in daemon.said(), daemon.said()


def known(daemon: Daemon) -> list[str]:
    """The names in the journal."""
    path = daemon.state / "consoles.jsonl"
    lines = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return [line["name"] for line in lines if "format" not in line]


@pytest.mark.parametrize("how", ["full", "read-only", "forbidden", "removed"])
def test_a_disk_that_fails_and_is_mended_costs_what_did_not_fit_and_is_told(
    fragile: Daemon, disk: Disk, make_vm: MakeVM, how: str
) -> None:
    daemon = fragile
    vm = make_vm(daemon)
    viewer = Client(daemon.ssh("127.0.0.1", user="web01"))
    logins = 1

    def status(name: str) -> dict[str, object]:
        nonlocal logins
        logins += 1
        return daemon.status(name)

    try:
        viewer.expect_err(b"[attached]")
        said = bytearray(b"before\r\n")
        vm.connected.say(b"before\r\n")
        eventually(lambda: daemon.log("web01").exists() and daemon.log("web01").read_bytes() == said, "it is logged")
        eventually(lambda: "web01" in known(daemon), "it is remembered")
        disk.fail(how)

        # The VM says much more than is kept, somebody types, another VM comes: nobody waits.
        for _ in range(8):
            vm.connected.say(PIECE)
            said += PIECE
            viewer.wait_size(len(said))

        def told() -> bool:
            vm.connected.say(b"tick\r\n")
            said.extend(b"tick\r\n")
            return b"NOT being recorded" in viewer.err

        eventually(told, "the viewer is told")
        viewer.type(b"typed")
        vm.connected.wait_data(b"typed")
        assert status("web01")["log_problem"]
        late = make_vm(daemon, "late")
        late.connected.say(b"hello\r\n")
        eventually(lambda: "cannot write" in daemon.said(), "the daemon's log says so")
        eventually(lambda: status("late")["state"] == "up", "a VM that comes meanwhile is served")

        disk.mend(how)
        eventually(lambda: b"[-- log: recording again" in viewer.err, "the viewer is told")
        vm.connected.say(b"after\r\n")
        said += b"after\r\n"
        # All of it without anything else that happens: links, the journal, the audit trail.
        eventually(
            lambda: daemon.log("web01").exists() and daemon.log("web01").read_bytes().endswith(b"after\r\n"),
            "it goes on",
        )
        eventually(lambda: daemon.log("late").exists() and daemon.log("late").read_bytes() == b"hello\r\n", "late too")
        eventually(lambda: {"web01", "late"} <= set(known(daemon)), "both are remembered")
        # What was recorded before the folder was removed is gone with it.
        expected = logins - (how == "removed")
        eventually(lambda: expected <= len(daemon.audited("login")) <= logins, "the audit trail has caught up")
    finally:
        viewer.close()
    log = daemon.log("web01").read_bytes()
    gaps = [event for event in daemon.events("web01") if event["event"] == "gap"]
    if how == "removed":  # what had been written is gone with it, and what was under way at that moment
        assert len(log) <= len(said)
    else:
        assert len(gaps) <= 1
        missing = int(str(gaps[0]["bytes"])) if gaps else 0
        offset = int(str(gaps[0]["offset"])) if gaps else len(log)
        assert log == bytes(said[:offset] + said[offset + missing :])
        assert len(log) + missing == len(said)


def test_a_log_folder_on_another_file_system_than_the_state_is_rotated_and_compressed(
    tmp_path: Path, make_daemon: Callable[..., Daemon], disk: Disk, make_vm: MakeVM
) -> None:
    daemon = make_daemon('[log]\nrotate-size = "64 kB"\nkeep = 0\ncompress = true\n', log_dir=disk.folder / "log")
    assert daemon.state.stat().st_dev != daemon.log_dir.stat().st_dev
    vm = make_vm(daemon)
    said = bytearray()
    for _ in range(3):
        said += PIECE
        vm.connected.say(PIECE)
        rotated = len(list(daemon.log_dir.glob("*.log.[0-9]*")))
        size = len(said)
        eventually(lambda size=size: int(str(daemon.status("web01")["bytes_out"])) == size, "all of it has come")
        eventually(lambda n=rotated: len(list(daemon.log_dir.glob("*.log.[0-9]*"))) > n or n >= 3, "it is rotated")
    eventually(lambda: len(list(daemon.log_dir.glob("*.log.[0-9].gz"))) == 3, "they are compressed")
    assert daemon.run("log", "web01", "-n", "20000").stdout == said
    assert not list(daemon.log_dir.glob("*.tmp"))
