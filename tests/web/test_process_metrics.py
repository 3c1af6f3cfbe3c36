"""The figures of the process are those that the library finds."""

from __future__ import annotations

import os

from prometheus_client import ProcessCollector

from vmproxy.web.process_metrics import open_descriptors, process_metrics


def test_they_are_those_of_the_library() -> None:
    def read(metrics: object) -> dict[str, float]:
        return {sample.name: sample.value for metric in metrics for sample in metric.samples}  # type: ignore[attr-defined]

    expected, found = read(ProcessCollector(registry=None).collect()), read(process_metrics())
    assert set(found) == set(expected)
    for name in ("process_start_time_seconds", "process_max_fds"):
        assert found[name] == expected[name]
    assert abs(found["process_cpu_seconds_total"] - expected["process_cpu_seconds_total"]) < 60
    # The listing of the library has one itself; and what nobody has any more may be closed between the two.
    assert abs(found["process_open_fds"] - expected["process_open_fds"]) < 20
    for name in ("process_virtual_memory_bytes", "process_resident_memory_bytes"):
        assert 0.5 < found[name] / expected[name] < 2


def test_descriptors_come_and_go() -> None:
    before = open_descriptors()
    read, write = os.pipe()
    assert open_descriptors() == before + 2
    os.close(read)
    os.close(write)
    assert open_descriptors() == before
