"""The bench works: a quick run from end to end finds what it looks for, and its checks can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import canned, figures, report
from bench.machines import Machine
from bench.measure import Sample, percentile
from bench.modes import MODES
from bench.sizes import QUICK
from bench.text import BINARY, LINE, LINES, PLAIN, Expected, problems, written
from tests.support.bench import run_bench


@pytest.mark.slow
def test_a_quick_run_measures_both_servers_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done, found = run_bench(tmp_path, "storm", "storm-beside", "lines", "watch", "migrations", "typing", "tail", "web")
    assert done.returncode == 0, done.stderr
    assert found["failures"] == []
    keys = {key.partition("@")[0] for key in found["figures"]}
    assert {
        "storm.100",
        "beside.new.keys",
        "beside.again.goahead",
        "lines.cpu",
        "lines.rate",
        "watch.share",
        "migrations.alone.goahead",
        "typing.idle",
        "tail.shown",
        "web.list",
        "web.seek",
    } <= keys
    for key, figure in found["figures"].items():
        if key.partition("@")[0] != "lines.rate":
            assert figure["vmproxy"] is not None, key
            assert figure["reference"] is not None or key.startswith("web."), key
        # What a busy machine makes late is no fault here; a byte missing in a log is.
        wrong = [problem for runs in figure["runs"].values() for run in runs for problem in run["problems"]]
        pace = ("the load was", "not even", "it can do better", "not in time")
        assert [problem for problem in wrong if not problem.startswith(pace)] == []
    assert "key to echo p99" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.json"]


@pytest.mark.slow
def test_a_quick_run_measures_tls_both_ways(tmp_path: Path) -> None:
    done, found = run_bench(tmp_path, "tls")
    assert done.returncode == 0, done.stderr
    assert found["failures"] == []
    values = {key.partition("@")[0]: figure["vmproxy"] for key, figure in found["figures"].items()}
    for way in ("telnets", "inband"):
        for what in ("new", "new.cpu", "again", "again.cpu", "memory"):
            assert values[f"tls.{way}.{what}"] > 0, (way, what)
    assert {"tls.telnets.left", "tls.telnets.resumed", "tls.rsa.new.cpu", "tls.1.2.new.cpu", "tls.bulk"} <= set(values)
    assert values["tls.bulk.share"] > 0
    for figure in found["figures"].values():
        assert [run["problems"] for runs in figure["runs"].values() for run in runs if run["problems"]] == []


@pytest.mark.slow
def test_a_quick_run_measures_browsers(tmp_path: Path) -> None:
    done, found = run_bench(tmp_path, "web-fanout")
    assert done.returncode == 0, done.stderr
    assert found["failures"] == []
    values = {key.partition("@")[0]: figure["vmproxy"] for key, figure in found["figures"].items()}
    assert values["web.complete"] == 100
    assert values["web.cpu"] > 0
    assert {"web.memory", "web.silent"} <= set(values)


def test_a_mode_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    done, found = run_bench(tmp_path, "stom")
    assert (done.returncode, found) == (2, {})
    assert "stom: no such mode; there are storm, " in done.stderr


# The logs are compared byte by byte.


def expected(path: Path, said: int, start: bytes = b"I am it\r\n") -> Expected:
    return Expected("it", path, start, PLAIN.log, 3 * LINE, said * LINE)


def contents(said: int, start: bytes = b"I am it\r\n") -> bytes:
    return start + (PLAIN.log * 30)[3 * LINE : (3 + said) * LINE]


@pytest.mark.parametrize("said", [0, 1, LINES, 25 * LINES + 7])
def test_a_log_that_is_as_it_must_be(tmp_path: Path, said: Any) -> None:
    path = tmp_path / "log"
    path.write_bytes(contents(said))
    assert expected(path, said).problem() == ""
    assert written([expected(path, said)]) == expected(path, said).total


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda log: log[:-1], "bytes and not"),
        (lambda log: log + b"x", "bytes and not"),
        (lambda log: log[:5000] + b"~" + log[5001:], "differs"),
        (lambda log: log[:2009] + log[2109:] + log[2009:2109], "differs"),
        (lambda log: b"I am he\r\n" + log[9:], "another one"),
    ],
)
def test_a_log_that_is_not_is_told(tmp_path: Path, change: Any, told: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(change(contents(100)))
    assert told in expected(path, 100).problem()


def test_a_log_that_is_missing_is_told_and_long_lists_are_cut(tmp_path: Path) -> None:
    assert "No such file" in expected(tmp_path / "none", 1).problem()
    assert expected(tmp_path / "none", 0, b"").problem() == ""
    found = problems([expected(tmp_path / "none", 1)] * 12, most=2)
    assert len(found) == 3
    assert found[-1] == "10 more logs are wrong"


def test_what_a_machine_says_on_two_connections_is_in_one_log_here_and_in_two_files_there(tmp_path: Path) -> None:
    machine = Machine(5)
    sent: dict[str, bytes] = {"a": b"", "b": b""}

    class Line:
        def __init__(self, name: str) -> None:
            self.name = name
            self.first = 0

        def say(self, data: bytes) -> None:
            sent[self.name] += data

    machine.text = BINARY
    machine.carried_by(Line("a"))  # type: ignore[arg-type]  # of a connection only its name counts
    machine.hello()
    for _ in range(LINES):
        machine.print_line()
    machine.carried_by(Line("b"))  # type: ignore[arg-type]  # as above
    machine.print_line()
    for name, data in sent.items():
        (tmp_path / name).write_bytes(data)
    assert [one.problem() for one in machine.logs_by_connection(tmp_path)] == ["", ""]
    (tmp_path / "log").write_bytes((sent["a"] + sent["b"]).replace(b"\xff\xff", b"\xff"))
    assert machine.log(tmp_path / "log").problem() == ""
    (tmp_path / "log").write_bytes(sent["a"] + sent["b"])
    assert machine.log(tmp_path / "log").problem() != ""


# What is found.


def results(*samples: tuple[str, str, Sample]) -> report.Results:
    found = report.Results(report.Machine.here(), quick=False, whole=False)
    for key, kind, sample in samples:
        found.add(key, kind, sample)
    return found


def test_the_ratio_is_the_median_of_the_runs() -> None:
    found = results(
        *(("storm.2000@tmpfs", "vmproxy", Sample(value)) for value in (10, 90, 30)),
        *(("storm.2000@tmpfs", "reference", Sample(value)) for value in (100, 100, 50)),
    )
    assert found.ratio("storm.2000@tmpfs") == 0.6
    assert found.median("storm.2000@tmpfs", "vmproxy") == 30
    assert [met for *_, met in report.targets(found)] == ["yes"]
    assert "0.60" in report.table(found)


def test_a_target_is_not_met_where_a_byte_was_lost() -> None:
    sample = Sample(1.0, problems=["its log has 1 bytes and not 2"])
    found = results(("migrations.alone.goahead@ext4", "vmproxy", sample))
    assert [met for *_, met in report.targets(found)] == ["no"]
    assert "its log has 1 bytes and not 2" in report.table(found)


def test_a_load_that_was_the_limit_is_marked() -> None:
    found = results(
        ("lines.rate@tmpfs", "vmproxy", Sample(50.0, server=1.0, load=0.6)),
        ("lines.rate@tmpfs", "reference", Sample(90.0, server=0.7, load=1.0)),
    )
    assert not found.load_limited("lines.rate@tmpfs", "vmproxy")
    assert found.load_limited("lines.rate@tmpfs", "reference")
    assert "0.56*" in report.table(found)


def test_every_target_is_a_figure_of_its_own() -> None:
    for target in figures.TARGETS:
        assert figures.figure(target.key).name(target.key)
    assert len({target.key for target in figures.TARGETS}) == len(figures.TARGETS)


def test_quick_sizes_fit_everywhere() -> None:
    assert QUICK.problem(4096) == ""
    assert "ulimit -Hn" in QUICK.problem(500)


def test_percentiles() -> None:
    assert percentile([], 99) == 0
    assert percentile([3, 1, 2], 50) == 2
    assert percentile(list(range(1000)), 99) == 990


def test_the_names_of_vmotions_hold_no_byte_255() -> None:
    assert all(255 not in canned.sequence(number) for number in (0, 199, 200, 39_999, 16_000, 200**4 - 1))


def test_all_modes_have_their_names() -> None:
    assert {"storm", "idle", "lines", "bulk", "migrations", "typing", "fanout", "replay", "start"} <= set(MODES)
