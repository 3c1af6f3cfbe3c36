"""The indexes behind names: of words a dictionary of lists, of prefixes what looking at every console would give."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import World
from tests.support.fakes import VM_A, VM_B
from vmproxy.access.policy import Selector
from vmproxy.console.naming import PrefixIndex, WordIndex

NAMES = st.sampled_from(["web", "web01", "WEB02", "w", "", "ß", "ss", "db~1", "vm", "Web 1"])


class Thing:
    """Stands for a console; it cannot be compared."""


THINGS = [Thing() for _ in range(4)]
steps = st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.sampled_from(range(len(THINGS)))), max_size=40)


@given(steps)
def test_it_is_a_dictionary_of_lists(steps: list[tuple[bool, str, int]]) -> None:
    index: WordIndex[str, Thing] = WordIndex()
    model: defaultdict[str, list[Thing]] = defaultdict(list)
    for add, word, number in steps:
        thing = THINGS[number]
        if add and thing not in model[word]:
            index.add(word, thing)
            model[word].append(thing)
        elif not add:
            index.discard(word, thing)
            if thing in model[word]:
                model[word].remove(thing)
        for key in "abc":
            assert list(index.get(key)) == model[key]
    assert sorted(map(id, index)) == sorted(id(thing) for things in model.values() for thing in things)


@given(st.lists(st.tuples(st.booleans(), NAMES, st.integers(0, 3)), max_size=40), NAMES)
def test_whatever_was_added_and_discarded(steps: list[tuple[bool, str, int]], prefix: str) -> None:
    index: PrefixIndex[Thing] = PrefixIndex()
    things = [Thing() for _ in range(4)]
    model: list[tuple[str, int]] = []
    for add, name, number in steps:
        thing = things[number]
        if add:
            index.add(name, thing)
            model.append((name.casefold(), number))
        else:
            index.discard(name, thing)
            if (name.casefold(), number) in model:
                model.remove((name.casefold(), number))
    found = [things.index(thing) for thing in index.find(prefix)]
    assert len(found) == len(set(found))
    assert set(found) == {number for name, number in model if name.startswith(prefix.casefold())}


def test_many() -> None:
    index: PrefixIndex[Thing] = PrefixIndex()
    things = [Thing() for _ in range(3000)]
    for number, thing in enumerate(things):
        index.add(f"vm{number % 100:02d}-{number}", thing)
        if number == 2000:
            assert index.find("vm07-7") == [things[7], things[707]]
    assert len(index.find("VM07")) == 30
    assert len(index.find("")) == 3000
    index.discard("vm07-7", things[7])
    assert len(index.find("vm07")) == 29


def test_a_renamed_console_is_found_by_its_new_name_only(tmp_path: Path) -> None:
    w = World(tmp_path)
    one, two = w.claim("first one", VM_A), w.claim("", VM_B)
    assert w.directory.names.find("vm") is two
    assert w.directory.names.find(f"vm~{VM_B.hex[:4]}") is two
    w.directory.rename(two, "second")
    w.directory.rename(one, "first/one")  # the same alias
    assert w.directory.names.find("first/") is one
    assert w.directory.names.find("first-") is one
    assert w.directory.names.find("sec") is two
    for gone in ("first o", "vm"):
        try:
            found: object = w.directory.names.find(gone)
        except Exception as error:
            found = str(error)
        assert found == f"{gone}: no such console"


def test_the_first_port_is_selected_by_its_number_only_where_that_is_written(tmp_path: Path) -> None:
    w = World(tmp_path)
    first = w.claim("web", VM_A, port="1", uri="x?port=1")
    second = w.claim("web", UUID(int=VM_A.int), port="2", uri="x?port=2")
    assert [Selector("web.1").selects(c) for c in (first, second)] == [True, False]
    assert [Selector("web.2").selects(c) for c in (first, second)] == [False, True]
    assert [Selector("web??").selects(c) for c in (first, second)] == [False, True]
    assert [Selector("web*").selects(c) for c in (first, second)] == [True, True]
