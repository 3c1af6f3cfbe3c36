"""Hostile names, links and paths of logs, and consoles after a restart."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import HOSTILE, World, trail
from tests.support.fakes import EPOCH, VM_A, VM_B, VM_C, FakeLink, FakeViewer
from tests.support.properties import examples
from vmproxy.console.naming import NoSuchConsole
from vmproxy.console.notices import LineUp


def links(world: World) -> dict[str, str]:
    world.store.flush()
    folder = world.store.folder / "by-name"
    return {link.name: os.readlink(link) for link in folder.glob("*.log")} if folder.exists() else {}


class TestHostileNames:
    @pytest.mark.parametrize("name", HOSTILE)
    @pytest.mark.parametrize("template", ["{uuid}.log", "{name}.log", "{name}/{port}.log"])
    def test_one_neither_crashes_nor_leaves_the_folder_nor_reaches_a_terminal(
        self, tmp_path: Path, name: str, template: str
    ) -> None:
        world = World(tmp_path, template)
        for port in ("1", "2"):
            console = world.claim(name, port=port, uri=f"vmproxy?port={port}")
            console.feed(b"x")
            if "~" not in name:  # which is the mark of our aliases
                assert world.directory.names.find(name, port) is console
            assert world.directory.names.find(world.directory.names.alias(console)) is console
            for shown in (console.title, world.directory.names.alias(console)):
                assert shown.isprintable()
                assert len(shown) <= 170
        world.directory.rename(console, "tame")
        world.directory.rename(console, name)
        with pytest.raises(NoSuchConsole) as caught:
            world.directory.names.find(name + "!", "3")
        assert str(caught.value).isprintable()
        world.store.stop()
        written = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
        assert sum(path.read_bytes() == b"x" for path in written) == 2
        for path in tmp_path.rglob("*"):
            assert path.resolve().is_relative_to(tmp_path)
            assert str(path.relative_to(tmp_path)).isprintable()
        # Only the journal is outside of the log folder.
        assert {path.name for path in tmp_path.iterdir()} == {"logs", "state"}
        for file in tmp_path.rglob("*.events"):
            assert all(byte >= 0x20 or byte == 0x0A for byte in file.read_bytes())

    @pytest.mark.parametrize("name", HOSTILE)
    def test_an_alias_can_be_typed_after_ssh(self, world: World, name: str) -> None:
        alias = world.directory.names.alias(world.claim(name))
        assert re.fullmatch(r"[\w][\w.~-]*", alias)

    @pytest.mark.parametrize("name", HOSTILE)
    def test_it_is_the_same_console_after_a_restart(self, world: World, name: str) -> None:
        console = world.claim(name)
        console.feed(b"before ")
        alias, path = world.directory.names.alias(console), console.log.path
        again = world.restarted()
        (known,) = again.directory
        assert again.directory.names.alias(known) == alias
        assert again.claim(name) is known
        known.feed(b"after")
        again.store.stop()
        assert known.log.path == path
        assert path.read_bytes() == b"before after"

    def test_a_name_cannot_write_into_another_vms_trail(self, tmp_path: Path) -> None:
        world = World(tmp_path, "{name}")
        victim = world.claim("web", VM_A)
        attacker = world.claim("web.events", VM_B)
        attacker.feed(b'{"at":"2020-01-01T00:00:00.000Z","offset":0,"event":"forged"}\n')
        world.store.stop()
        assert trail(victim.log, "forged") == []

    def test_a_vm_called_like_the_folder_of_links_is_recorded_and_does_not_break_them(self, tmp_path: Path) -> None:
        world = World(tmp_path, "{name}")
        for name, uuid in (("by-name", VM_A), ("web", VM_B)):
            console = world.claim(name, uuid)
            console.feed(b"x")
            world.store.flush()
            assert console.log.path.read_bytes() == b"x"
        assert set(links(world)) == {"by-name.log", "web.log"}
        world.stop()

    def test_many_vms_of_one_name_whose_uuids_begin_alike(self, world: World) -> None:
        # A host may say any UUID; simulators and clones make such ones.
        consoles = [world.claim("web01", UUID(f"50000000-0000-0000-0000-{n:012x}")) for n in range(4)]
        aliases = [world.directory.names.alias(console) for console in consoles]
        assert len(set(aliases)) == len(consoles)
        for console, alias in zip(consoles, aliases, strict=True):
            assert world.directory.names.find(alias) is console
        targets = set(links(world).values())
        assert targets == {f"../{console.log.path.name}" for console in consoles}
        for n, console in enumerate(consoles):
            world.directory.rename(console, f"db{n}")
        assert set(links(world)) == {f"db{n}.log" for n in range(4)}

    def test_two_ports_of_one_vm_that_look_alike_have_aliases_of_their_own(self, world: World) -> None:
        first = world.claim("a.2", port="1")
        second = world.claim("a", port="2")
        for console in (first, second):
            assert world.directory.names.find(world.directory.names.alias(console)) is console

    @examples(60)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["claim", "rename", "lose"]),
                st.sampled_from([VM_A, VM_B, VM_C, UUID(VM_A.hex[:8] + "0" * 24)]),
                st.sampled_from(["1", "2"]),
                st.sampled_from(["", "a", "A", "a b", "a-b", "a.2", "ab", "~", "a~01234567", "vm", str(VM_A)])
                | st.text(max_size=5),
            ),
            max_size=25,
        )
    )
    def test_in_every_state_each_console_is_found_by_its_alias_and_its_uuid(self, steps: list[Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder))
            for verb, uuid, port, name in steps:
                console = next((one for one in world.directory.names.ports(uuid) if one.port == port), None)
                if verb == "claim":
                    world.claim(name, uuid, port, f"vmproxy?port={port}")
                elif console is not None and verb == "rename":
                    world.directory.rename(console, name)
                elif console is not None and console.link is not None:
                    world.lose(console)
            consoles = list(world.directory)
            aliases = [world.directory.names.alias(console) for console in consoles]
            assert len(set(aliases)) == len(aliases)
            names = {console.name for console in consoles}  # an exact name goes first
            uuids = {str(console.uuid) for console in consoles}
            for console, alias in zip(consoles, aliases, strict=True):
                if str(console.uuid) not in names:
                    assert world.directory.names.find(str(console.uuid), console.port) is console
                if alias not in names | uuids:
                    assert world.directory.names.find(alias) is console
                    assert world.directory.names.is_exact(alias, console)
            world.store.stop()
            assert set(os.listdir(folder)) <= {"logs", "state"}


class TestLinks:
    def test_they_lead_from_the_name_to_the_log(self, world: World) -> None:
        web = world.claim("web01")
        world.claim("VM (old)", VM_B)
        assert links(world) == {"web01.log": f"../{VM_A}.log", "VM-old.log": f"../{VM_B}.log"}
        web.feed(b"x")
        world.store.flush()
        assert (world.store.folder / "by-name" / "web01.log").read_bytes() == b"x"

    def test_they_follow_renames(self, world: World) -> None:
        console = world.claim("web01")
        world.directory.rename(console, "db01")
        assert links(world) == {"db01.log": f"../{VM_A}.log"}

    def test_two_vms_may_swap_their_names(self, world: World) -> None:
        one, two = world.claim("web01"), world.claim("db01", VM_B)
        world.directory.rename(one, "tmp")
        world.directory.rename(two, "web01")
        world.directory.rename(one, "db01")
        assert links(world) == {"db01.log": f"../{VM_A}.log", "web01.log": f"../{VM_B}.log"}

    def test_two_vms_of_one_name_have_one_each_and_the_first_keeps_its_own(self, world: World) -> None:
        world.claim("web01")
        world.claim("web01", VM_B)
        assert links(world) == {"web01.log": f"../{VM_A}.log", f"web01~{VM_B.hex[:8]}.log": f"../{VM_B}.log"}

    def test_ports_have_one_each(self, world: World) -> None:
        world.claim("web01", port="1", uri="a")
        world.claim("web01", port="2", uri="b")
        assert links(world) == {"web01.log": f"../{VM_A}.log", "web01.2.log": f"../{VM_A}.2.log"}

    def test_a_rename_that_changes_only_what_is_not_typed_leaves_it_alone(self, world: World) -> None:
        console = world.claim("web 01")
        world.directory.rename(console, "web-01")
        assert links(world) == {"web-01.log": f"../{VM_A}.log"}

    def test_a_name_that_nothing_is_left_of_leaves_no_link_with_the_former_name(self, world: World) -> None:
        console = world.claim("web01")
        world.directory.rename(console, "???")
        assert "web01.log" not in links(world)

    def test_they_are_there_again_after_a_restart(self, world: World) -> None:
        world.claim("web01")
        world.store.flush()
        (world.store.folder / "by-name" / "web01.log").unlink()
        again = world.restarted()
        assert links(again) == {"web01.log": f"../{VM_A}.log"}

    def test_a_rename_while_nobody_looked_is_followed(self, world: World) -> None:
        world.claim("web01")
        again = world.restarted()
        again.claim("db01")
        assert links(again) == {"db01.log": f"../{VM_A}.log"}


class TestLogPaths:
    def test_the_template_names_the_file(self, tmp_path: Path) -> None:
        for template, name in (
            ("{uuid}.log", f"{VM_A}.log"),
            ("{uuid_hex}", VM_A.hex),
            ("{name}-{port}.log", "web01-1.log"),
        ):
            world = World(tmp_path / VM_A.hex / template.strip("{}"), template)
            assert world.claim("web01").log.path.name == name
            world.stop()

    def test_it_stays_when_the_vm_is_renamed_and_over_a_restart(self, tmp_path: Path) -> None:
        world = World(tmp_path, "{name}.log")
        console = world.claim("web01")
        console.feed(b"1")
        world.directory.rename(console, "db01")
        console.feed(b"2")
        again = world.restarted("{name}.log")
        (known,) = again.directory
        known.feed(b"3")
        again.store.stop()
        assert known.log.path.name == "web01.log"
        assert known.log.path.read_bytes() == b"123"

    def test_a_new_vm_of_the_old_name_gets_another_file_over_a_restart_too(self, tmp_path: Path) -> None:
        world = World(tmp_path, "{name}.log")
        world.directory.rename(world.claim("web01"), "db01")
        again = world.restarted("{name}.log")
        assert again.claim("web01", VM_B).log.path.name == f"web01~{VM_B.hex[:8]}.log"
        again.stop()

    def test_another_template_is_taken_up_at_the_restart(self, world: World) -> None:
        world.claim("web01")
        assert [c.log.path.name for c in world.restarted("{name}.log").directory] == ["web01.log"]


class TestRestart:
    def test_known_consoles_are_listed_down_with_since_when_and_why(self, world: World) -> None:
        console = world.claim("web01", port="2", uri="vmproxy?port=2", link=FakeLink("10.0.0.7"))
        world.clock.advance(100)
        world.lose(console, "connection lost: reset by peer")
        (known,) = world.restarted().directory
        assert (known.uuid, known.port, known.name, known.uri) == (VM_A, "2", "web01", "vmproxy?port=2")
        assert (known.state, known.since, known.reason) == ("down", EPOCH + 100, "connection lost: reset by peer")
        assert known.host == "10.0.0.7"

    def test_one_that_was_up_is_down_because_of_the_stop(self, world: World) -> None:
        world.claim("web01")
        (known,) = world.restarted().directory
        assert (known.state, known.reason) == ("down", "the concentrator was stopped")

    def test_one_that_was_up_is_not_down_since_the_moment_it_came_up(self, world: World) -> None:
        # It came up, ran for a day, and then the concentrator was killed.
        console = world.claim("web01")
        came_up = console.since
        world.clock.advance(86400)
        (known,) = world.restarted().directory
        assert known.since != came_up

    def test_a_vm_that_comes_back_is_the_same_console_and_its_log_goes_on(self, world: World) -> None:
        world.claim("web01").feed(b"before ")
        again = world.restarted()
        console = again.claim("web01")
        console.feed(b"after")
        again.store.stop()
        assert len(again.directory) == 1
        assert console.state == "up"
        assert console.reason == ""
        assert console.log.path.read_bytes() == b"before after"
        assert [e["offset"] for e in trail(console.log, "up")] == [0, 7]

    def test_nothing_is_written_to_a_log_by_the_restart_itself(self, world: World) -> None:
        console = world.claim("web01")
        world.store.flush()
        before = Path(console.log.file.trail_path).read_bytes()
        again = world.restarted()
        again.store.stop()
        assert Path(console.log.file.trail_path).read_bytes() == before

    def test_those_of_before_come_in_the_same_order(self, world: World) -> None:
        for n in range(20):
            world.claim(f"vm{n}", UUID(int=n + 1))
        assert [console.name for console in world.restarted().directory] == [f"vm{n}" for n in range(20)]

    def test_a_log_folder_that_went_missing_does_not_matter(self, world: World) -> None:
        world.claim("web01").feed(b"x")
        world.store.flush()
        for path in sorted(world.store.folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        world.store.folder.rmdir()
        again = world.restarted()
        console = again.claim("web01")
        console.feed(b"y")
        again.store.stop()
        assert console.log.path.read_bytes() == b"y"


def test_a_new_connection_after_a_lost_vmotion_does_not_say_that_the_vm_was_away_all_the_time_it_was_up(
    world: World,
) -> None:
    console = world.claim("web01")
    viewer = FakeViewer()
    console.viewers.attach(viewer, write=False)
    world.clock.advance(86400)
    source = console.link
    assert isinstance(source, FakeLink)
    world.migrations.begin(console, source, b"1234")
    world.directory.lost(console, source, "connection closed")
    world.clock.advance(5)
    world.claim("web01")
    (up,) = viewer.told(LineUp)
    assert isinstance(up, LineUp)
    assert up.away is None or up.away <= 60


def test_names_that_differ_in_case_only_never_share_a_log_also_after_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path, "{name}.log")
    first, second = world.claim("Web01", VM_A), world.claim("web01", VM_B)
    paths = [console.log.path for console in (first, second)]
    assert len({str(path).casefold() for path in paths}) == 2
    again = world.restarted("{name}.log")
    assert sorted(console.log.path for console in again.directory) == sorted(paths)


def test_logs_that_differ_in_case_only_and_exist_are_kept(tmp_path: Path) -> None:
    world = World(tmp_path, "{name}.log")
    world.claim("web01", VM_A)
    world.claim("db01", VM_B)
    journal = tmp_path / "state" / "consoles.jsonl"
    again = world.restarted("{name}.log")
    again.stop()
    journal.write_text(journal.read_text().replace('"log":"db01.log"', '"log":"Web01.log"'))
    names = sorted(console.log.path.name for console in World(tmp_path, "{name}.log").directory)
    assert names == ["Web01.log", "web01.log"]
