"""A reader at an offset gets exactly the output from there on, or is told the exact size of what is missing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.support.consoles import World
from vmproxy.log.rotation import RotationPolicy
from vmproxy.log.store import ConsoleLog
from vmproxy.log.stream import FILES_LIMIT, LogStream, NotInLog


class Vm:
    """A log and all that was said to it.

    :ivar said: each byte at its offset; None for those that were not recorded.
    """

    def __init__(self, folder: Path, **policy: Any) -> None:
        self.folder = folder
        self.policy = RotationPolicy(**policy)
        self.said: list[int | None] = []
        self.start()

    def start(self) -> None:
        self.world = World(self.folder)
        self.world.writer.rotation.use(self.policy)
        self.log: ConsoleLog = self.world.log()
        self.log.mend()

    def say(self, size: int) -> None:
        data = bytes((len(self.said) + n) * 7 % 251 for n in range(size))
        self.said += data
        self.log.append(data)

    def miss(self, size: int) -> None:
        self.said += [None] * size
        self.log.gap(size, "test")

    def flush(self) -> None:
        self.world.store.flush()
        self.world.writer.tick()

    def rename(self, *, truncate: bool = False) -> None:
        self.flush()
        if not self.log.path.exists():
            return  # who rotates a trail without its log has pairs that do not belong together
        for path in (self.log.path, Path(self.log.file.trail_path)):
            for number in range(20, 0, -1):
                one = path.with_name(f"{path.name}.{number}")
                if one.exists():
                    os.rename(one, path.with_name(f"{path.name}.{number + 1}"))
            old = path.with_name(path.name + ".1")
            if truncate:
                shutil.copyfile(path, old)
                os.truncate(path, 0)
            else:
                os.rename(path, old)
        self.world.store.reopen() if not truncate else self.world.tick(2)

    def bytes(self, start: int, end: int) -> bytes:
        said = self.said[start:end]
        assert None not in said
        return bytes(one for one in said if one is not None)


def refresh(stream: LogStream) -> None:
    failed: list[Failure] = []

    Deferred.fromCoroutine(stream.refresh()).addErrback(failed.append)
    for failure in failed:
        failure.raiseException()


def drain(stream: LogStream) -> Iterator[bytes]:
    refresh(stream)
    while data := stream.read():
        yield data


@pytest.fixture
def vm(tmp_path: Path) -> Vm:
    return Vm(tmp_path)


@pytest.mark.parametrize("start", [0, 1, 999, 1000])
def test_it_reads_from_an_offset_to_the_end_and_goes_on(vm: Vm, start: int) -> None:
    vm.say(1000)
    stream = LogStream(vm.log, start)
    assert b"".join(drain(stream)) == vm.bytes(start, 1000)
    vm.say(500)
    assert b"".join(drain(stream)) == vm.bytes(1000, 1500)
    stream.close()


def test_it_begins_at_a_count_of_what_this_process_has_heard(vm: Vm) -> None:
    vm.say(1000)
    vm.flush()
    vm.start()
    vm.say(50)
    stream = LogStream(vm.log, received=20)
    assert b"".join(drain(stream)) == vm.bytes(1020, 1050)


@pytest.mark.parametrize("compress", [False, True])
def test_it_reads_across_files_that_were_put_aside(tmp_path: Path, compress: bool) -> None:
    vm = Vm(tmp_path, size=100, compress=compress)
    for _ in range(6):
        vm.say(100)
        vm.flush()
        vm.flush()
    for start in (0, 50, 100, 250, 600):
        stream = LogStream(vm.log, start)
        assert b"".join(drain(stream)) == vm.bytes(start, 600)
        stream.close()


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("start", [1210, 1150])
def test_many_older_files_do_not_count_as_rotations(tmp_path: Path, compress: bool, start: int) -> None:
    vm = Vm(tmp_path, size=100, compress=compress)
    for _ in range(12):
        vm.say(100)
        vm.flush()
        vm.flush()
    vm.say(50)
    stream = LogStream(vm.log, start)
    refresh(stream)
    for _ in range(3):
        vm.say(50)
        vm.flush()
        vm.flush()  # rotates, and compresses
        vm.say(50)
        refresh(stream)
    assert b"".join(iter(stream.read, b"")) == vm.bytes(start, 1550)
    stream.close()


@pytest.mark.parametrize("event", [False, True])
def test_a_log_whose_trail_alone_was_put_aside_goes_on_where_it_was(tmp_path: Path, event: bool) -> None:
    vm = Vm(tmp_path, size=100)
    for size in (100, 100, 50):
        vm.say(size)
        if event:
            vm.log.event("test")
        vm.flush()
        vm.flush()
    trail = Path(vm.log.file.trail_path)
    for number in (2, 1):  # the process ends in the middle of a rotation
        for path in (vm.log.path, trail):
            os.rename(path.with_name(f"{path.name}.{number}"), path.with_name(f"{path.name}.{number + 1}"))
    os.rename(trail, trail.with_name(f"{trail.name}.1"))
    vm.start()
    vm.say(20)
    vm.flush()
    assert vm.log.file.offset == 270
    stream = LogStream(vm.log, 0)
    assert b"".join(drain(stream)) == vm.bytes(0, 270)
    stream.close()


def test_it_holds_what_it_reads_whatever_becomes_of_the_files(vm: Vm) -> None:
    vm.say(1000)
    stream = LogStream(vm.log, 0)
    refresh(stream)
    for _ in range(3):
        vm.rename()
        vm.say(10)
        refresh(stream)
    for path in vm.log.path.parent.iterdir():
        if path != vm.log.path:
            path.unlink()
    assert b"".join(iter(stream.read, b"")) == vm.bytes(0, 1030)


def test_what_is_missing_is_told_with_its_size_and_reading_goes_on_behind_it(vm: Vm) -> None:
    vm.say(10)
    vm.miss(1000)
    vm.say(5)
    stream = LogStream(vm.log, 0)
    refresh(stream)
    assert stream.read() == vm.bytes(0, 10)
    with pytest.raises(NotInLog) as told:
        stream.read()
    assert told.value.missing == 1000
    stream.skip(1000)
    assert stream.read() == vm.bytes(1010, 1015)


def test_what_retention_has_removed_is_told_with_its_size(tmp_path: Path) -> None:
    vm = Vm(tmp_path, size=100, keep=2)
    for _ in range(6):
        vm.say(100)
        vm.flush()
    stream = LogStream(vm.log, 50)
    refresh(stream)
    with pytest.raises(NotInLog) as told:
        stream.read()
    assert told.value.missing == 350
    stream.skip(350)
    assert b"".join(iter(stream.read, b"")) == vm.bytes(400, 600)


def test_a_file_that_is_cut_while_it_is_read_ends_it(vm: Vm) -> None:
    vm.say(200_000)
    stream = LogStream(vm.log, 0)
    refresh(stream)
    stream.read()
    os.truncate(vm.log.path, 0)
    vm.say(300_000)
    vm.world.store.flush()
    with pytest.raises(NotInLog):
        stream.read()
    with pytest.raises(NotInLog):
        refresh(stream)


@pytest.mark.parametrize("look", [False, True])
def test_a_file_that_is_cut_while_nobody_has_it_open_ends_it_however_long_it_is_again(vm: Vm, look: bool) -> None:
    vm.say(100)
    stream = LogStream(vm.log, 0)
    refresh(stream)
    vm.world.store.reopen()  # as it is closed when it is not used, or there are too many
    os.truncate(vm.log.path, 0)
    vm.say(201)
    vm.flush()
    if look:
        with pytest.raises(NotInLog, match="was cut"):
            refresh(stream)
    else:
        with pytest.raises(NotInLog, match="shorter"):
            stream.read()
    stream.close()


def test_after_copytruncate_a_new_reader_finds_both_files(vm: Vm) -> None:
    vm.say(300)
    vm.rename(truncate=True)
    vm.say(200)
    stream = LogStream(vm.log, 100)
    assert b"".join(drain(stream)) == vm.bytes(100, 500)


def test_files_that_are_held_are_bounded(vm: Vm) -> None:
    before = len(os.listdir("/proc/self/fd"))
    vm.say(100)
    stream = LogStream(vm.log, 0)
    late = LogStream(vm.log, 7)
    for _ in range(2 * FILES_LIMIT + 2):
        refresh(stream)
        stream._survey()
        assert len(os.listdir("/proc/self/fd")) <= before + FILES_LIMIT + 4
        vm.rename()
        vm.say(10)
    got = b""
    while stream.has_more or not got:
        refresh(stream)
        got += b"".join(drain(stream))
    assert got == vm.bytes(0, len(vm.said))
    got = b""
    while late.has_more or not got:
        refresh(late)
        assert len(os.listdir("/proc/self/fd")) <= before + FILES_LIMIT + 4 + 2 * (FILES_LIMIT + 1)
        got += b"".join(drain(late))
    assert got == vm.bytes(7, len(vm.said))
    stream.close()
    late.close()


def test_who_looks_through_too_many_files_is_told(vm: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmproxy.log.stream.LOOK_LIMIT", FILES_LIMIT + 2)
    for _ in range(FILES_LIMIT + 5):
        vm.say(10)
        vm.rename()
    vm.say(10)
    vm.flush()
    before = len(os.listdir("/proc/self/fd"))
    stream = LogStream(vm.log, 0)
    with pytest.raises(NotInLog, match="rotated too often"):
        refresh(stream)
    stream.close()
    assert len(os.listdir("/proc/self/fd")) <= before


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(1, 60)),
        st.tuples(st.just("miss"), st.integers(1, 60)),
        st.tuples(st.sampled_from(["flush", "restart", "stop", "rename", "truncate", "event"]), st.just(0)),
        st.tuples(st.just("read"), st.integers(0, 4)),
        st.tuples(st.just("refresh"), st.just(0)),
        st.tuples(st.just("from"), st.integers(0, 500)),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=150)
@given(STEPS, st.booleans(), st.sampled_from([0, 40]), st.sampled_from([0, 2]))
def test_any_reader_gets_exactly_the_output_or_the_size_of_what_is_missing(
    steps: list[tuple[str, int]], compress: bool, size: int, keep: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        vm = Vm(Path(name), size=size, keep=keep, compress=compress)
        stream = LogStream(vm.log, 0)
        kept = not keep and not {"rename", "truncate"} & {step for step, _ in steps}
        wrong: list[int] = []

        def read() -> bool:
            start = stream.position
            try:
                data = stream.read()
            except NotInLog as told:
                missing = vm.said[start : start + told.missing]
                if kept:
                    wrong.extend(one for one in missing if one is not None)
                stream.skip(told.missing)
                return told.missing > 0
            assert data == vm.bytes(start, start + len(data))
            return bool(data)

        def look() -> None:
            nonlocal stream
            try:
                refresh(stream)
            except NotInLog:
                stream.close()  # too many files, or one was cut: another reader goes on
                stream = LogStream(vm.log, max(0, stream.position))
                refresh(stream)

        for step, number in steps:
            match step:
                case "say":
                    vm.say(number)
                case "miss":
                    vm.miss(number)
                case "flush":
                    vm.flush()
                case "event":
                    vm.log.event("note")
                case "restart" | "stop":
                    vm.flush()
                    if step == "stop":
                        vm.world.store.stop()
                    vm.start()
                    stream.close()
                    stream = LogStream(vm.log, max(0, stream.position))
                case "rename" | "truncate":
                    vm.rename(truncate=step == "truncate")
                case "read":
                    if stream.position >= 0:
                        for _ in range(number):
                            read()
                case "refresh":
                    look()
                case "from":
                    stream.close()
                    stream = LogStream(vm.log, min(number, len(vm.said)))
        look()
        for _ in range(3):  # a file may have been overwritten under the reader: another one knows what is missing
            while read():
                pass
            stream.close()
            stream = LogStream(vm.log, stream.position)
            refresh(stream)
        assert stream.position == len(vm.said)
        assert not wrong
        stream.close()
        vm.world.writer.close()
