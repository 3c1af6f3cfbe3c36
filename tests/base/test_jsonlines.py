"""Files of lines that a crash has torn are whole again before anything is written behind the tear."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.consoles import World, trail
from tests.support.fakes import EPOCH, VM_A, VM_B, Logged
from vmproxy.base.jsonlines import LINE_LIMIT, mend
from vmproxy.console.journal import ConsoleRecord, Journal, read_journal
from vmproxy.log.audit import Audit
from vmproxy.log.retry import RETRY_SECONDS

WHOLE = b'{"event":"up"}\n'
KNOWN = ConsoleRecord(str(VM_A), "1", "web", "vmproxy", "a.log", "{uuid}.log", "10.0.0.1", True, EPOCH, "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (WHOLE, WHOLE),
        (WHOLE + b'{"event":"do', WHOLE),
        (WHOLE + WHOLE[:-1], WHOLE + WHOLE),
        (WHOLE + bytes(4096), WHOLE),
        (WHOLE + b'{"event":"x"}' + bytes(10), WHOLE),
        (b'{"event', b""),
        (WHOLE + b"17", WHOLE),
        (WHOLE + b"x" * 200_000, WHOLE),
        (b"x" * 70_000 + b"\n" + b"y" * 70_000, b"x" * 70_000 + b"\n"),
        (b"z" * (LINE_LIMIT + 70_000), b"z" * (LINE_LIMIT + 70_000) + b"\n"),
    ],
)
def test_a_torn_line_goes_and_one_that_lacks_its_end_gets_it(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "x.events"
    path.write_bytes(before)
    mend(path)
    assert path.read_bytes() == after
    mend(path)
    assert path.read_bytes() == after


def test_nothing_is_made_where_nothing_is_and_a_folder_is_an_error(tmp_path: Path) -> None:
    mend(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(OSError, match="directory"):
        mend(tmp_path)


def test_a_trail_goes_on_behind_its_last_whole_line(tmp_path: Path) -> None:
    world = World(tmp_path)
    console = world.claim()
    world.lose(console)  # that of one that was up is mended at the start
    world.tick(1)
    path = console.log.file.trail_path
    with Path(path).open("ab") as file:
        file.write(b'{"at":"2023-11-14T22:13:20.000Z","offset":0,"ev')
    again = world.restarted()
    console = again.claim()
    again.tick(1)
    assert trail(console.log)[-1]["event"] == "up"


def test_that_of_a_console_that_was_up_is_mended_at_the_start(tmp_path: Path) -> None:
    world = World(tmp_path)
    log = world.claim().log
    world.tick(1)
    whole = Path(log.file.trail_path).read_bytes()
    with Path(log.file.trail_path).open("ab") as file:
        file.write(b'{"at":"20')
    world.restarted()
    assert Path(log.file.trail_path).read_bytes() == whole


def test_it_is_put_aside_whole(tmp_path: Path) -> None:
    world = World(tmp_path)
    log = world.log("vm.log")
    log.append(b"bytes")
    world.tick(1)
    with (tmp_path / "logs" / "vm.log.events").open("ab") as file:
        file.write(b'{"at":"20')
    world.writer.rotation.size_limit = 1
    world.writer.rotation.due(tmp_path / "logs" / "vm.log", "size")
    world.writer.tick()
    lines = (tmp_path / "logs" / "vm.log.events.1").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["format", "time"]


def test_audit_and_journal_are_tried_again_every_second_and_told_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    folder = tmp_path / "gone" / "state"
    audit = Audit(folder / "audit.jsonl", world.runner.submit, world.clock, again=world.writer.retry.again)
    journal = Journal(folder / "consoles.jsonl", world.runner.submit, world.writer.retry.again)
    journal.load()
    journal.everything = lambda: [KNOWN]
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_bytes(b"no folder")
    with Logged() as lines:
        audit.record("login")
        journal.record(ConsoleRecord(str(VM_B), *(getattr(KNOWN, name) for name in KNOWN._fields[1:])))
        for _ in range(5):
            world.tick(RETRY_SECONDS)
    assert len([line for line in lines if "cannot write" in line]) == 2
    folder.unlink()
    world.tick(RETRY_SECONDS)
    assert json.loads(audit.path.read_text())["event"] == "login"
    # The one that was written before the folder was removed is there too.
    found = read_journal(journal.path)
    assert ({uuid for uuid, _ in found.records}, found.bad) == ({str(VM_A), str(VM_B)}, [])
