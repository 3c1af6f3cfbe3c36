"""The plain text beside a log: written, rotated, and never at the cost of the log."""

from __future__ import annotations

import errno
import os

import pytest

from tests.support.consoles import World
from tests.support.fakes import Logged
from tests.support.log_files import _raise, say, write
from vmproxy.log.files import plain_of
from vmproxy.log.rotation import RotationPolicy
from vmproxy.log.settings import LogSettings
from vmproxy.log.store import ConsoleLog


class TestPlainText:
    @pytest.fixture
    def plain(self, world: World) -> World:
        world.writer.plain = True
        return world

    def lines(self, log: ConsoleLog) -> list[str]:
        path = plain_of(log.path)
        text = path.read_text() if path.exists() else ""
        assert not text or text.endswith("\n")
        return text.splitlines()

    def test_lines_have_their_time_and_no_escapes(self, plain: World) -> None:
        log = plain.log()
        write(plain, log, b"\x1b[1mone\x1b[m\r\ntw")
        plain.clock.advance(1.5)
        write(plain, log, b"o\r\n")
        assert self.lines(log) == ["2023-11-14T22:13:20.000Z one", "2023-11-14T22:13:20.000Z two"]
        assert log.path.read_bytes() == b"\x1b[1mone\x1b[m\r\ntwo\r\n"
        assert plain_of(log.path).name == "vm.txt"
        assert plain_of(log.path).stat().st_mode & 0o007 == 0

    def test_it_is_off_by_default(self, world: World) -> None:
        log = world.log()
        say(world, log, b"one\n")
        assert not plain_of(log.path).exists()

    def test_a_prompt_is_a_line_after_a_while(self, plain: World) -> None:
        log = plain.log()
        write(plain, log, b"login: ")
        plain.writer.tick()
        assert 0 < plain.writer.next_tick() <= 5  # type: ignore[operator]  # a number by now
        for _ in range(4):
            plain.tick(1)
        assert self.lines(log) == []
        plain.tick(1)
        assert self.lines(log) == ["2023-11-14T22:13:20.000Z login: "]
        write(plain, log, b"root\n")
        assert self.lines(log)[1:] == ["2023-11-14T22:13:25.000Z root"]

    def test_each_prompt_of_many_logs_has_its_own_while(self, plain: World) -> None:
        logs = [plain.log(f"{n}.log") for n in range(10)]
        for log in logs:
            write(plain, log, b"login: ")
            plain.clock.advance(1)
        plain.writer.tick()
        assert [len(self.lines(log)) for log in logs] == [1] * 6 + [0] * 4

    def test_a_stop_writes_what_is_unfinished(self, plain: World) -> None:
        log = plain.log()
        write(plain, log, b"login: ")
        plain.store.stop()
        assert self.lines(log) == ["2023-11-14T22:13:20.000Z login: "]

    def test_it_is_rotated_with_the_log(self, plain: World) -> None:
        plain.writer.rotation.use(RotationPolicy(size=4, keep=1))
        log = plain.log()
        say(plain, log, b"one\n", b"two\n", b"x")
        assert plain_of(log.path).with_name("vm.txt.1").read_text().endswith(" two\n")
        assert not plain_of(log.path).with_name("vm.txt.2").exists()

    def test_it_can_be_turned_on_and_off(self, plain: World) -> None:
        log = plain.log()
        write(plain, log, b"one\n")
        plain.store.reconfigure(LogSettings(rotation=RotationPolicy(), plain=False))
        write(plain, log, b"two\n")
        plain.store.reconfigure(LogSettings(rotation=RotationPolicy(), plain=True))
        write(plain, log, b"three\n")
        assert [line.split()[1] for line in self.lines(log)] == ["one", "three"]

    def test_that_it_cannot_be_written_never_hurts_the_log(self, plain: World) -> None:
        log = plain.log()
        log.path.parent.mkdir()
        plain_of(log.path).mkdir()
        with Logged() as lines:
            for n in range(20):
                write(plain, log, b"%d\n" % n)
                plain.tick(0.3)
        assert len(lines) == 1
        assert "vm.txt" in lines[0]
        plain_of(log.path).rmdir()
        plain.tick(2)
        write(plain, log, b"later\n")
        assert log.path.read_bytes() == b"".join(b"%d\n" % n for n in range(20)) + b"later\n"
        assert log.problem == ""
        missing, later = self.lines(log)
        assert "[-- 20 lines are missing here: Is a directory --]" in missing
        assert later.endswith("later")

    def test_nor_does_a_mistake_in_making_it(self, plain: World, monkeypatch: pytest.MonkeyPatch) -> None:
        log = plain.log()
        monkeypatch.setattr("vmproxy.log.plaintext.PlainLines.feed", lambda *args: 1 / 0)
        with Logged():
            write(plain, log, b"one\n")
            write(plain, log, b"two\n")
        assert log.path.read_bytes() == b"one\ntwo\n"
        assert log.problem == ""

    def test_what_waited_for_the_disk_is_in_it_too(self, plain: World, monkeypatch: pytest.MonkeyPatch) -> None:
        log = plain.log()
        write_ = os.write
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda fd, data: write_(fd, data[:5]) if len(data) > 5 else _raise(errno.ENOSPC))
            write(plain, log, b"one\ntwo\n")
        plain.tick(1)
        assert log.path.read_bytes() == b"one\ntwo\n"
        plain.tick(6)
        text = "\n".join(self.lines(log))
        assert "two" in text
