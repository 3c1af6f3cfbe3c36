"""What comes along for those who watch over the daemon: alert rules with their tests, and a board."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.support.cases import each
from tests.support.metrics import PROMTOOL, Whole, families, whole
from tests.support.requirements import promtool

__all__ = ["whole"]

ROOT = Path(__file__).resolve().parents[2]
SHARE = ROOT / "share" / "vmproxy"
RULES = (SHARE / "prometheus-rules.yml").read_text()
ALERTS = re.split(r"\n {6}- alert: ", RULES)[1:]
NAMES = [rule.split("\n", 1)[0] for rule in ALERTS]
BOARD = json.loads((SHARE / "grafana-board.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
MONITORING = (ROOT / "docs" / "monitoring.rst").read_text()
CONTRACT = [
    "VmproxyDown",
    "VmproxyNotRecording",
    "VmproxyBytesLost",
    "VmproxyDiskSlow",
    "VmproxyDiskFull",
    "VmproxyConsolesDropped",
    "VmproxyVMotionAbandoned",
    "VmproxyVMotionSlow",
    "VmproxyReactorLate",
    "VmproxyLoginsFailing",
    "VmproxyRefusing",
    "VmproxyDescriptorsLow",
    "VmproxyReloadFailed",
    "VmproxyAuditNotWritten",
    "VmproxyCertificateExpires",
]


def run(*arguments: str | Path) -> str:
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def series_in(text: str) -> set[str]:
    """The series that an expression names."""
    return set(re.findall(r"\b(?:vmproxy|process)_[a-z0-9_]+", text))


def existing(whole: Whole) -> set[str]:
    found = families(whole.scrape())
    gauges = {family.name for family in found.values() if family.type == "gauge"}  # of certificates there may be none
    return gauges | {sample.name for family in found.values() for sample in family.samples}


class TestRules:
    @promtool
    def test_promtool_accepts_them(self) -> None:
        assert f"{len(ALERTS)} rules found" in run("check", "rules", SHARE / "prometheus-rules.yml")

    @promtool
    def test_each_comes_when_it_should_and_not_before(self) -> None:
        assert "SUCCESS" in run("test", "rules", SHARE / "prometheus-rules-test.yml")

    def test_each_is_tested(self) -> None:
        tests = (SHARE / "prometheus-rules-test.yml").read_text()
        assert [name for name in NAMES if f"- alertname: {name}\n" not in tests] == []

    def test_all_that_there_should_be_are_there(self) -> None:
        assert list(dict.fromkeys(NAMES)) == CONTRACT

    def test_they_name_only_series_that_there_are(self, whole: Whole) -> None:
        named = set().union(*(series_in(rule.split("labels:")[0]) for rule in ALERTS))
        assert len(named) > 15
        assert named - existing(whole) == set()

    @each("rule", ALERTS)
    def test_each_says_what_is_what_to_do_and_where_there_is_more(self, rule: str) -> None:
        name = rule.split("\n", 1)[0]
        for field in ("summary: >-\n", "action: >-\n", "severity: "):
            assert field in rule
        assert f"runbook: docs/monitoring.rst#{name.lower()}" in rule
        assert re.search(rf"^{name}\n[-~^]{{{len(name)}}}$", MONITORING, re.MULTILINE), "docs/monitoring.rst lacks it"


class TestBoard:
    def test_its_rows_and_variables_are_those_of_the_manual(self) -> None:
        rows = [panel["title"] for panel in BOARD["panels"] if panel["type"] == "row"]
        assert rows == ["Consoles and VMs", "vMotion", "Logs and disk", "Operators and web", "Process"]
        assert [variable["name"] for variable in BOARD["templating"]["list"]] == ["datasource", "instance"]
        assert all(panel["datasource"]["uid"] == "${datasource}" for panel in PANELS)
        assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])

    def test_no_panel_lies_on_another(self) -> None:
        taken: dict[tuple[int, int], str] = {}
        for panel in BOARD["panels"]:
            at: dict[str, Any] = panel["gridPos"]
            for x in range(at["x"], at["x"] + at["w"]):
                for y in range(at["y"], at["y"] + at["h"]):
                    assert (x, y) not in taken, (panel["title"], taken[x, y])
                    taken[x, y] = panel["title"]

    def test_it_names_only_series_that_there_are_and_every_one_of_ours(self, whole: Whole) -> None:
        named = set().union(*(series_in(expression) for _, expression in EXPRESSIONS))
        there = existing(whole)
        assert named - there == set()
        ours = {re.sub(r"_(bucket|count|sum)$", "_bucket", name) for name in there if name.startswith("vmproxy_")}
        assert ours - named == set(), "no panel shows it"

    @promtool
    def test_every_expression_is_valid(self, tmp_path: Path) -> None:
        rules = [
            {"record": f"board:{number}", "expr": expression.replace("$__rate_interval", "5m")}
            for number, (_, expression) in enumerate(EXPRESSIONS)
        ]
        file = tmp_path / "board.yml"
        file.write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}))  # JSON is YAML
        assert f"{len(rules)} rules found" in run("check", "rules", file)


def test_every_series_is_in_the_manual(whole: Whole) -> None:
    names = {name for name in families(whole.scrape()) if name.startswith("vmproxy_")}
    assert [name for name in sorted(names) if f"``{name.removeprefix('vmproxy_')}" not in MONITORING] == []
