"""What tries many cases in one test tells of every case that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cases import each


@each(("low", "high"), [(1, 2), (2, 3)])
def test_fixtures_are_given_as_to_any_test(low: int, tmp_path: Path, high: int) -> None:
    assert low < high
    assert tmp_path.is_dir()


def test_every_case_that_fails_is_told_with_its_values() -> None:
    tried = []

    @each("number", (number for number in range(5)))
    def even(number: int) -> None:
        tried.append(number)
        assert number % 2 == 0

    for _ in range(2):
        with pytest.raises(ExceptionGroup, match="2 of 5 cases") as caught:
            even()
        assert [one.__notes__ for one in caught.value.exceptions] == [["with {'number': 1}"], ["with {'number': 3}"]]
    assert tried == [0, 1, 2, 3, 4] * 2


def test_no_cases_prove_nothing() -> None:
    with pytest.raises(AssertionError, match="there are no cases"):
        each("number", [])(lambda number: None)()
