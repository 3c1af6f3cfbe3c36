"""Labels in commands: seen in ``list``, ``status`` and JSON, and selected by ``tag:``."""

from __future__ import annotations

import json

from tests.support.commands import result, run
from tests.support.fakes import VM_A, VM_B, FakeLink
from tests.support.ssh import SSHWorld

GROUPS = [{"on": ["web*"], "labels": {"team": "web", "role": ["proxy", "cache"]}}]


def two(w: SSHWorld) -> None:
    w.claim("web01", VM_A, "1", link=FakeLink(), uri="vmproxy?site=bonn")
    w.claim("db01", VM_B, "1", link=FakeLink())
    w.use_policy(None, None, GROUPS)


def test_they_are_shown(w: SSHWorld) -> None:
    two(w)
    out, _, _ = result(run(w, "list -c name,labels"))
    assert [line.split() for line in out.splitlines()] == [
        ["NAME", "LABELS"],
        ["db01", "-"],
        ["web01", "team=web", "role=proxy", "role=cache", "site=bonn"],
    ]
    assert "labels: team=web role=proxy role=cache site=bonn\n" in result(run(w, "status web01"))[0]
    assert "labels" not in result(run(w, "status db01"))[0]
    found = json.loads(result(run(w, "list --json"))[0])
    assert [one["labels"] for one in found] == [{}, {"team": ["web"], "role": ["proxy", "cache"], "site": ["bonn"]}]


def test_a_glob_selects_by_them(w: SSHWorld) -> None:
    two(w)
    for glob, names in [
        ("tag:team=web", "web01\n"),
        ("tag:site", "web01\n"),
        ("tag:role=c*", "web01\n"),
        ("tag:team=web 'd*'", "db01\nweb01\n"),
    ]:
        assert result(run(w, f"list -c name {glob}")) == (f"NAME\n{names}", "", 0)
    assert result(run(w, "list tag:team=data"))[2] == 3


def test_who_is_let_in_by_a_label_loses_the_console_with_it(w: SSHWorld) -> None:
    two(w)
    rules = [{"who": "*", "may": ["spy"], "on": ["tag:team=web", "tag:site=bonn"]}]
    w.use_policy(rules, None, GROUPS)
    assert result(run(w, "list -c name"))[0] == "NAME\nweb01\n"
    w.use_policy(rules, None, [])  # what is left is told by the VM, and lets nobody in
    assert result(run(w, "list --json"))[0] == "[]\n"
    assert result(run(w, "status web01"))[2] == 3
