"""What is remembered over a restart: the journal, whatever state a crash, a full disk or a bad hand left it in."""

from __future__ import annotations

import errno
import json
import os
import resource
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import HOSTILE, World
from tests.support.fakes import EPOCH, VM_A, VM_B, Logged, at_once
from vmproxy.console.journal import BAD_LIMIT, ConsoleRecord, Journal, parse

GOOD = ConsoleRecord(
    uuid=str(VM_A),
    port="1",
    name="web01",
    uri="vmproxy",
    log=f"{VM_A}.log",
    template="{uuid}.log",
    host="10.0.0.1",
    up=True,
    since=EPOCH,
    reason="",
)


def line(**changes: object) -> str:
    return json.dumps({**GOOD._asdict(), **changes}) + "\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "consoles.jsonl"


@pytest.fixture
def journal(path: Path) -> Journal:
    journal = Journal(path, at_once)
    journal.load()
    return journal


def loaded(path: Path) -> list[ConsoleRecord]:
    return Journal(path, at_once).load()


class TestRemembering:
    def test_without_a_journal_nothing_is_known_and_one_is_made(self, path: Path) -> None:
        assert loaded(path) == []
        assert path.exists()

    def test_the_last_word_on_a_console_counts_and_the_order_is_that_of_the_first(
        self, journal: Journal, path: Path
    ) -> None:
        other = GOOD._replace(uuid=str(VM_B), name="db01")
        second = GOOD._replace(port="2")
        for known in (GOOD, other, second, GOOD._replace(name="web02", up=False, reason="gone")):
            journal.record(known)
        assert loaded(path) == [GOOD._replace(name="web02", up=False, reason="gone"), other, second]

    def test_a_change_back_is_a_change(self, journal: Journal, path: Path) -> None:
        for up in (True, False, True):
            journal.record(GOOD._replace(up=up))
        assert loaded(path)[0].up is True

    def test_loading_leaves_one_line_for_each_console(self, journal: Journal, path: Path) -> None:
        for n in range(100):
            journal.record(GOOD._replace(since=EPOCH + n))
        loaded(path)
        mark, record = path.read_text().splitlines()
        assert (mark, json.loads(record)["since"]) == ('{"format":1}', EPOCH + 99)

    def test_it_does_not_grow_for_ever_while_running(
        self, journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vmproxy.console.journal.REWRITE_AT", 2000)
        for n in range(200):
            journal.record(GOOD._replace(since=EPOCH + n))
            assert path.stat().st_size < 2000 + 400
        assert loaded(path) == [GOOD._replace(since=EPOCH + 199)]

    @pytest.mark.parametrize("name", HOSTILE)
    def test_a_name_comes_back_as_it_was(self, journal: Journal, path: Path, name: str) -> None:
        journal.record(GOOD._replace(name=name))
        assert path.read_bytes().count(b"\n") == 2
        assert [known.name for known in loaded(path)] == [name]

    def test_a_change_made_while_the_disk_hangs_is_written_afterwards(self, path: Path) -> None:
        jobs: list[Callable[[], object]] = []
        journal = Journal(path, jobs.append)
        journal.load()
        for n in range(10):
            journal.record(GOOD._replace(since=EPOCH + n))
        assert len(jobs) == 1  # one job for all of them
        jobs.pop()()
        assert loaded(path) == [GOOD._replace(since=EPOCH + 9)]


class TestDisksThatFail:
    def test_what_could_not_be_written_is_written_with_the_next_change(self, journal: Journal, path: Path) -> None:
        journal.record(GOOD)
        path.unlink()
        path.mkdir()
        other = GOOD._replace(uuid=str(VM_B))
        with Logged() as lines:
            journal.record(other)
        assert any("cannot write" in line for line in lines)
        path.rmdir()
        journal.record(GOOD._replace(port="2"))
        assert other in loaded(path)

    def test_one_failure_does_not_end_remembering_for_good(self, journal: Journal, path: Path) -> None:
        path.unlink()
        path.mkdir()
        journal.record(GOOD)
        path.rmdir()
        for n in range(3):
            journal.record(GOOD._replace(since=EPOCH + n))
        assert loaded(path) == [GOOD._replace(since=EPOCH + 2)]

    def test_changes_that_met_a_full_disk_are_not_forgotten(
        self, journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The file opens; what is written to it does not go through.
        original = Path.open

        class Full:
            def __init__(self, file: Any) -> None:
                self.file = file

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *exc: object) -> None:
                self.file.close()
                if exc[0] is None:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            def write(self, text: str) -> Any:
                return len(text)

            def tell(self) -> Any:
                return 0

            def __getattr__(self, name: str) -> Any:
                return getattr(self.file, name)

        with monkeypatch.context() as patch, Logged() as lines:
            patch.setattr(Path, "open", lambda self, *args, **kwargs: Full(original(self, *args, **kwargs)))
            journal.record(GOOD)
        assert any("No space left" in line for line in lines)
        other = GOOD._replace(uuid=str(VM_B))
        journal.record(other)
        assert loaded(path) == [GOOD, other]

    def test_what_a_full_disk_takes_a_part_of_is_taken_back(self, journal: Journal, path: Path) -> None:
        journal.record(GOOD)
        size = path.stat().st_size
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
        try:
            journal.record(GOOD._replace(uuid=str(VM_B)))
            assert path.stat().st_size == size
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        journal.record(GOOD._replace(since=EPOCH + 1))
        assert [known.uuid for known in loaded(path)] == [str(VM_A), str(VM_B)]

    def test_a_line_cut_short_by_a_full_disk_costs_only_itself(self, journal: Journal, path: Path) -> None:
        # What an append leaves that ran out of space in the middle of a line.
        journal.record(GOOD)
        with path.open("ab") as file:
            file.write(b'{"uuid":"torn')
        other = GOOD._replace(uuid=str(VM_B))
        journal.record(other)
        assert loaded(path) == [GOOD, other]

    def test_a_journal_that_cannot_be_read_is_told(self, path: Path) -> None:
        path.mkdir(parents=True)
        with pytest.raises(OSError, match="Is a directory"):
            loaded(path)


NONSENSE = {
    "torn": line()[:-20],
    "empty": "\n",
    "no JSON": "what is this\n",
    "a list": "[1, 2]\n",
    "null": "null\n",
    "a field missing": json.dumps({k: v for k, v in GOOD._asdict().items() if k != "log"}) + "\n",
    "a number as name": line(name=5),
    "a text as time": line(since="yesterday"),
    "null as host": line(host=None),
    "no UUID": line(uuid="web01"),
    "NULs": "\0" * 4096 + "\n",
    "deep": "[" * 100_000 + "\n",
    "a huge number": line().replace(str(EPOCH), "9" * 5000),
    "infinite time": line(since=float("inf")),
    "no time": line(since=float("nan")),
    "a time that no calendar has": line(since=1e300),
    "a log outside of the folder": line(log="../../etc/passwd"),
    "a log somewhere else": line(log="/etc/passwd"),
    "a log that cannot be opened": line(log="a\0b"),
}


class TestNonsense:
    @pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
    def test_a_line_that_makes_no_sense_is_set_aside_with_a_warning(self, path: Path, nonsense: Any) -> None:
        path.parent.mkdir()
        other = line(uuid=str(VM_B))
        path.write_text(line() + other + nonsense.rstrip("\n") + "\n" + line(uuid=str(VM_B), port="2"))
        with Logged() as lines:
            known = loaded(path)
        assert [(k.uuid, k.port) for k in known] == [(str(VM_A), "1"), (str(VM_B), "1"), (str(VM_B), "2")]
        assert any("1 lines of" in text and "consoles.jsonl.bad" in text for text in lines)
        assert (path.parent / "consoles.jsonl.bad").read_text() == nonsense.rstrip("\n") + "\n"
        with Logged() as lines:
            loaded(path)
        assert lines == []

    def test_lines_that_were_set_aside_stay_and_have_a_bound(self, path: Path) -> None:
        path.parent.mkdir()
        bad = path.parent / "consoles.jsonl.bad"
        for text in ("one", "two"):
            path.write_text(text + "\n")
            loaded(path)
        assert bad.read_text() == "one\ntwo\n"
        assert stat.S_IMODE(bad.stat().st_mode) & 0o137 == 0
        with bad.open("r+b") as file:
            file.truncate(BAD_LIMIT)
        path.write_text("three\n")
        loaded(path)
        assert bad.read_text() == "three\n"

    def test_what_cannot_be_set_aside_is_not_erased(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_text("one\n")
        (path.parent / "consoles.jsonl.bad").symlink_to("/dev/null")
        with pytest.raises(OSError, match=r"consoles\.jsonl\.bad"):
            loaded(path)
        assert path.read_text() == "one\n"

    @pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
    def test_a_journal_of_nothing_else_does_not_keep_the_concentrator_from_working(
        self, tmp_path: Path, nonsense: Any
    ) -> None:
        path = tmp_path / "state" / "consoles.jsonl"
        path.parent.mkdir()
        path.write_text(nonsense)
        world = World(tmp_path)
        console = world.claim()
        console.feed(b"x")
        world.store.flush()
        assert console.log.path.read_bytes() == b"x"
        assert console.log.path.resolve().is_relative_to(world.store.folder.resolve())
        world.stop()

    def test_bytes_that_are_no_text(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(line().encode() + b"\xff\xfe\x00\n" + line(port="2").encode())
        assert len(loaded(path)) == 2

    def test_fields_of_a_later_version_are_kept(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_text('{"format":2,"by":"9.0"}\n' + line(colour="red", parts=[1, {"a": "ü"}]) + line(port="2"))
        with Logged() as lines:
            journal = Journal(path, at_once)
            assert journal.load() == [GOOD, GOOD._replace(port="2")]
        assert any("later version" in text for text in lines)
        journal.record(GOOD._replace(up=False))  # also when this version writes the console's record
        for _ in range(2):
            assert loaded(path)[0].up is False
            values = [json.loads(text) for text in path.read_text().splitlines()]
            assert [(v.get("colour"), v.get("parts")) for v in values[1:]] == [("red", [1, {"a": "ü"}]), (None, None)]
        journal = Journal(path, at_once)
        journal.load()
        journal.forget(GOOD)
        journal.record(GOOD)  # a new console of the same identity
        assert "colour" not in path.read_text().splitlines()[-1]

    def test_a_bios_uuid_is_one_in_any_spelling_or_the_line_is_set_aside(self, path: Path) -> None:
        path.parent.mkdir()
        good = line(bios=str(VM_B).upper(), vc=str(VM_A))
        path.write_text(good + line(port="2", bios="x") + line(port="3", bios=1) + line(port="4", vc="x"))
        assert loaded(path) == loaded(path) == [GOOD._replace(bios=VM_B.hex, vc=VM_A.hex)]
        assert (path.parent / "consoles.jsonl.bad").read_text().count("\n") == 3

    def test_fields_that_are_absent_have_defaults(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_text(json.dumps({"uuid": str(VM_A), "log": "a.log"}) + "\n")
        record = ConsoleRecord(str(VM_A), "1", "", "", "a.log", "", "", up=False, since=0, reason="")
        assert loaded(path) == loaded(path) == [record]
        assert not (path.parent / "consoles.jsonl.bad").exists()

    def test_a_uuid_in_another_spelling_is_the_same_console(self, tmp_path: Path) -> None:
        path = tmp_path / "state" / "consoles.jsonl"
        path.parent.mkdir()
        path.write_text(line() + line(uuid=VM_A.hex.upper(), name="web02"))
        world = World(tmp_path)
        assert len(list(world.directory)) == 1
        assert len(world.directory.names.ports(VM_A)) == 1
        assert world.directory.names.find(str(VM_A)).name == "web02"
        with pytest.raises(Exception, match="no such console"):
            world.directory.names.find("web01")
        world.stop()

    @given(st.lists(st.text(max_size=30) | st.sampled_from([line().strip(), line(port="2")[:-9], "{}"])))
    def test_no_line_is_anything_but_a_console_or_a_value_error(self, texts: Any) -> None:
        for text in texts:
            try:
                parse(json.loads(text))
            except (ValueError, RecursionError):
                continue
            assert json.loads(text)["uuid"]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "consoles.jsonl")
            path.write_text("\n".join(texts), encoding="utf-8", errors="replace")
            once = loaded(path)
            assert loaded(path) == once

    def test_it_is_a_plain_file_that_is_replaced_as_a_whole(self, journal: Journal, path: Path) -> None:
        journal.record(GOOD)
        before = path.stat().st_ino
        loaded(path)
        assert stat.S_ISREG(path.stat().st_mode)
        assert path.stat().st_ino != before
        assert [file.name for file in path.parent.iterdir()] == [path.name]


@given(
    st.builds(
        ConsoleRecord,
        uuid=st.uuids().map(str),
        port=st.text(),
        name=st.text(),
        uri=st.text(),
        log=st.text('ab."\\\n', min_size=3),
        template=st.text(),
        host=st.text(),
        up=st.booleans(),
        since=st.floats(0, 4e9),
        reason=st.text(),
    ),
    st.sampled_from(["", "BIOS UUID"]),
    st.sampled_from(["", str(VM_A)]),
    st.sampled_from([("", ""), (VM_B.hex, ""), (VM_B.hex, VM_A.hex)]),
)
def test_a_line_is_the_json_of_its_record(
    known: ConsoleRecord, known_by: str, location: str, others: tuple[str, str]
) -> None:
    known = known._replace(known_by=known_by, location=location if known_by else "", bios=others[0], vc=others[1])
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder, "consoles.jsonl"), at_once)
        journal.load()
        journal.record(known)
        _, text = journal.path.read_text().splitlines()
    values = known._asdict()
    if not known.known_by:
        del values["known_by"], values["location"]
    for name in ("bios", "vc"):
        if not values[name]:
            del values[name]
    assert json.loads(text) == values
    if ".." not in known.log and known.log != ".":
        assert parse(json.loads(text)) == known


# What version 0.1.0 wrote, and what it reads: these fields, of these types, and no other lines.
OLD = (
    '{"uuid":"564d0000-0000-0000-0000-00000000000a","port":"1","name":"web01","uri":"vmproxy",'
    '"log":"564d0000-0000-0000-0000-00000000000a.log","template":"{uuid}.log","host":"10.0.0.1","reason":"",'
    '"up":true,"since":1700000000.5}\n'
    '{"uuid":"564d0000-0000-0000-0000-00000000000b","port":"2","name":"","uri":"vmproxy","log":"b.log",'
    '"template":"{uuid}.log","host":"10.0.0.2","reason":"the connection was closed","up":false,"since":1700000001}\n'
)
OLD_TYPES = dict.fromkeys(("uuid", "port", "name", "uri", "log", "template", "host", "reason"), str) | {
    "up": bool,
    "since": (int, float),
}


def test_a_journal_of_version_0_1_0_is_read_and_that_version_reads_ours(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(OLD)
    with Logged() as lines:
        journal = Journal(path, at_once)
        known = journal.load()
    assert [(k.name, k.port, k.up, k.since) for k in known] == [
        ("web01", "1", True, 1700000000.5),
        ("", "2", False, 1.7e9 + 1),
    ]
    assert lines == []
    journal.record(known[0]._replace(name="web02", bios=VM_A.hex, vc=VM_B.hex))
    mark, *ours = path.read_text().splitlines()
    assert "uuid" not in mark  # a line that it drops with a warning
    values = [json.loads(text) for text in ours]
    assert all(isinstance(v[name], wanted) for v in values for name, wanted in OLD_TYPES.items())  # type: ignore[arg-type]  # of a table
    assert [v["name"] for v in values] == ["web01", "", "web02"]
