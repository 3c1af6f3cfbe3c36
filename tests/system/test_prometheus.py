"""A real Prometheus scrapes a real daemon, with the rules that come along, and answers questions about it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from tests.support.daemon import ROOT, Daemon, eventually
from tests.support.host import FakeVM
from tests.support.requirements import promtool

WEB = '[web]\nlisten = ["tcp:0:interface=127.0.0.1"]\nmetrics-from = ["127.0.0.0/8"]\n'
pytestmark = promtool


class Prometheus:
    """A server of its own, on a port of the system's choice."""

    def __init__(self, folder: Path, target: str) -> None:
        folder.mkdir()
        config = folder / "prometheus.yml"
        scrape = {"job_name": "vmproxy", "scrape_interval": "1s", "static_configs": [{"targets": [target]}]}
        rules = [str(ROOT / "share" / "vmproxy" / "prometheus-rules.yml")]
        config.write_text(json.dumps({"scrape_configs": [scrape], "rule_files": rules}))  # JSON is YAML
        self._output = folder / "prometheus.out"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    shutil.which("prometheus") or "prometheus",
                    f"--config.file={config}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    "--web.listen-address=127.0.0.1:0",
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        listens = re.compile(r'msg="Listening on" address=127\.0\.0\.1:(\d+)')
        found: Any = eventually(lambda: listens.search(self._output.read_text()), "Prometheus listens")
        eventually(lambda: "Server is ready" in self._output.read_text(), "Prometheus is ready")
        self._url = f"http://127.0.0.1:{found[1]}/api/v1"

    def ask(self, path: str) -> Any:
        with urlopen(f"{self._url}/{path}", timeout=30) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> dict[tuple[str, ...], float]:
        """The values now, by the labels that are not those of the target."""
        result = self.ask(f"query?query={quote(expression)}")["result"]
        own = ("__name__", "instance", "job")
        return {
            tuple(value for name, value in sorted(one["metric"].items()) if name not in own): float(one["value"][1])
            for one in result
        }

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Prometheus]]:
    made: list[Prometheus] = []

    def start(target: str) -> Prometheus:
        made.append(Prometheus(tmp_path / "prometheus", target))
        return made[-1]

    yield start
    for one in made:
        one.stop()


def test_prometheus_scrapes_the_daemon_and_answers_questions_about_it(
    make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM], start: Callable[[str], Prometheus]
) -> None:
    daemon = make_daemon(WEB)
    make_vm(daemon)
    prometheus = start(f"127.0.0.1:{daemon.web_port}")

    def answers(expression: str, what: str) -> None:
        # A scrape that a busy machine has not done within its second counts as one that failed, until the next.
        eventually(lambda: prometheus.query(expression), what)

    answers('vmproxy_consoles{state="up"} == 1', "the VM is up")
    answers('up{job="vmproxy"} == 1', "it is scraped")
    answers("process_open_fds / process_max_fds < 1", "it has descriptors left")
    answers("sum(vmproxy_disk_size_bytes) > 0", "it has a disk")
    # A question over a time; what has come since the first scrape is counted.
    answers("increase(vmproxy_reactor_late_seconds_count[1m]) > 0", "its timer is measured again and again")

    def healthy() -> bool:
        (target,) = prometheus.ask("targets")["activeTargets"]
        return (target["health"], target["lastError"]) == ("up", "")

    eventually(healthy, "the target is healthy")
    groups = prometheus.ask("rules")["groups"]
    assert [rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")] == []
    assert sum(len(group["rules"]) for group in groups) >= 15
    assert daemon.stop() < 0
