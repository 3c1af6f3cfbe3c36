"""Finding consoles: by name, VC UUID, alias and prefix; what a restart brings back; names that attack."""

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
from tests.support.fakes import EPOCH, VM_A, VM_B, VM_C, FakeLink, FakeViewer, one_turn
from tests.support.properties import examples
from vmproxy.access.policy import Policy
from vmproxy.access.policy_file import parse_policy
from vmproxy.base.turns import SPAN
from vmproxy.console.console import Console
from vmproxy.console.duplicates import ClaimRefused
from vmproxy.console.naming import AmbiguousConsole, NoSuchConsole
from vmproxy.console.notices import LineUp
from vmproxy.errors import VMProxyError

SPELLINGS = {
    "canonical": str(VM_B),
    "upper case": str(VM_B).upper(),
    "no dashes": VM_B.hex,
    "as vSphere writes it": "50 28 a5 bc 11 11 22 22-33 33 44 44 55 55 66 66",
    "braces": f"{{{VM_B}}}",
}


def links(world: World) -> dict[str, str]:
    world.store.flush()
    folder = world.store.folder / "by-name"
    return {link.name: os.readlink(link) for link in folder.glob("*.log")} if folder.exists() else {}


class TestFinding:
    def test_by_exact_name(self, world: World) -> None:
        web, db = world.claim("web01"), world.claim("VM (old) #3", VM_B)
        assert world.directory.names.find("web01") is web
        assert world.directory.names.find("VM (old) #3") is db

    @pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
    def test_by_uuid_in_any_spelling(self, world: World, spelling: str) -> None:
        world.claim("web01")
        db = world.claim("db01", VM_B)
        assert world.directory.names.find(spelling) is db
        assert world.directory.names.is_exact(spelling, db)

    def test_by_alias(self, world: World) -> None:
        console = world.claim("VM (old) #3")
        assert world.directory.names.alias(console) == "VM-old-3"
        assert world.directory.names.find("VM-old-3") is console

    def test_by_unique_prefix_in_any_case(self, world: World) -> None:
        web = world.claim("Web01")
        world.claim("db01", VM_B)
        assert world.directory.names.find("we") is web
        assert world.directory.names.find("WEB0") is web

    def test_a_prefix_of_the_alias_will_do(self, world: World) -> None:
        console = world.claim("(VM) old")
        assert world.directory.names.find("vm-o") is console

    def test_nothing(self, world: World) -> None:
        world.claim("web01")
        for target in ("", "x", "web011", "eb01", " ", "~", ".", "web01.", ".1", "web01.2", "web01~ffffffff"):
            with pytest.raises(NoSuchConsole):
                world.directory.names.find(target)

    def test_what_is_not_found_is_told_without_its_escapes(self, world: World) -> None:
        with pytest.raises(NoSuchConsole) as caught:
            world.directory.names.find("x\x1b[2J\n", "\x1b[m")
        assert str(caught.value).isprintable()

    def test_an_exact_name_goes_before_an_alias_and_a_prefix(self, world: World) -> None:
        target = world.claim("VM (old)")
        for n, name in enumerate(("VM-old", "VM")):
            named = world.claim(name, UUID(int=n + 1))
            assert world.directory.names.find(name) is named
        assert world.directory.names.find("VM (old)") is target

    def test_a_uuid_goes_before_an_alias(self, world: World) -> None:
        target = world.claim("web01")
        other = world.claim(f"({VM_A.hex})", VM_B)
        assert world.directory.names.find(VM_A.hex) is target
        assert world.directory.names.find(world.directory.names.alias(other)) is other

    def test_an_alias_goes_before_a_prefix(self, world: World) -> None:
        web = world.claim("(web)")
        world.claim("web01", VM_B)
        assert world.directory.names.find("web") is web

    def test_a_name_goes_before_longer_ones_that_begin_so(self, world: World) -> None:
        web = world.claim("web")
        world.claim("web01", VM_B)
        assert world.directory.names.find("web") is web

    def test_two_vms_of_one_name_are_ambiguous_and_the_choices_are_told(self, world: World) -> None:
        one, two = world.claim("web01"), world.claim("web01", VM_B)
        world.claim("db01", VM_C)
        with pytest.raises(AmbiguousConsole) as caught:
            world.directory.names.find("web01")
        assert caught.value.choices == [one, two]
        assert "2 consoles" in str(caught.value)
        assert isinstance(caught.value, VMProxyError)

    def test_an_ambiguous_prefix(self, world: World) -> None:
        one, two = world.claim("web01"), world.claim("WEB02", VM_B)
        with pytest.raises(AmbiguousConsole) as caught:
            world.directory.names.find("web")
        assert caught.value.choices == [one, two]

    def test_what_is_ambiguous_is_told_without_its_escapes(self, world: World) -> None:
        for uuid in (VM_A, VM_B):
            world.claim("x\x1b[2J", uuid)
        with pytest.raises(AmbiguousConsole) as caught:
            world.directory.names.find("x\x1b[2J")
        assert str(caught.value).isprintable()

    def test_two_vms_of_one_name_have_aliases_of_their_own(self, world: World) -> None:
        consoles = [world.claim("web01"), world.claim("web01", VM_B)]
        for console in consoles:
            alias = world.directory.names.alias(console)
            assert alias == f"web01~{console.uuid.hex[:8]}"
            assert world.directory.names.find(alias) is console
            assert world.directory.names.is_exact(alias, console)

    def test_a_renamed_vm_is_found_by_its_new_name_only(self, world: World) -> None:
        console = world.claim("web01")
        world.directory.rename(console, "db01")
        assert world.directory.names.find("db01") is console
        with pytest.raises(NoSuchConsole):
            world.directory.names.find("web01")

    def test_a_down_console_is_found(self, world: World) -> None:
        console = world.claim("web01")
        world.lose(console, "connection lost")
        assert world.directory.names.find("web01") is console
        assert (console.state, console.reason) == ("down", "connection lost")


