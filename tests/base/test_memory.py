"""Memory is given back when many have gone."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from vmproxy.base.memory import LEAST, Population

CODE = """
from vmproxy.base.memory import trimmer
def resident():
    return int(open("/proc/self/statm").read().split()[1])
trim = trimmer()
things = [(bytes(20_000), bytes(1000)) for _ in range(2000)]
full = resident()
kept = [small for large, small in things]  # something is always in use behind what is free
del things
before = resident()
trim()
print(full, before, resident())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library cannot give memory back")
def test_what_is_free_between_what_is_used_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    full, before, after = map(int, done.stdout.split())
    pages = 2000 * 20_000 // 4096
    assert before > full - pages // 4, "the C library keeps it"
    assert after < before - pages // 2


def test_it_is_looked_for_when_a_fifth_has_gone_and_enough_of_them() -> None:
    given: list[int] = []
    some = Population(lambda: given.append(some.there))
    for _ in range(10_000):
        some.came()
    for _ in range(1999):
        some.went()
    assert given == []
    some.went()
    assert given == [8000]
    for _ in range(8000):
        some.went()
    assert given[1] == 6400
    assert given[-1] < LEAST
    assert len(given) < 30
    for _ in range(LEAST):
        some.came()
    given.clear()
    for _ in range(LEAST):
        some.went()
    assert len(given) == 1
