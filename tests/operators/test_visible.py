"""What an operator may not see is not there: not found, not listed, and no reason for anything else."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import World
from tests.support.fakes import VM_A, VM_B, VM_C
from vmproxy.access.policy import Policy, Right
from vmproxy.access.policy_file import parse_policy
from vmproxy.console.console import Console
from vmproxy.console.naming import AmbiguousConsole, NoSuchConsole
from vmproxy.errors import VMProxyError
from vmproxy.operators.resolve import TargetError, locate
from vmproxy.operators.target import parse
from vmproxy.operators.visible import VisibleConsoles


@pytest.fixture
def w(tmp_path: Path) -> World:
    return World(tmp_path)


def view(w: World, *rules: tuple[str, str]) -> VisibleConsoles:
    """What one may see with these rules: (rights, selectors)."""
    policy, problems = parse_policy([{"who": "*", "may": m.split(), "on": on.split()} for m, on in rules], None)
    assert problems == []
    return VisibleConsoles(w.directory, lambda: policy.grants("alice"))


def told(one: VisibleConsoles, target: str, port: str | None = None) -> str:
    """What an operator hears when he asks for a console."""
    try:
        return f"found {one.find(target, port).uuid}"
    except AmbiguousConsole as error:
        return f"{error}: {[str(c.uuid) for c in error.choices]}"
    except VMProxyError as error:
        return str(error)


def test_what_is_seen_is_worked_out_a_little_at_a_time(w: World) -> None:
    consoles = [w.claim(f"web{n:03}" if n % 2 else f"db{n:03}", UUID(int=n + 1)) for n in range(500)]
    one = view(w, ("spy", "web*"))
    times = iter([True, False] * 1000)
    assert not one.prepare(lambda: next(times))
    w.directory.rename(consoles[1], "db-now")
    w.directory.rename(consoles[2], "web-now")
    rounds = 1
    while not one.prepare(lambda: next(times)):
        rounds += 1
    assert rounds > 3
    seen = [console for console in consoles if console.name.startswith("web")]
    assert sorted(c.uuid for c in one) == sorted(c.uuid for c in seen)
    assert one.prepare(lambda: False)
    again = view(w, ("spy", "web*"))
    assert not again.prepare(lambda: False)
    assert again.find("web-now") is consoles[2]  # who asks before that waits for all of it


class TestHidden:
    def test_by_no_name(self, w: World) -> None:
        console = w.claim("vault01")
        w.claim("web01", VM_B)
        one = view(w, ("", "vault*"), ("admin", "*"))
        for target in ("vault01", "vault", str(VM_A), VM_A.hex, "vault01.1", w.directory.names.alias(console)):
            with pytest.raises(NoSuchConsole) as caught:
                one.find(target)
            assert str(caught.value) == f"{target}: no such console"
        assert [c.name for c in one] == ["web01"]
        assert console not in one

    def test_a_second_one_of_the_same_name_is_not_noticed(self, w: World) -> None:
        w.claim("web01", VM_A)
        mine = w.claim("web01", VM_B)
        one = view(w, ("", f"uuid:{VM_A}"), ("write", "*"))
        assert one.find("web01") is mine
        assert one.find("we") is mine
        assert one.alias(mine) == "web01"
        assert one.is_exact("web01", mine)

    def test_one_that_has_the_plain_alias_is_not_noticed(self, w: World) -> None:
        w.claim("web 01", VM_A)
        mine = w.claim("web/01", VM_B)
        one = view(w, ("", f"uuid:{VM_A}"), ("write", "*"))
        assert one.alias(mine) == "web-01"
        assert one.find("web-01") is mine
        assert one.is_exact("web-01", mine)
        assert w.directory.names.alias(mine) != "web-01"  # who sees both can tell them apart

    def test_a_port_of_its_own(self, w: World) -> None:
        w.claim("web01", VM_A, port="1", uri="vmproxy?port=1")
        second = w.claim("web01", VM_A, port="2", uri="vmproxy?port=2")
        one = view(w, ("write", "web01.2"))
        assert one.find("web01") is second
        assert told(one, "web01", "1") == "web01, port 1: no such console"
        assert told(one, "web01.1") == "web01.1: no such console"

    def test_the_rules_of_now_count(self, w: World) -> None:
        w.claim("web01")
        policies = [Policy()]
        one = VisibleConsoles(w.directory, lambda: policies[-1].grants("alice"))
        assert one.find("web01").name == "web01"
        policies.append(parse_policy([], None)[0])
        assert told(one, "web01") == "web01: no such console"
        assert list(one) == []

    @given(data=st.data())
    def test_it_is_as_if_only_the_visible_ones_existed(
        self, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        names = st.sampled_from(["web01", "web 01", "web/01", "WEB01", "web01.2", "web", "w\x1b", "", str(VM_A)])
        vms = data.draw(
            st.lists(st.tuples(st.integers(1, 5), names, st.sampled_from("123"), st.booleans()), max_size=8)
        )
        everything = World(tmp_path_factory.mktemp("all"))
        visible = World(tmp_path_factory.mktemp("visible"))
        hidden = {n for n, _, _, shown in vms if not shown}
        for n, name, port, _ in vms:
            everything.claim(name, UUID(int=n), port=port, uri=f"vmproxy?port={port}")
            if n not in hidden:
                visible.claim(name, UUID(int=n), port=port, uri=f"vmproxy?port={port}")
        rules = [("", " ".join(f"uuid:{UUID(int=n)}" for n in hidden))] if hidden else []
        restricted = view(everything, *rules, ("write", "*"))
        free = view(visible, ("write", "*"))
        identity = [(c.uuid, c.port) for c in free.sorted()]
        assert [(c.uuid, c.port) for c in restricted.sorted()] == identity
        targets = [name for _, name, _, _ in vms] + [str(UUID(int=n)) for n, _, _, _ in vms] + ["web-01", "w"]
        for target in filter(None, targets):
            for number in (None, "1", "2"):
                assert told(restricted, target, number) == told(free, target, number)
        for mine, other in zip(restricted.sorted(), free.sorted(), strict=True):
            assert restricted.find(restricted.alias(mine)) is mine
            assert restricted.is_exact(restricted.alias(mine), mine)
            assert free.is_exact(free.alias(other), other)


class TestRights:
    def test_may(self, w: World) -> None:
        web, db, vault = w.claim("web01"), w.claim("db01", VM_B), w.claim("vault", VM_C)
        one = view(w, ("spy", "web*"), ("", "vault"), ("raw", "*"))

        def may(console: Console) -> list[str]:
            return one.rights(console).words

        assert may(web) == ["see", "spy"]
        assert may(db) == ["see", "spy", "write", "raw"]
        assert may(vault) == []
        assert one.may(web, Right.SPY)
        assert not one.may(web, Right.WRITE)


def test_force_needs_a_whole_name_and_an_unknown_one_the_nearest(w: World) -> None:
    w.claim("web01")
    w.claim("vault02", VM_B)
    one = view(w, ("", "vault*"), ("admin", "*"))
    assert locate(one, parse("web")).name == "web01"
    with pytest.raises(TargetError) as caught:
        locate(one, parse("web,force"))
    assert str(caught.value) == "web: force needs a whole name; did you mean web01?"
    with pytest.raises(TargetError) as caught:
        locate(one, parse("wbe01"))
    assert str(caught.value).startswith("wbe01: no such console; did you mean web01?\n")
    with pytest.raises(TargetError) as caught:
        locate(one, parse("vualt02"))
    assert "did you mean" not in str(caught.value)


def test_who_sees_everything_need_not_be_asked_about_each(w: World) -> None:
    assert view(w, ("see", "*")).all_seen
    assert view(w, ("see", "web*"), ("write", "*")).all_seen
    assert not view(w, ("", "vault*"), ("admin", "*")).all_seen
    assert not view(w, ("admin", "web*")).all_seen