class TestForce:
    """A prefix never selects for ``force``."""

    @pytest.mark.parametrize("target", ["w", "web0", "WEB01", "web-", "web~", "~", f"web01~{VM_A.hex[:3]}", "web01~0"])
    def test_what_is_cut_short_is_not_exact(self, world: World, target: str) -> None:
        console = world.claim("web01")
        assert not world.directory.names.is_exact(target, console)

    @pytest.mark.parametrize("digits", ["", "0", VM_A.hex[:7]])
    def test_an_alias_with_part_of_its_digits_is_not_exact(self, world: World, digits: int) -> None:
        console = world.claim("")
        world.claim("db01", VM_B)
        assert world.directory.names.alias(console) == f"vm~{VM_A.hex[:8]}"
        assert not world.directory.names.is_exact(f"vm~{digits}", console)

    @pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
    def test_a_uuid_in_full_with_its_port_is_exact(self, world: World, spelling: str) -> None:
        world.claim("db01", VM_B)
        second = world.claim("db01", VM_B, "2")
        assert world.directory.names.find(f"{spelling}.2") is second
        assert world.directory.names.is_exact(f"{spelling}.2", second)

    @pytest.mark.parametrize("target", ["VM (old)", "VM-old", "VM (old).1", str(VM_A)])
    def test_what_is_in_full_is_exact(self, world: World, target: str) -> None:
        console = world.claim("VM (old)")
        assert world.directory.names.find(target) is console
        assert world.directory.names.is_exact(target, console)


