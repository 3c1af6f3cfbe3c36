"""Consoles that are forgotten: they are in no list, and new if they come back; their logs stay, or go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import World, trail
from tests.support.fakes import VM_A, VM_B, FakeLink, FakeViewer
from vmproxy.console.console import Console
from vmproxy.console.naming import NoSuchConsole
from vmproxy.console.notices import Kicked
from vmproxy.console.registry import StillThere
from vmproxy.log.rotation import RotationPolicy


@pytest.fixture
def w(tmp_path: Path) -> World:
    return World(tmp_path)


def down(w: World, name: str = "web01", said: bytes = b"hello\n") -> Console:
    console = w.claim(name)
    console.feed(said)
    w.lose(console)
    w.store.flush()
    return console


def files(w: World) -> set[str]:
    w.store.flush()
    folder = w.store.folder
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}


class TestForget:
    def test_it_is_in_no_list_any_more_and_its_log_stays(self, w: World) -> None:
        console = down(w)
        w.directory.forget(console, "alice@10.0.0.9")
        assert (list(w.directory), len(w.directory), w.directory.names.ports(VM_A)) == ([], 0, ())
        for target in ("web01", str(VM_A), "w"):
            with pytest.raises(NoSuchConsole):
                w.directory.names.find(target)
        assert console.log.path.read_bytes() == b"hello\n"
        assert trail(console.log)[-1]["event"] == "forgotten"
        assert trail(console.log, "forgotten")[0]["who"] == "alice@10.0.0.9"
        assert files(w) == {f"{VM_A}.log", f"{VM_A}.log.events"}  # no link

    def test_it_comes_back_as_a_new_one_and_its_log_goes_on(self, w: World) -> None:
        old = down(w)
        w.directory.forget(old, "alice")
        new = w.claim("web01")
        assert new is not old
        assert w.directory.names.find("web01") is new
        new.feed(b"again\n")
        w.store.flush()
        assert new.log.path == old.log.path
        assert new.log.path.read_bytes() == b"hello\nagain\n"
        assert new.log.offset == 12
        offsets = [event["offset"] for event in trail(new.log)]
        assert offsets == sorted(offsets)

    def test_it_stays_forgotten_over_a_restart(self, w: World) -> None:
        w.directory.forget(down(w), "alice")
        w.claim("db01", VM_B)
        again = w.restarted()
        assert [console.name for console in again.directory] == ["db01"]
        assert len(again.journal.path.read_bytes().splitlines()) == 2
        assert again.claim("web01").log.name == f"{VM_A}.log"

    def test_one_that_came_back_is_known_after_a_restart(self, w: World) -> None:
        w.directory.forget(down(w), "alice")
        w.claim("web01")
        assert w.restarted().console.name == "web01"

    def test_its_files_go_if_that_is_wanted(self, w: World) -> None:
        w.writer.use(RotationPolicy(size=10, keep=5), plain=True)
        console = w.claim("web01")
        for _ in range(4):
            console.feed(b"0123456789")
            w.store.flush()
            w.tick(10)
        w.lose(console)
        other = w.claim("web01", VM_B)
        other.feed(b"mine")
        assert f"{VM_A}.log.1" in files(w)
        assert f"{VM_A}.txt" in files(w)
        done: list[object] = []
        w.directory.forget(console, "alice", remove_log=True).addBoth(done.append)
        assert done == [None]
        assert {name for name in files(w) if str(VM_A) in name} == set()
        assert {"by-name/web01.log", f"{VM_B}.log"} <= files(w)
        w.tick(1000)
        assert {name for name in files(w) if str(VM_A) in name} == set()
        new = w.claim("web01")
        new.feed(b"anew")
        w.store.flush()
        assert (new.log.path.read_bytes(), new.log.offset) == (b"anew", 4)

    def test_what_cannot_be_removed_is_told(self, w: World) -> None:
        console = down(w)
        console.log.path.unlink()
        console.log.path.mkdir()
        failed: list[object] = []
        w.directory.forget(console, "alice", remove_log=True).addErrback(lambda failure: failed.append(failure.value))
        assert isinstance(failed[0], OSError)
        assert list(w.directory) == []

    @pytest.mark.parametrize("remove", [True, False])
    def test_what_could_not_be_written_is_not_written_to_a_log_that_is_removed(self, w: World, remove: bool) -> None:
        console = down(w)
        w.writer.reopen()
        console.log.path.rename(console.log.path.with_suffix(".away"))
        console.log.path.mkdir()
        w.claim("web01")
        console.feed(b"lost")
        w.lose(console)
        w.tick(2)
        console.log.path.rmdir()
        w.directory.forget(console, "alice", remove_log=remove).addErrback(lambda _: None)
        w.tick(5)
        assert console.log.path.exists() is not remove

    def test_only_what_is_down(self, w: World) -> None:
        console = w.claim("web01")
        with pytest.raises(StillThere) as caught:
            w.directory.forget(console, "alice")
        assert str(caught.value) == "web01: only a console that is down can be forgotten"
        assert console.link is not None
        w.migrations.begin(console, console.link, b"1")
        w.directory.lost(console, console.link, "gone")
        with pytest.raises(StillThere):
            w.directory.forget(console, "alice")
        w.clock.advance(10_000)
        w.directory.forget(console, "alice")
        with pytest.raises(StillThere):
            w.directory.forget(console, "alice")

    def test_who_waits_for_it_is_disconnected(self, w: World) -> None:
        console = down(w)
        viewer = FakeViewer("bob")
        console.viewers.attach(viewer, write=True)
        w.directory.forget(console, "alice")
        assert Kicked("alice", "the console is forgotten") in viewer.notices
        assert console.viewers.all == ()

    def test_nothing_is_summed_up_for_it_later(self, w: World) -> None:
        console = w.claim("web01")
        for n in range(40):
            w.directory.rename(console, f"web{n % 2}")
            w.claim(console.name, link=FakeLink(f"10.0.1.{n}"))
        w.lose(console)
        w.directory.forget(console, "alice", remove_log=True)
        w.clock.advance(1000)
        w.directory.stop()
        assert files(w) == set()

    def test_the_name_is_that_of_the_other(self, w: World) -> None:
        one, two = down(w), w.claim("web01", VM_B)
        w.lose(two)
        w.directory.forget(two, "alice")
        assert w.directory.names.find("web01") is one
        assert w.directory.names.alias(one) == "web01"
        assert files(w) >= {"by-name/web01.log"}
        assert (w.store.folder / "by-name/web01.log").resolve() == one.log.path
        w.directory.forget(one, "alice")
        assert not any(name.startswith("by-name") for name in files(w))

    @given(steps=st.lists(st.sampled_from(["up", "down", "forget", "restart", "crash"]), max_size=12))
    def test_whatever_happens_in_whatever_order(
        self, tmp_path_factory: pytest.TempPathFactory, steps: list[str]
    ) -> None:
        w = World(tmp_path_factory.mktemp("world"))
        known, said = False, b""
        for step in steps:
            console = next(iter(w.directory), None)
            if step == "up":
                console = w.claim("web01", link=FakeLink(f"10.0.1.{len(said)}"))
                console.feed(b"x")
                said, known = said + b"x", True
            elif step == "down" and console is not None and console.link is not None:
                w.lose(console)
            elif step == "forget" and console is not None and console.link is None:
                w.directory.forget(console, "alice")
                known = False
            elif step in ("restart", "crash"):
                w.store.flush()
                if step == "crash":
                    with w.journal.path.open("ab") as file:
                        file.write(b'{"uuid":"')
                w = w.restarted()
            assert len(list(w.directory)) == known
        w.store.flush()
        log = w.store.folder / f"{VM_A}.log"
        assert (log.read_bytes() if log.exists() else b"") == said


@pytest.mark.parametrize(
    "line",
    [
        '{"uuid":"x","port":"1","forgotten":true}',
        '{"port":"1","forgotten":true}',
        f'{{"uuid":"{VM_A}","forgotten":true}}',
        f'{{"uuid":"{VM_A}","port":"1","forgotten":1}}',
        '{"uuid":7,"port":"1","forgotten":true}',
        "[" * 100_000,
    ],
    ids=["uuid", "none", "port", "not true", "number", "deep"],
)
def test_a_line_that_is_not_whole_forgets_nothing(w: World, line: str) -> None:
    down(w)
    w.store.flush()
    with w.journal.path.open("a") as file:
        file.write(line + "\n")
    assert w.restarted().console.name == "web01"


def test_the_line_is_json(w: World) -> None:
    w.directory.forget(down(w), "alice")
    w.store.flush()
    lines = [json.loads(line) for line in w.journal.path.read_text().splitlines()]
    assert lines[-1] == {"uuid": str(VM_A), "port": "1", "forgotten": True}


class TestVMotion:
    """What is left of a vMotion is not left to a console that nobody finds."""

    SEQUENCE = b"1234"

    def test_a_destination_that_was_overtaken_is_closed(self, w: World) -> None:
        source, destination, other = FakeLink("10.0.0.1"), FakeLink("10.0.0.2"), FakeLink("10.0.0.3")
        console = w.claim("web01", link=source)
        pending = w.migrations.begin(console, source, self.SEQUENCE)
        w.migrations.peer(destination, pending.pair, VM_A)
        w.claim("web01", link=other)
        w.lose(console)
        w.directory.forget(console, "alice", remove_log=True)
        assert destination.calls == ["release"]
        assert not w.migrations.complete(destination, self.SEQUENCE)
        assert console.link is None
        assert not w.migrations.destination_lost(destination, "closed")
        assert files(w) == set()

    def test_nothing_is_summed_up_later(self, w: World) -> None:
        console = w.claim("web01")
        for _ in range(20):
            w.migrations.may_begin(console)
        w.lose(console)
        w.directory.forget(console, "alice", remove_log=True)
        w.tick(120)
        assert files(w) == set()
