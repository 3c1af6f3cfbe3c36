"""The faults that ``make mutants`` makes: each is Python, differs from the module, and the same seed gives the same."""

from __future__ import annotations

import ast
from pathlib import Path

from mutants.__main__ import chosen
from mutants.guards import GUARDS
from mutants.mutate import mutants
from tests.support.cases import each

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("vmproxy/wire/comport.py", "vmproxy/base/deadlines.py")

SOURCE = '''
"""A module."""
LIMIT = 3
def f(a: int, b: "str" = 1) -> int:
    """Say something."""
    _log.warn("not {this}", this=1)
    if a < LIMIT and not b:
        return a + 1
    self.count = 0
    g(a)
    return False
'''


def test_every_kind_of_fault_is_made_where_something_is_done() -> None:
    assert [(one.line, one.what) for one in mutants(SOURCE)] == [
        (7, "a < LIMIT -> a <= LIMIT"),
        (7, "a < LIMIT -> a >= LIMIT"),
        (7, "a < LIMIT and (not b) -> a < LIMIT or not b"),
        (7, "not b -> b"),
        (7, "without a < LIMIT"),
        (7, "without not b"),
        (8, "1 -> 2"),
        (8, "a + 1 -> a - 1"),
        (8, "return a + 1 -> return None"),
        (9, "0 -> 1"),
        (9, "without self.count = 0"),
        (10, "without g(a)"),
        (11, "False -> True"),
    ]


def test_each_fault_is_another_module_that_can_be_read() -> None:
    sources = [one.applied(SOURCE) for one in mutants(SOURCE)]
    assert len(set(sources)) == len(sources)
    assert ast.unparse(ast.parse(SOURCE)) not in sources
    for source in sources:
        ast.parse(source)


def test_a_seed_chooses_the_same_faults() -> None:
    first, again, other = (chosen(50, seed, MODULES) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert len({(one.module, one.mutant.line) for one in first}) == 50


@each("module", GUARDS)
def test_what_is_guarded_and_its_tests_are_there(module: str) -> None:
    assert (ROOT / module).is_file()
    assert all((ROOT / tests).exists() for tests in GUARDS[module])
