"""Who is meant: names are hostile, and what an operator types must reach what ``list`` has shown."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import HOSTILE_NAMES, World
from tests.support.fakes import VM_A, VM_B, VM_C
from vmproxy.access.policy import Grants, Policy
from vmproxy.access.policy_file import parse_policy
from vmproxy.access.selector import Selector, Subject
from vmproxy.console.console import Console
from vmproxy.console.naming import (
    BROAD,
    LOOKED_AT,
    AmbiguousConsole,
    Names,
    NoSuchConsole,
    base_in,
    base_of,
    entries_of,
)

Build = Callable[[], World]

# UUIDs that begin alike, in part or as far as an alias shows them, and ports that look like parts of names.
UUIDS = [VM_A, VM_B, UUID(int=VM_A.int + 1), UUID(int=VM_A.int ^ 1 << 60), UUID(int=VM_A.int ^ 1 << 100), UUID(int=7)]
PORTS = ["1", "2", "kgdb", "a_b"]
WORDS = ["web", "web01", "WEB01", "Web 01", "web/01", "web01.2", "web01.2!", "web01.kgdb", "vm", "vm.2", "ß", "ss", ""]
IMPOSTORS = [
    *(str(uuid) for uuid in UUIDS),
    *(uuid.hex.upper() for uuid in UUIDS[:2]),
    *(f"{uuid}.2" for uuid in UUIDS[:2]),
    *(f"{word}~{uuid.hex[:8]}" for word in ("web01", "vm", "web01.2") for uuid in UUIDS[:4]),
    *(f"web01~{uuid.hex}{port}" for uuid in UUIDS[:3] for port in ("", ".1", ".2")),
    f"{{{VM_A}}}",
    "~",
    "web~",
    "~web01",
]
NAMES = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(IMPOSTORS),
    st.sampled_from([name for name in HOSTILE_NAMES if len(name) < 100]),
    st.text(max_size=6),
    st.text(alphabet="wW~.-1 é\u0301", max_size=6),
)
VMS = st.lists(
    st.tuples(NAMES, st.sampled_from(UUIDS), st.sampled_from(PORTS), st.booleans(), st.booleans()), max_size=8
)


@pytest.fixture
def w(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return lambda: World(tmp_path_factory.mktemp("world"))


def grants(*rules: tuple[str, str]) -> Grants:
    policy, problems = parse_policy([{"who": "*", "may": m.split(), "on": on.split()} for m, on in rules], None)
    assert problems == []
    return policy.grants("alice")


def links(world: World) -> dict[str, str]:
    world.store.flush()
    folder = world.store.folder / "by-name"
    there = folder.glob("*.log") if folder.exists() else ()
    return {link.name: os.readlink(link).removeprefix("../") for link in there}


class TestAlias:
    @given(vms=VMS)
    def test_it_finds_its_console_whatever_others_are_called(
        self, build: Build, vms: list[tuple[str, UUID, str, bool, bool]]
    ) -> None:
        w = build()
        hidden: set[Console] = set()
        for name, uuid, port, up, visible in vms:
            console = w.claim(name, uuid, port, f"vmproxy?port={port}")
            w.directory.rename(console, name)
            if not up and console.link is not None:
                w.lose(console)
            if not visible:
                hidden.add(console)
        rule = " ".join(f"uuid:{console.uuid}" for console in hidden)
        everything = w.directory.names
        some = everything.seen_by(grants(*([("", rule)] if rule else []), ("see", "*")))
        gone = {console.uuid for console in hidden}
        for names, consoles in (
            (everything, set(w.directory)),
            (some, {c for c in w.directory if c.uuid not in gone}),
        ):
            aliases = {console: names.alias(console) for console in consoles}
            assert len(set(aliases.values())) == len(aliases)
            for console, alias in aliases.items():
                assert names.find(alias) is console
                assert names.is_exact(alias, console)
                assert names.find(names.typed(console)) is console
                assert alias.isprintable()
                assert " " not in alias
        assert set(some) == {c for c in w.directory if c.uuid not in gone}
        for console in w.directory:  # a UUID of a console that is seen is that VM
            for text in (str(console.uuid), console.uuid.hex.upper(), f"{{{console.uuid}}}"):
                assert everything.find(text).uuid == console.uuid
                assert everything.find(f"{text}.{console.port}") is console
                assert everything.find(text, console.port) is console

    @given(
        vms=VMS,
        steps=st.lists(st.tuples(st.sampled_from(["name", "up", "ask", "forget"]), st.integers(0, 7), NAMES)),
    )
    def test_what_has_changed_is_as_if_it_had_always_been_so(
        self, build: Build, vms: list[tuple[str, UUID, str, bool, bool]], steps: list[tuple[str, int, str]]
    ) -> None:
        w, rules = build(), grants(("", "w*"), ("see", "*"))
        seen = w.directory.names.seen_by
        consoles = list(dict.fromkeys(w.claim(name, uuid, port) for name, uuid, port, _, _ in vms))
        for what, number, name in steps:
            if not consoles:
                break
            console = consoles[number % len(consoles)]
            if what == "name":
                w.directory.rename(console, name)
            elif what == "up" and console.link is not None:
                w.lose(console)
            elif what == "ask":
                list(seen(rules))
            elif what == "forget":
                w.directory.names.remove(console)
                consoles.remove(console)
        fresh = build()
        twins = {}
        for console in consoles:
            twin = twins[console] = fresh.claim(console.name, console.uuid, console.port)
            if console.link is None:
                fresh.lose(twin)
        for now, then in (
            (w.directory.names, fresh.directory.names),
            (seen(rules), fresh.directory.names.seen_by(rules)),
        ):
            assert {twins[console] for console in now} == set(then)
            for console in now:
                assert now.alias(console) == then.alias(twins[console])


class TestImpostors:
    def test_who_is_called_like_a_uuid_is_not_that_vm(self, w: World) -> None:
        victim, impostor = w.claim("db01"), w.claim(str(VM_A), VM_B)
        names = w.directory.names
        assert names.find(str(VM_A)) is victim
        assert names.alias(impostor) == f"{VM_A}~{VM_B.hex[:8]}"
        assert names.find(names.alias(impostor)) is impostor
        # Not by its port either, nor while it is down.
        w.lose(victim)
        w.claim(f"{VM_A}.2", VM_C)
        for target, port in ((f"{VM_A}.2", None), (str(VM_A), "2"), (f"{VM_A}.", None)):
            with pytest.raises(NoSuchConsole):
                names.find(target, port)
        assert "vm" not in {name.partition("~")[0] for name in links(w)}
        assert links(w).get(f"{VM_A}.log") is None

    def test_a_uuid_that_nobody_has_may_be_a_name(self, w: World) -> None:
        named = w.claim(str(VM_C))
        assert w.directory.names.find(str(VM_C)) is named

    def test_who_is_called_like_an_ssh_name_is_not_that_vm(self, w: World) -> None:
        one, two = w.claim("web01"), w.claim("web01", VM_B)
        names = w.directory.names
        alias = names.alias(two)
        impostor = w.claim(alias, VM_C)
        assert alias == f"web01~{VM_B.hex[:8]}"
        assert names.alias(two) == alias
        assert names.find(alias) is two
        assert names.find(names.alias(impostor)) is impostor
        assert names.find(names.alias(one)) is one
        w.lose(two)
        assert names.find(alias) is two

    def test_what_holds_our_mark_is_no_name(self, w: World) -> None:
        console = w.claim("a~b")
        names = w.directory.names
        with pytest.raises(NoSuchConsole):
            names.find("a~b")
        assert names.find("a-b") is names.find(names.alias(console)) is console

    def test_digits_that_two_have(self, w: World) -> None:
        other = UUID(int=VM_A.int ^ 1)
        one, two = w.claim("web01"), w.claim("web01", other)
        names = w.directory.names
        assert {names.alias(one), names.alias(two)} == {f"web01~{VM_A.hex}", f"web01~{other.hex}"}
        with pytest.raises(AmbiguousConsole):
            names.find(f"web01~{VM_A.hex[:8]}")


class TestUp:
    """Where one of several consoles of a name is up, the name is that one's."""

    def test_a_vm_that_was_built_anew_has_its_name(self, w: World) -> None:
        old = w.claim("web01")
        w.lose(old)
        new = w.claim("web01", VM_B)
        names = w.directory.names
        for target in ("web01", "web0", "WEB"):
            assert names.find(target) is new
        assert names.is_exact("web01", new)
        assert (names.alias(new), names.alias(old)) == ("web01", f"web01~{VM_A.hex[:8]}")
        assert names.find(names.alias(old)) is old
        assert links(w) == {"web01.log": new.log.name, f"web01~{VM_A.hex[:8]}.log": old.log.name}

    def test_both_up_is_ambiguous_and_both_down(self, w: World) -> None:
        one, two = w.claim("web01"), w.claim("web01", VM_B)
        names = w.directory.names
        for _ in range(2):
            with pytest.raises(AmbiguousConsole) as caught:
                names.find("web01")
            assert caught.value.choices == [one, two]
            for console in (one, two):
                if console.link is not None:
                    w.lose(console)
        w.claim("web01", VM_B)
        assert names.find("web01") is two

    def test_the_link_is_that_of_the_one_that_is_up_last(self, w: World) -> None:
        one = w.claim("web01")
        two = w.claim("web01", VM_B)
        assert links(w)["web01.log"] == one.log.name  # both are up: it stays
        w.lose(one)
        assert links(w)["web01.log"] == two.log.name
        w.claim("web01")
        assert links(w)["web01.log"] == two.log.name
        w.lose(two)
        assert links(w)["web01.log"] == one.log.name
        w.lose(one)
        assert links(w)["web01.log"] == one.log.name
        w.directory.rename(one, "other")
        assert links(w)["web01.log"] == two.log.name
        assert links(w)["other.log"] == one.log.name

    def test_it_is_the_same_link_after_a_restart(self, w: World) -> None:
        w.lose(w.claim("web01"))
        new = w.claim("web01", VM_B)
        again = w.restarted()
        assert links(again)["web01.log"] == new.log.name
        again.claim("web01", VM_B)
        assert links(again)["web01.log"] == new.log.name
        again.clock.advance(60)
        again.lose(again.directory.names.find(str(VM_B)))
        assert links(again.restarted())["web01.log"] == new.log.name

    def test_a_vmotion_is_up(self, w: World) -> None:
        w.lose(w.claim("web01"))
        new = w.claim("web01", VM_B)
        assert new.link is not None
        w.migrations.begin(new, new.link, b"1234")
        w.directory.lost(new, new.link, "gone")
        assert new.state == "migrating"
        assert w.directory.names.find("web01") is new

    def test_ports_go_with_their_vm(self, w: World) -> None:
        old = [w.claim("web01", VM_A, port, f"x?port={port}") for port in ("1", "2")]
        new = [w.claim("web01", VM_B, port, f"x?port={port}") for port in ("1", "2")]
        names = w.directory.names
        with pytest.raises(AmbiguousConsole):
            names.find("web01")
        for console in old:
            w.lose(console)
        assert [names.find("web01"), names.find("web01", "2"), names.find("web01.2")] == [new[0], *[new[1]] * 2]
        w.lose(new[0])
        assert names.find("web01") is new[0]  # its VM is there

    def test_what_is_hidden_is_not_up_for_who_does_not_see_it(self, w: World) -> None:
        mine = w.claim("web01")
        w.lose(mine)
        w.claim("web01", VM_B)
        seen = w.directory.names.seen_by(grants(("", f"uuid:{VM_B}"), ("see", "*")))
        assert seen.find("web01") is mine
        assert seen.alias(mine) == "web01"

    def test_a_prefix_of_two_names_is_ambiguous_whatever_is_up(self, w: World) -> None:
        w.claim("web01")
        w.lose(w.claim("web02", VM_B))
        with pytest.raises(AmbiguousConsole):
            w.directory.names.find("web")


