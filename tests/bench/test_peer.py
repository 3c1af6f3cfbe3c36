"""Another concentrator beside the two: ``--peer``."""

from __future__ import annotations

import errno
import itertools
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import canned, peer, report
from bench.loop import Loop
from bench.machines import TOLERANT, Fleet, storm
from bench.measure import Sample
from bench.peer import Peer
from bench.servers import BenchError
from tests.support.bench import run_bench

COMMAND = [sys.executable, str(Path(__file__).with_name("small_peer.py")), "{port}", "{folder}"]
CORES = os.sched_getaffinity(0)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Peer]:
    there = Peer(tmp_path / "small", CORES, COMMAND)
    there.start()
    yield there
    there.stop()


def test_a_peer_is_named_and_told_where_to_listen() -> None:
    assert peer.parse("kit=run --port={port} 'a b'", ()) == ("kit", ["run", "--port={port}", "a b"])


@pytest.mark.parametrize(
    "text", ["run {port}", "=run {port}", "a b=run {port}", "kit=run", "kit=", "vmproxy=run {port}"]
)
def test_what_is_no_peer(text: str) -> None:
    with pytest.raises(ValueError, match=r"no name for a peer|must have \{port\}"):
        peer.parse(text, ("vmproxy",))


def test_machines_connect_to_a_peer_in_its_own_order(small: Peer) -> None:
    loop = Loop()
    fleet = Fleet(loop, small.vm_port, 20, handshake=small.handshake)
    _, up = storm(fleet, fleet.machines, 5, 20)
    assert up == 20
    fleet.close()
    loop.close()


def test_what_a_peer_uses_is_that_of_all_its_processes_and_all_of_them_end(small: Peer) -> None:
    child = int((small.logs / "served by").read_text())
    assert child != small.process.pid
    resident = [Path(f"/proc/{pid}/statm").read_text() for pid in (child, small.process.pid)]
    assert all(int(line.split()[1]) > 0 for line in resident)
    assert small.memory() > max(int(line.split()[1]) for line in resident) * os.sysconf("SC_PAGE_SIZE")
    assert small.descriptors() > len(os.listdir(f"/proc/{child}/fd"))
    used = small.cpu()
    assert used > 0
    small.stop()
    with socket.socket() as attempt:
        assert attempt.connect_ex(("127.0.0.1", small.vm_port)) == errno.ECONNREFUSED


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["/nowhere/at/all", "{port}"], "No such file"),
        ([sys.executable, "-c", "import sys; sys.exit('no ' + sys.argv[1])", "port {port}"], "no port "),
    ],
)
def test_a_peer_that_does_not_start_is_told(tmp_path: Path, command: list[str], told: str) -> None:
    broken = Peer(tmp_path / "broken", CORES, command)
    with pytest.raises(BenchError, match=told):
        broken.start()
    broken.stop()


@pytest.mark.parametrize("com_port", [canned.DO_COM_PORT, canned.DONT_COM_PORT])
@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_a_machine_is_in_when_both_answers_have_come(order: tuple[int, ...], com_port: bytes) -> None:
    answers = (canned.SEEN_FIRST_QUESTION, canned.SEEN_WILL_PROXY, com_port)
    stage, received = 1, b""
    for number in order:
        received += answers[number]
        while stage < len(TOLERANT.joining) and TOLERANT.joining[stage][0].search(received):
            stage += 1
        seen = canned.SEEN_WILL_PROXY in received and com_port in received
        assert (stage == len(TOLERANT.joining)) is seen


def test_the_report_has_a_column_and_a_ratio_for_each_peer() -> None:
    results = report.Results(report.Machine.here(), quick=False, whole=False, peers=("kit",))
    for kind, value in {"vmproxy": 300.0, "reference": 600.0, "kit": 120.0}.items():
        results.add("storm.2000@tmpfs", kind, Sample(value))
    results.add("start@tmpfs", "vmproxy", Sample(1.0))
    text = report.table(results)
    assert "to kit" in text
    assert "2.50" in text
    figures = json.loads(json.dumps(report.as_json(results)))["figures"]
    assert figures["storm.2000@tmpfs"]["peers"] == {"kit": {"value": 120.0, "ratio": 2.5}}
    assert figures["start@tmpfs"]["peers"] == {}


def test_a_peer_without_a_port_is_an_error(tmp_path: Path) -> None:
    done, found = run_bench(tmp_path, "storm", "--peer", "kit=run")
    assert (done.returncode, found) == (2, {})
    assert "--peer: kit: the command must have {port}" in done.stderr


@pytest.mark.slow
def test_a_peer_is_measured_beside_the_two(tmp_path: Path) -> None:
    command = " ".join(COMMAND)
    done, found = run_bench(tmp_path, "storm", "bulk", "migrations", "replay", "--peer", f"small={command}")
    assert done.returncode == 0, done.stderr
    assert found["failures"] == []
    for key, figure in found["figures"].items():
        if key.startswith("replay."):  # that needs operators
            assert figure["peers"] == {}
        else:
            assert figure["peers"]["small"]["value"] > 0, key
            assert figure["peers"]["small"]["ratio"] > 0, key
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]