class TestPorts:
    @pytest.fixture
    def two(self, world: World) -> tuple[Console, Console]:
        return world.claim("web01", port="1", uri="vmproxy?port=1"), world.claim(
            "web01", port="2", uri="vmproxy?port=2"
        )

    def test_the_label_in_the_uri_tells_them_apart(self, world: World, two: tuple[Console, Console]) -> None:
        assert [console.port for console in two] == ["1", "2"]
        assert two[0].log.path != two[1].log.path
        assert [console.title for console in two] == ["web01", "web01.2"]

    @pytest.mark.parametrize("name", ["web01", str(VM_A), VM_A.hex.upper(), "web"])
    def test_a_bare_name_means_the_first(self, world: World, two: tuple[Console, Console], name: str) -> None:
        assert world.directory.names.find(name) is two[0]

    @pytest.mark.parametrize("name", ["web01", str(VM_A), VM_A.hex.upper()])
    def test_the_port_behind_a_dot_or_apart(self, world: World, two: tuple[Console, Console], name: str) -> None:
        for port in ("1", "2"):
            assert world.directory.names.find(f"{name}.{port}") is two[int(port) - 1]
            assert world.directory.names.find(name, port) is two[int(port) - 1]
        for wanted in ((f"{name}.3", None), (name, "3")):
            with pytest.raises(NoSuchConsole):
                world.directory.names.find(*wanted)

    def test_the_port_apart_goes_with_a_prefix(self, world: World, two: tuple[Console, Console]) -> None:
        assert world.directory.names.find("we", "2") is two[1]

    def test_an_exact_name_with_a_dot_goes_before_a_port(self, world: World, two: tuple[Console, Console]) -> None:
        named = world.claim("web01.2", VM_B)
        assert world.directory.names.find("web01.2") is named
        assert world.directory.names.find("web01", "2") is two[1]

    def test_the_first_is_the_lowest_by_number(self, world: World) -> None:
        for port in ("10", "kgdb", "9"):
            world.claim("web01", port=port, uri=f"vmproxy?port={port}")
        assert world.directory.names.find("web01").port == "9"

    def test_a_label_may_be_a_word(self, world: World) -> None:
        console = world.claim("web01", port="kgdb")
        assert world.directory.names.find("web01.kgdb") is console
        assert world.directory.names.find("web01") is console

    def test_the_second_port_of_one_of_two_vms_of_one_name(self, world: World) -> None:
        world.claim("web01", VM_A, "1")
        other = world.claim("web01", VM_B, "1", "vmproxy?port=1")
        second = world.claim("web01", VM_B, "2", "vmproxy?port=2")
        assert world.directory.names.find(f"web01~{VM_B.hex[:8]}") is other
        # What is typed must not go to the first port.
        assert world.directory.names.find(f"web01~{VM_B.hex[:8]}", "2") is second
        assert world.directory.names.find(f"web01~{VM_B.hex[:8]}.2") is second

    def test_a_port_that_is_not_there_is_not_found_behind_an_alias_either(self, world: World) -> None:
        world.claim("web01", VM_A)
        world.claim("web01", VM_B)
        with pytest.raises(NoSuchConsole):
            world.directory.names.find(f"web01~{VM_B.hex[:8]}.7")

    def test_the_first_of_two_ports_keeps_the_plain_name_as_its_alias(self, world: World) -> None:
        first = world.claim("web01", port="1")
        second = world.claim("web01", port="2")
        assert (world.directory.names.alias(first), world.directory.names.alias(second)) == ("web01", "web01.2")

    def test_a_port_of_a_name_that_two_vms_have_is_ambiguous(self, world: World) -> None:
        consoles = [world.claim("web01", uuid, port=port) for uuid in (VM_A, VM_B) for port in ("1", "2")]
        with pytest.raises(AmbiguousConsole):
            world.directory.names.find("web01.2")
        for console in consoles:
            assert world.directory.names.find(world.directory.names.alias(console)) is console

    def test_the_ports_of_a_vm_without_a_name(self, world: World) -> None:
        for uuid in (VM_A, VM_B):
            for port in ("1", "2"):
                console = world.claim("", uuid, port, f"vmproxy?port={port}")
                assert world.directory.names.find(world.directory.names.alias(console)) is console

    def test_without_labels_different_uris_that_are_open_at_once_tell_them_apart(self, world: World) -> None:
        one, two = world.claim(uri="vmproxy"), world.claim(uri="vSPC.py")
        assert (one.port, two.port) == ("1", "2")
        # And they stay what they are, whichever comes back first.
        for console in (one, two):
            world.lose(console)
        assert world.claim(uri="vSPC.py") is two
        assert world.claim(uri="vmproxy") is one

    def test_a_uri_that_was_edited_while_the_vm_was_off_is_the_same_port(self, world: World) -> None:
        console = world.claim(uri="vmproxy")
        world.lose(console)
        assert world.claim(uri="vSPC.py") is console
        assert console.uri == "vSPC.py"

    def test_the_same_uri_again_replaces_the_connection(self, world: World) -> None:
        link = FakeLink("10.0.0.1")
        console = world.claim(link=link)
        assert world.claim(link=FakeLink("10.0.0.2")) is console
        assert link.calls[-2:] == ["retire", "close"]
        assert console.host == "10.0.0.2"
        assert [(e["host"], e["by"]) for e in self.events(world, console, "replaced")] == [("10.0.0.1", "10.0.0.2")]

    def events(self, world: World, console: Console, kind: str) -> list[dict[str, object]]:
        world.store.flush()
        return trail(console.log, kind)

    @pytest.mark.parametrize("labels", [True, False])
    def test_a_vm_has_at_most_32_ports_and_the_33rd_is_refused_and_told(self, world: World, labels: bool) -> None:
        consoles = [world.claim(uri=f"vmproxy?n={n}", port=f"p{n}" if labels else None) for n in range(32)]
        for n in range(32, 50):
            with pytest.raises(ClaimRefused, match="it has 32 serial ports already"):
                world.claim(uri=f"vmproxy?n={n}", port=f"p{n}" if labels else None)
        assert len(world.directory) == 32
        assert len(self.events(world, consoles[0], "refused")) == 10
        assert world.claim(uri="vmproxy?n=3", port="p3" if labels else None) is consoles[3]
        assert world.claim("other", uuid=VM_B).port == "1"

    def test_ports_are_told_apart_after_a_restart(self, world: World) -> None:
        world.claim(uri="vmproxy")
        world.claim(uri="vSPC.py")
        again = world.restarted()
        assert again.claim(uri="vSPC.py").port == "2"
        assert again.claim(uri="vmproxy").port == "1"