class TestMany:
    """A question costs a few steps, however many consoles there are and whoever asks."""

    class Counted(Grants):
        """Rules that count how often they are asked."""

        asked = 0

        def see(self, console: Subject) -> bool:
            type(self).asked += 1
            return super().see(console)

    def test_no_rule_is_asked_about_what_is_hidden(self, w: World) -> None:
        for n in range(500):
            w.claim(f"vm{n:04}" if n % 5 else "clone", UUID(int=n + 1))
        w.claim("pub1", VM_A)
        rules = self.Counted(parse_policy([{"who": "*", "may": ["see"], "on": ["pub*"]}], None)[0].rules)
        assert [c.name for c in w.directory.names.seen_by(rules)] == ["pub1"]
        type(rules).asked = 0
        for target in ("v", "vm", "vm0001", "clone", "nothing", "clone~00000001", "p", "vm0001.2", "", "~"):
            names = w.directory.names.seen_by(rules)
            if target == "p":
                assert names.find(target).name == "pub1"
            else:
                with pytest.raises(NoSuchConsole):
                    names.find(target)
        assert type(rules).asked == 0
        for uuid in (UUID(int=1), VM_C):  # hidden, and not there: equally long
            with pytest.raises(NoSuchConsole):
                w.directory.names.seen_by(rules).find(str(uuid))
        assert type(rules).asked == 4
        w.claim("vm-new", VM_B)
        w.directory.names.seen_by(rules).find("p")
        assert type(rules).asked == 5

    def test_what_is_ambiguous_is_capped(self, w: World) -> None:
        consoles = [w.claim("clone", UUID(int=n + 1)) for n in range(LOOKED_AT + 50)]
        for n in range(BROAD):
            w.claim(f"web{n:04}", UUID(int=n + 1_000_000))
        names = w.directory.names
        for target in ("clone", "clo", "c", "web"):
            with pytest.raises(AmbiguousConsole) as caught:
                names.find(target)
            assert len(caught.value.choices) == 20
        assert (str(caught.value), caught.value.more) == (f"web: that could be {BROAD} consoles", str(BROAD - 20))
        w.claim("webx", VM_A)
        for target in ("web", "clone"):
            with pytest.raises(AmbiguousConsole) as caught:
                names.find(target)
            assert (str(caught.value), caught.value.more) == (
                f"{target}: that could be more than {BROAD} consoles",
                "many",
            )
        for console in consoles:  # too many to look for the one that is up, and each has its alias
            w.lose(console)
        w.claim("clone", UUID(int=1))
        with pytest.raises(AmbiguousConsole):
            names.find("clone")
        assert names.find(names.alias(consoles[0])) is consoles[0]

    def test_one_of_hundreds_that_is_up(self, w: World) -> None:
        consoles = [w.claim("web01", UUID(int=n + 1)) for n in range(BROAD + 100)]
        for console in consoles:
            w.lose(console)
        new = w.claim("web01", VM_A)
        assert w.directory.names.find("web01") is w.directory.names.find("we") is new

    def test_rules_that_concern_operators_alike_are_looked_at_once(self, w: World) -> None:
        policy, _ = parse_policy([{"who": ["@ops"], "may": ["see"], "on": ["pub*"]}], None)
        assert policy.grants("alice", ("ops",)) is policy.grants("bob", ("ops",))
        names = w.directory.names
        assert names.seen_by(policy.grants("alice", ("ops",))) is names.seen_by(policy.grants("bob", ("ops",)))
        assert isinstance(names.seen_by(Policy().grants("carol")), Names)

    def test_another_uri_may_be_seen_by_others(self, w: World) -> None:
        rules = grants(("see", "query:team=blue"))
        console = w.claim("web01")
        assert list(w.directory.names.seen_by(rules)) == []
        w.lose(console)
        w.claim("web01", uri="vmproxy?team=blue")
        assert list(w.directory.names.seen_by(rules)) == [console]


