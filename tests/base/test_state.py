"""Snapshots as JSON and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.base.state import pack, unpack


@dataclass(frozen=True, slots=True)
class Inner:
    data: bytes
    rest: tuple[bytes, ...] | None


@dataclass(frozen=True, slots=True)
class Outer:
    text: str
    number: int
    on: bool
    seconds: float
    inner: Inner
    other: Inner | None
    many: tuple[Inner, ...]
    uuid: UUID
    holes: tuple[bytes | None, ...]


INNER = st.builds(Inner, st.binary(), st.none() | st.lists(st.binary()).map(tuple))
OUTER = st.builds(
    Outer,
    st.text(st.characters(exclude_categories=("Cs",))),  # type: ignore[arg-type]  # hypothesis names the categories as literals
    st.integers(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    INNER,
    st.none() | INNER,
    st.lists(INNER).map(tuple),
    st.uuids(),
    st.lists(st.none() | st.binary()).map(tuple),
)


@given(OUTER)
def test_what_was_packed_is_unpacked(state: Outer) -> None:
    assert unpack(Outer, json.loads(json.dumps(pack(state)))) == state


@each(
    "data",
    [
        {},
        {"data": "", "rest": [3]},
        {"data": 3, "rest": None},
        {"data": "no base64", "rest": None},
        {"data": ""},
        {"data": "", "rest": "x"},
        [],
        None,
    ],
)
def test_what_is_no_snapshot_is_refused(data: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        unpack(Inner, data)


def test_true_is_no_number() -> None:
    whole = pack(Outer("", 1, True, 0.5, Inner(b"", None), None, (), UUID(int=1), ()))
    with pytest.raises(TypeError):
        unpack(Outer, whole | {"number": True})
