"""``vmproxy check --as``: what an operator may do, and by which rule; and ``vmproxy hash-password``."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vmproxy.auth.passwords import verify
from vmproxy.cli import main

RULES = """
[[rule]]
who = "@admins"
may = ["admin"]
on = "*"
[[rule]]
who = "*"
may = []
on = ["vault*"]
[[rule]]
who = ["alice", "@web"]
may = ["write"]
on = ["web*", "query:team=blue"]
"""
VM = "564d0d5e-9f1c-4e5a-8f3b-000000000001"
OTHER = "564d0d5e-9f1c-4e5a-8f3b-000000000002"

Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs the command on a configuration with these rules and two known consoles."""
    state = tmp_path / "state"
    state.mkdir()
    known = {"host": "", "up": False, "since": 0, "reason": "", "template": "{uuid}.log"}
    (state / "consoles.jsonl").write_text(
        json.dumps({"uuid": VM, "port": "1", "name": "web01", "uri": "vmproxy", "log": "a.log", **known})
        + "\n"
        + json.dumps({"uuid": OTHER, "port": "1", "name": "db\x1b01", "uri": "vmproxy?team=blue", "log": "b", **known})
        + "\n"
    )

    def run(*arguments: str, rules: str = RULES, operators: str = "") -> tuple[int, str, str]:
        file = tmp_path / "vmproxy.toml"
        section = ""
        if operators:
            (tmp_path / "operators.toml").write_text(operators)
            section = f'[ssh]\noperators-file = "{tmp_path}/operators.toml"\n'
        file.write_text(f'state-dir = "{state}"\n{section}{rules}')
        status = main.main(["check", str(file), *arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return run


OPERATORS = '[operators.alice]\ngroups = ["web"]\n[operators.root]\ngroups = ["admins"]\n'


def test_the_rule_that_decides_and_those_that_do_not(check: Check) -> None:
    status, out, err = check("--as", "alice", "--console", "web01", operators=OPERATORS)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"alice (@web) on web01 ({VM}, vmproxy):",
        "  not: rule 1: @admins may see, spy, write, force, raw, admin on * -- it does not name the operator",
        "  not: rule 2: * may not see vault* -- it does not name the console",
        "  may see, spy, write",
        "  by rule 3: @web, alice may see, spy, write on web*, query:team=blue",
    ]


def test_by_the_service_uri_of_a_known_console(check: Check) -> None:
    status, out, _ = check("--as", "alice", "--console", OTHER, operators=OPERATORS)
    assert status == 0
    assert "on db\\x1b01" in out
    assert "  by rule 3" in out


def test_what_no_rule_allows(check: Check) -> None:
    status, out, _ = check("--as", "bob", "--console", "web01", rules=RULES)
    assert status == 0
    assert out.splitlines()[-1] == "  no access (hidden): no rule names both"


def test_what_a_rule_hides(check: Check) -> None:
    status, out, _ = check("--as", "alice", "--console", "vault7", operators=OPERATORS)
    assert status == 0
    assert out.splitlines()[0] == "vault7 is not known; rules by UUID or service URI do not match it"
    assert out.splitlines()[-2:] == [
        "  no access (hidden)",
        "  by rule 2: * may not see vault*",
    ]


def test_without_rules(check: Check) -> None:
    status, out, _ = check("--as", "anybody", "--console", "web01", rules="")
    assert status == 0
    assert out.splitlines()[1:] == ["  may see, spy, write, force, raw, admin", "  because there are no rules"]


def test_all_known_consoles(check: Check) -> None:
    status, out, _ = check("--as", "root", operators=OPERATORS)
    assert status == 0
    assert out.splitlines() == [
        "root (@admins) may, on the consoles that are known:",
        "  " + "db\\x1b01".ljust(30) + " see, spy, write, force, raw, admin (rule 1)",
        "  " + "web01".ljust(30) + " see, spy, write, force, raw, admin (rule 1)",
    ]


def test_an_operator_whom_nobody_knows(check: Check) -> None:
    status, out, err = check("--as", "mallory", "--console", "web01", operators=OPERATORS)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1] == "mallory: there is no such operator"


def test_a_console_alone_is_not_enough(check: Check) -> None:
    assert check("--console", "web01")[0] == 2


def test_a_rule_that_names_strangers_is_pointed_out(check: Check) -> None:
    status, out, err = check(operators="[operators.root]\n")
    assert status == 0
    assert "nothing is wrong" in out
    assert [line.partition(": ")[2] for line in err.splitlines()] == [
        "rule 1: there is no group @admins in the operators file",
        "rule 3: there is no group @web in the operators file",
        "rule 3: there is no operator alice in the operators file",
    ]


def test_problems_of_the_operators_file_are_told(check: Check) -> None:
    status, out, err = check(operators="[operators.alice]\npasword = 'x'\n")
    assert (status, out) == (1, "")
    assert "operators.toml" in err
    assert "pasword" in err


def test_a_list_of_revoked_keys_that_makes_no_sense(check: Check, tmp_path: Path) -> None:
    (tmp_path / "revoked").write_text("nonsense\n")
    status, out, err = check(operators='revoked-keys = "revoked"\n[operators.alice]\n')
    assert (status, out) == (1, "")
    assert err.startswith(f"{tmp_path}/revoked: ")
    assert err.endswith("; every key is refused because of that\n")


def test_a_password_is_hashed_from_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
    assert main.main(["hash-password"]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("$argon2id$")
    assert verify(out.strip(), b"correct horse")
    assert not verify(out.strip(), b"correct horse\n")


def test_an_empty_password_is_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert main.main(["hash-password"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "empty" in err


def test_a_password_that_is_typed_is_typed_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    answers = iter(["one", "two", "same", "same"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    assert main.main(["hash-password"]) == 1
    assert "the passwords differ" in capsys.readouterr().err
    assert main.main(["hash-password"]) == 0
    assert verify(capsys.readouterr().out.strip(), b"same")
