"""An index of consoles is a dictionary of lists, whatever happens to it."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from vmproxy.console.index import Index


class Thing:
    """Stands for a console."""


THINGS = [Thing() for _ in range(4)]
steps = st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.sampled_from(range(len(THINGS)))), max_size=40)


@given(steps)
def test_it_is_a_dictionary_of_lists(steps: list[tuple[bool, str, int]]) -> None:
    index: Index[str] = Index()
    model: defaultdict[str, list[Thing]] = defaultdict(list)
    for add, word, number in steps:
        thing = THINGS[number]
        if add and thing not in model[word]:
            index.add(word, thing)  # type: ignore[arg-type]
            model[word].append(thing)
        elif not add:
            index.discard(word, thing)  # type: ignore[arg-type]
            if thing in model[word]:
                model[word].remove(thing)
        for key in "abc":
            assert list(index.get(key)) == model[key]
    assert sorted(map(id, index)) == sorted(id(thing) for things in model.values() for thing in things)