def test_a_renamed_console_is_found_by_its_new_name_only(w: World) -> None:
    one, two = w.claim("first one", VM_A), w.claim("", VM_B)
    assert w.directory.names.find("vm") is two
    assert w.directory.names.find(f"vm~{VM_B.hex[:4]}") is two
    w.directory.rename(two, "second")
    w.directory.rename(one, "first/one")  # the same alias
    assert w.directory.names.find("first/") is one
    assert w.directory.names.find("first-") is one
    assert w.directory.names.find("sec") is two
    for gone in ("first o", "vm"):
        with pytest.raises(NoSuchConsole) as caught:
            w.directory.names.find(gone)
        assert str(caught.value) == f"{gone}: no such console"


def test_the_first_port_is_selected_by_its_number_only_where_that_is_written(w: World) -> None:
    first = w.claim("web", VM_A, port="1", uri="x?port=1")
    second = w.claim("web", UUID(int=VM_A.int), port="2", uri="x?port=2")
    assert [Selector("web.1").selects(c) for c in (first, second)] == [True, False]
    assert [Selector("web.2").selects(c) for c in (first, second)] == [False, True]
    assert [Selector("web??").selects(c) for c in (first, second)] == [False, True]
    assert [Selector("web*").selects(c) for c in (first, second)] == [True, True]


@given(name=NAMES, port=st.sampled_from(PORTS))
def test_the_base_is_the_same_read_from_the_entries(name: str, port: str) -> None:
    console = cast(Console, SimpleNamespace(name=name, port=port, uuid=VM_A))
    assert base_in(entries_of(console)) == base_of(console)
