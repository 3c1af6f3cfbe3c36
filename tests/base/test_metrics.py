"""Histograms, and families of figures."""

from __future__ import annotations

from tests.support.cases import each
from vmproxy.base.metrics import Histogram, told_of


@each(("seconds", "bucket"), [(0, 0), (0.1, 0), (0.1000001, 1), (1, 1), (1.5, 2), (10, 2), (10.5, 3), (1e9, 3)])
def test_each_bucket_holds_what_took_no_longer(seconds: float, bucket: int) -> None:
    histogram = Histogram(0.1, 1, 10)
    histogram.observe(seconds)
    assert histogram.counts == [int(number == bucket) for number in range(4)]
    assert histogram.total == seconds


def test_what_there_may_be_is_there_from_the_start_and_nothing_else_ever_is() -> None:
    counts: dict[tuple[str, ...], int] = {("ssh", "ok"): 3, ("ssh", "invented"): 5}
    assert told_of(counts, ("ssh", "web"), ("ok", "failed")) == {
        ("ssh", "ok"): 3,
        ("ssh", "failed"): 0,
        ("web", "ok"): 0,
        ("web", "failed"): 0,
    }