class SlowViewer(FakeViewer):
    """A viewer who costs a whole turn of the reactor."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def rules_changed(self) -> None:
        super().rules_changed()
        self._world.clock.rightNow += SPAN


def with_message(message: str) -> Policy:
    return parse_policy(None, [{"on": ["vm*"], "message": message}])[0]


def test_viewers_and_thousands_of_consoles_take_other_rules_in_turns_those_with_viewers_first(world: World) -> None:
    consoles = [world.claim(f"vm{n}", UUID(int=n + 1)) for n in range(10)]
    viewers = [SlowViewer(world) for _ in range(6)]
    for viewer in viewers:
        consoles[-1].viewers.attach(viewer, write=False)
    world.directory.use(with_message("hello"))
    consoles[-1].viewers.detach(viewers[-1])
    for turn in range(5):
        assert sum(len(viewer.calls) for viewer in viewers) == turn + 1
        assert [console.options.message for console in consoles] == [*[""] * 9, "hello"]
        one_turn(world.clock)
    assert [viewer.calls for viewer in viewers] == [*[["rules changed"]] * 5, []]
    assert {console.options.message for console in consoles} == {"hello"}


def test_viewers_of_a_console_with_another_name_take_its_rules_in_turns(world: World) -> None:
    console = world.claim("vm1", UUID(int=1))
    viewers = [SlowViewer(world) for _ in range(3)]
    for viewer in viewers:
        console.viewers.attach(viewer, write=False)
    world.directory.rename(console, "vm2")
    world.directory.rename(console, "vm3")
    assert [len(viewer.calls) for viewer in viewers] == [1, 0, 0]
    for _ in range(6):
        one_turn(world.clock)
    # Some were asked about the former name: that does not count.
    assert [len(viewer.calls) for viewer in viewers] == [2, 2, 2]


def test_rules_that_change_again_meanwhile_are_those_that_hold(world: World) -> None:
    consoles = [world.claim(f"vm{n}", UUID(int=n + 1)) for n in range(10)]
    consoles[-1].viewers.attach(SlowViewer(world), write=False)
    for message in ("first", "second"):
        world.directory.use(with_message(message))
    for _ in range(3):
        one_turn(world.clock)
    assert {console.options.message for console in consoles} == {"second"}


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
