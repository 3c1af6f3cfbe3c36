"""Counters and gauges are read when somebody asks."""

from __future__ import annotations

from collections import Counter

from vmproxy.base.counters import Counters


def test_the_report_is_for_people() -> None:
    counters = Counters()
    counters.gauge("consoles", lambda: {"up": 12, "down": 288})
    counters.gauge("operators", lambda: 1)
    counters.count(lambda: {"refused": 3, "lost": 0})
    assert counters.report() == "consoles: up 12, down 288; operators: 1; counters: refused 3, lost 0"


def test_parts_add_their_own_and_all_are_read() -> None:
    counters, seen, open_now = Counters(), Counter[str](), [1, 2]
    counters.gauge("open", lambda: len(open_now))
    counters.count(lambda: seen)
    counters.count(lambda: {"lost": 0})
    assert (counters.gauges, counters.counts) == ({"open": 2}, {"lost": 0})
    seen["refused"] += 3
    open_now.pop()
    assert (counters.gauges, counters.counts) == ({"open": 1}, {"refused": 3, "lost": 0})
