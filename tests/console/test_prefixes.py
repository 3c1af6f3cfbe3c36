"""Finding by the beginning of a name gives what looking at every console would give."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import VM_A, VM_B, World
from vmproxy.access.policy import Selector
from vmproxy.console.console import Console
from vmproxy.console.prefixes import Prefixes

NAMES = st.sampled_from(["web", "web01", "WEB02", "w", "", "ß", "ss", "db~1", "vm", "Web 1"])


class Thing:
    """Stands for a console; it cannot be compared."""


@given(st.lists(st.tuples(st.booleans(), NAMES, st.integers(0, 3)), max_size=40), NAMES)
def test_whatever_was_added_and_discarded(steps: list[tuple[bool, str, int]], prefix: str) -> None:
    index, things = Prefixes(), [Thing() for _ in range(4)]
    model: list[tuple[str, int]] = []
    for add, name, number in steps:
        thing: Console = things[number]  # type: ignore[assignment]
        if add:
            index.add(name, thing)
            model.append((name.casefold(), number))
        else:
            index.discard(name, thing)
            if (name.casefold(), number) in model:
                model.remove((name.casefold(), number))
    found = [things.index(thing) for thing in index.find(prefix)]  # type: ignore[arg-type]
    assert len(found) == len(set(found))
    assert set(found) == {number for name, number in model if name.startswith(prefix.casefold())}


def test_many() -> None:
    index, things = Prefixes(), [Thing() for _ in range(3000)]
    for number, thing in enumerate(things):
        index.add(f"vm{number % 100:02d}-{number}", thing)  # type: ignore[arg-type]
        if number == 2000:
            assert index.find("vm07-7") == [things[7], things[707]]  # type: ignore[comparison-overlap]
    assert len(index.find("VM07")) == 30
    assert len(index.find("")) == 3000
    index.discard("vm07-7", things[7])  # type: ignore[arg-type]
    assert len(index.find("vm07")) == 29


def test_a_renamed_console_is_found_by_its_new_name_only(tmp_path: Path) -> None:
    w = World(tmp_path)
    one, two = w.claim("first one", VM_A), w.claim("", VM_B)
    assert w.directory.find("vm") is two
    assert w.directory.find(f"vm~{VM_B.hex[:4]}") is two
    w.directory.rename(two, "second")
    w.directory.rename(one, "first/one")  # the same alias
    assert w.directory.find("first/") is one
    assert w.directory.find("first-") is one
    assert w.directory.find("sec") is two
    for gone in ("first o", "vm"):
        try:
            found: object = w.directory.find(gone)
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
