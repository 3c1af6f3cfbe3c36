"""Finding consoles: by name, VC UUID, alias and prefix; ports; rules of thousands."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.support.consoles import World, trail
from tests.support.fakes import VM_A, VM_B, VM_C, FakeLink, FakeViewer, one_turn
from vmproxy.access.policy import Policy
from vmproxy.access.policy_file import parse_policy
from vmproxy.base.turns import SPAN
from vmproxy.console.console import Console
from vmproxy.console.duplicates import ClaimRefused
from vmproxy.console.naming import AmbiguousConsole, NoSuchConsole
from vmproxy.errors import VMProxyError

SPELLINGS = {
    "canonical": str(VM_B),
    "upper case": str(VM_B).upper(),
    "no dashes": VM_B.hex,
    "as vSphere writes it": "50 28 a5 bc 11 11 22 22-33 33 44 44 55 55 66 66",
    "braces": f"{{{VM_B}}}",
}


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
        world.directory.stop()  # what was not told one by one is summed up
        (event,) = self.events(world, consoles[0], "refused-often")
        assert event["times"] == 8
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


def test_a_console_that_is_forgotten_meanwhile_takes_no_rules_and_has_no_trail_again(world: World) -> None:
    console, watched = world.claim("vm1", VM_A), world.claim("vm2", VM_B)
    world.lose(console)
    watched.viewers.attach(SlowViewer(world), write=False)
    world.directory.use(parse_policy(None, [{"on": ["vm*"], "record-input": True}])[0])
    world.directory.forget(console, "alice", remove_log=True)
    for _ in range(3):
        one_turn(world.clock)
    world.store.flush()
    assert watched.options.record_input
    assert trail(console.log) == []
