"""Settings classes: what is read, what is said about what cannot be read, and where."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.base import values
from vmproxy.base.schema import Problem, group, label, read, required, section, setting, settings_of, told
from vmproxy.base.toml import KeyPath, TomlFile


@dataclass(frozen=True, slots=True)
class Inner:
    most: int = setting(values.whole(1, 9), 3, key="at-most")
    quiet: bool = setting(values.flag, False, restart=True)


@dataclass(frozen=True, slots=True)
class Outer:
    name: str = required(values.word, "a name")
    number: int = 0
    wait_for: float = setting(values.seconds(1, 10), 5.0)
    inner: Inner = group(Inner, most=4)

    def contradictions(self, wrong: Collection[str]) -> Iterator[tuple[str, str]]:
        if self.wait_for > self.inner.most and not {"wait-for", "at-most"} & set(wrong):
            yield "wait-for", "more than at-most"


@dataclass(frozen=True, slots=True)
class Whole:
    top: str = setting(values.word, "x", option="top")
    part: Inner = section(Inner)


def problems(settings: type, text: str, **given: Any) -> list[str]:
    file = TomlFile(text.encode(), "f")
    found: list[Problem] = []
    read(settings, file.table, found, **given)
    return told(found, file)


def test_a_table_becomes_an_object() -> None:
    found: list[Problem] = []
    table = {"name": "n", "wait-for": 2, "at-most": 7, "quiet": True}
    assert read(Outer, table, found, number=1) == Outer("n", 1, 2.0, Inner(7, True))
    assert read(Outer, {"name": "n", "wait-for": 3}, found) == Outer("n", 0, 3.0, Inner(4, False))
    assert read(Whole, {"part": {"at-most": 1}}, found) == Whole("x", Inner(1))
    assert found == []


def test_every_setting_has_its_key_its_place_and_its_options() -> None:
    found = settings_of(Whole)
    assert list(found) == ["top", "part.at-most", "part.quiet"]
    assert (found["top"].option, found["part.quiet"].restart) == ("top", True)
    whole = found["part.at-most"].put(Whole(), 7)
    assert (whole, found["part.at-most"].of(whole)) == (Whole(part=Inner(7)), 7)


@each(
    ("settings", "text", "said"),
    [
        (Outer, "wait-for = 1\n", ["f: name: is missing; give a name"]),
        (Outer, 'name = "n"\n\nwait-for = 0', ["f:3: wait-for: 0 is not a number of seconds from 1 to 10"]),
        (Outer, 'name = "n"\nat-most = 0\nquiet = 0\nwait-for = 9', [
            "f:2: at-most: 0 is not a whole number from 1 to 9", "f:3: quiet: 0 is neither true nor false",
        ]),
        (Outer, 'wait-for = 9\nname = "n"', ["f:1: wait-for: more than at-most"]),
        (Outer, 'name = "n"\nwait-for = 1\natmost = 5', [
            "f:3: atmost: there is no such setting; did you mean at-most?",
        ]),
        (Outer, 'name = "n"\nwait-for = 1\nzzzzzz = 1', [
            "f:3: zzzzzz: there is no such setting; there are name, wait-for, at-most, quiet",
        ]),
        (Whole, "[part]\nquite = true", ["f:2: part.quite: there is no such setting; did you mean part.quiet?"]),
        (Whole, "part = 1", ["f:1: part: this is a section; write [part] and its settings below"]),
        (Whole, "[prat]\n", ["f:1: prat: there is no such setting; did you mean part?"]),
    ],
)  # fmt: skip
def test_all_that_is_wrong_is_told_with_its_line(settings: type, text: str, said: list[str]) -> None:
    assert problems(settings, text) == said


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (("a",), "a"),
        (("a", "b", "c"), "a.b.c"),
        (("rule", 0), "rule 1"),
        (("rule", 1, "who"), "rule 2: who"),
        (("rule", 1, "who", "x"), "rule 2: who.x"),
        (("a\x1b2", "b"), "a\\x1b2.b"),
    ],
)
def test_labels(path: KeyPath, said: str) -> None:
    assert label(path) == said


ANY = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["name", "wait-for", "at-most", "quiet", "other"]), ANY))
def test_whatever_is_written_is_an_object_or_a_problem(table: dict[str, Any]) -> None:
    found: list[Problem] = []
    made = read(Outer, table, found)
    assert made is not None or found
    if made is not None and not found:
        assert {key: settings_of(Outer)[key].of(made) for key in table} == table
