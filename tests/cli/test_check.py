"""``vmproxy check --as``: what an operator may do, and by which rule; and ``vmproxy hash-password``."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from uuid import UUID

import pytest

from vmproxy.auth.passwords import verify
from vmproxy.cli import main
from vmproxy.config import settings
from vmproxy.config.difference import IN_FORCE, write_in_force

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
            (tmp_path / "operators.toml").chmod(0o640)  # whatever the umask is
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
        "  not: rule 1: @admins may see, spy, write, force, raw, many, admin on * -- it does not name the operator",
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
    assert out.splitlines()[1:] == ["  may see, spy, write, force, raw, many, admin", "  because there are no rules"]


def test_all_known_consoles(check: Check) -> None:
    status, out, _ = check("--as", "root", operators=OPERATORS)
    assert status == 0
    assert out.splitlines() == [
        "root (@admins) may, on the consoles that are known:",
        "  " + "db\\x1b01".ljust(30) + " see, spy, write, force, raw, many, admin (rule 1)",
        "  " + "web01".ljust(30) + " see, spy, write, force, raw, many, admin (rule 1)",
    ]


def test_an_operator_whom_nobody_knows(check: Check) -> None:
    status, out, err = check("--as", "mallory", "--console", "web01", operators=OPERATORS)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1] == "mallory: there is no such operator"


def test_a_console_alone_shows_everybody(check: Check) -> None:
    status, out, _ = check("--console", "web01", operators=f"{OPERATORS}[operators.zoe]\n")
    assert status == 0
    assert out.splitlines() == [
        f"on web01 ({VM}, vmproxy):",
        "  " + "alice (@web)".ljust(30) + " see, spy, write (rule 3)",
        "  " + "root (@admins)".ljust(30) + " see, spy, write, force, raw, many, admin (rule 1)",
        "  " + "zoe".ljust(30) + " no access (hidden)",
    ]


def test_of_many_consoles_the_rules_are_shown(check: Check, tmp_path: Path) -> None:
    journal = tmp_path / "state" / "consoles.jsonl"
    line = journal.read_text().splitlines()[0]
    more = [line.replace(VM, str(UUID(int=n))).replace("web01", f"vm{n:03}") for n in range(1, 301)]
    journal.write_text(journal.read_text() + "".join(f"{one}\n" for one in more))
    status, out, _ = check("--as", "alice", operators=OPERATORS)
    assert status == 0
    assert out.splitlines()[1:] == [
        "  on 300: no access (hidden)",
        "      vm001, vm002, vm003, ...",
        "  on 2: see, spy, write (rule 3)",
        "      db\\x1b01, web01",
        "--console NAME says why, for one of them",
    ]


def test_what_is_misspelt_is_told_with_what_is_near(check: Check) -> None:
    assert "did you mean alice?" in check("--as", "alcie", operators=OPERATORS)[2]
    assert "did you mean web01?" in check("--as", "alice", "--console", "wbe01", operators=OPERATORS)[1]


def test_everything_is_told_at_once_by_line_and_the_warnings_are_counted(check: Check, tmp_path: Path) -> None:
    rules = RULES.replace('"write"', '"wirte"') + '[vm]\nlisen = 1\ncertificates = ["/nonexistent.pem"]\n'
    status, out, err = check(rules=rules, operators="revoked-keys = 'none'\n[operators.alcie]\nkeys-file = 'no'\n")
    assert (status, out) == (1, "")
    file = f"{tmp_path}/vmproxy.toml"
    told = [line.removeprefix(tmp_path.as_posix()) for line in err.splitlines()]
    assert [line.partition(": ")[0] for line in told if "(warning)" not in line] == [
        "/vmproxy.toml:15",
        "/vmproxy.toml:18",
        "/vmproxy.toml:19",
        "no key lets anybody in",
        "/vmproxy.toml",
    ]
    assert f"{file}:15: rule 3: may: 'wirte' is not a right" in err
    assert f"{file}:19: vm.certificates: /nonexistent.pem: No such file" in err
    assert "there is no operator alice in the operators file; did you mean alcie? (warning)" in err
    assert told[-1].endswith(f": 4 errors, {err.count('(warning)')} warnings")
    (tmp_path / "operators.toml").unlink()
    assert f"{file}:3: ssh.operators-file: {tmp_path}/operators.toml: No such file" in _again(tmp_path)


def _again(folder: Path) -> str:
    with redirect_stderr(io.StringIO()) as err:
        main.main(["check", str(folder / "vmproxy.toml")])
    return err.getvalue()


def test_warnings_are_errors_where_it_is_strict(check: Check, tmp_path: Path) -> None:
    assert check("--strict", operators=OPERATORS)[0] == 0
    for arguments, expected in (((), 0), (("--strict",), 1)):
        status, out, err = check(*arguments, operators="[operators.root]\n")
        assert status == expected
        assert f"{tmp_path}/vmproxy.toml: {err.count('(warning)')} warnings, no errors" in out.splitlines()


def test_the_mode_of_the_operators_file_is_warned_of_as_at_the_start(check: Check, tmp_path: Path) -> None:
    check(operators=OPERATORS)
    (tmp_path / "operators.toml").chmod(0o660)
    assert "may change who may log in; chown root:vmproxy and chmod 640 it (warning)" in _again(tmp_path)
    (tmp_path / "operators.toml").chmod(0o640)
    assert _again(tmp_path) == ""


def test_advice_names_what_is_open_and_nothing_that_is_decided(check: Check, tmp_path: Path) -> None:
    status, out, _ = check("--advise", rules="", operators="")
    assert status == 0
    keys = re.findall(r"^ ?\d+\. (\S+):", out, re.MULTILINE)
    assert keys == ["ssh.operators-file", "[[rule]]", "vm.certificates", "vm.networks", "log.rotate-size"]
    assert max(map(len, out.splitlines())) < 80 or str(tmp_path) in out
    assert f"{len(keys)} things to decide before production: vmproxy check" in check(rules="")[1]
    decided = f'{RULES}[vm]\nnetworks = ["10.0.0.0/8"]\n[log]\nfolder-total = "1 GB"\n'
    out = check("--advise", rules=decided, operators=OPERATORS + "password = '$argon2id$no'\n")[1]
    assert "[[rule]]" not in out
    assert "vm.networks" not in out
    assert "log." not in out


def test_the_difference_to_another_file(check: Check, tmp_path: Path) -> None:
    check(operators=OPERATORS)
    old = tmp_path / "old.toml"
    old.write_bytes((tmp_path / "vmproxy.toml").read_bytes())
    assert "nothing would change" in check("--diff", str(old), operators=OPERATORS)[1]
    rules = RULES.replace('"vault*"', '"safe*"') + "[vm]\nkeep-idle = 60\n[log]\nopen-files = 100\n"
    status, out, _ = check("--diff", str(old), rules=rules, operators=OPERATORS)
    assert status == 0
    assert out.splitlines() == [
        f"since {old}: 4 changes",
        "  vm.keep-idle: default -> 60",
        '  [[rule]] removed: {"who": "*", "may": [], "on": ["vault*"]}',
        '  [[rule]] added: {"who": "*", "may": [], "on": ["safe*"]}',
        "  log.open-files: default -> 100 (at the next start)",
    ]


def test_the_difference_of_hundreds_of_tables_that_are_alike(check: Check, tmp_path: Path) -> None:
    tables = "".join(
        f'[[console]]\non = "web{n:03}"\nmessage = "maintained by the team of the web"\n' for n in range(400)
    )
    check(rules=tables)
    old = tmp_path / "old.toml"
    old.write_bytes((tmp_path / "vmproxy.toml").read_bytes())
    _, out, _ = check("--diff", str(old), rules=tables.replace("maintained", "run"))
    assert out.splitlines()[0] == f"since {old}: 800 changes"
    assert out.count("[[console]] removed: ") == out.count("[[console]] added: ") == 400


def test_the_difference_to_what_the_daemon_has_read(check: Check, tmp_path: Path) -> None:
    status, _, err = check("--diff")
    assert status == 1
    assert "in-force.json: No such file" in err
    config = settings.load(tmp_path / "vmproxy.toml", {"vm-listen": ["tcp:1"]})
    write_in_force(config, 1_700_000_000)
    status, out, _ = check("--diff", rules=RULES + "[vm]\nkeep-idle = 60\n")
    assert status == 0
    assert "vm.keep-idle: default -> 60" in out
    assert "vm.listen" not in out
    for damaged in ("", "[]", "{}", '{"toml": 3}', '{"toml": "x", "name": "x", "options": {}, "at": 1}'):
        (tmp_path / "state" / IN_FORCE).write_text(damaged)
        assert check("--diff")[0] == 1


def test_a_rule_that_names_strangers_is_pointed_out(check: Check) -> None:
    status, out, err = check(operators="[operators.root]\n")
    assert status == 0
    assert "3 warnings, no errors" in out
    assert [line.partition(": ")[2] for line in err.splitlines()] == [
        "rule 1: there is no group @admins in the operators file (warning)",
        "rule 3: there is no group @web in the operators file (warning)",
        "rule 3: there is no operator alice in the operators file (warning)",
    ]


def test_clients_that_the_algorithms_shut_out_are_named_and_are_no_warning(check: Check) -> None:
    status, out, err = check("--strict", rules='[ssh]\nkex = "-diffie-*"\n')
    assert (status, err) == (0, "")
    assert "vmproxy.toml:3: ssh.kex: OpenSSH in FIPS mode (RHEL 8 and 9) cannot log in" in out
    assert "ssh" not in check("--strict", rules="")[1]


def test_problems_of_the_operators_file_are_told(check: Check) -> None:
    status, out, err = check(operators="[operators.alice]\npasword = 'x'\n")
    assert (status, out) == (1, "")
    assert "operators.toml" in err
    assert "pasword" in err


def test_a_list_of_revoked_keys_that_makes_no_sense(check: Check, tmp_path: Path) -> None:
    (tmp_path / "revoked").write_text("nonsense\n")
    status, out, err = check(operators='revoked-keys = "revoked"\n[operators.alice]\n')
    assert (status, out) == (1, "")
    assert err.startswith("no key lets anybody in: ")
    assert f"{tmp_path}/revoked" in err


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


def test_what_is_wrong_with_the_watches_is_told_by_line(check: Check, tmp_path: Path) -> None:
    rules = f'[alerts]\nwatch-file = "{tmp_path}/watch.toml"\n{RULES}'
    status, _, err = check(rules=rules)
    assert status == 1
    assert f"vmproxy.toml:3: alerts.watch-file: {tmp_path}/watch.toml: No such file or directory" in err
    watches = tmp_path / "watch.toml"
    watches.write_text('[[watch]]\nname = "w"\nmatch = "("\n')
    status, _, err = check(rules=rules)
    assert (status, f"{watches}:3: watch 1: match: (: no such pattern" in err) == (1, True)
    watches.write_text('[[watch]]\nname = "w"\nmatch = "x"\nrun = "/no/program"\n')
    watches.chmod(0o600)
    status, out, err = check(rules=rules)
    assert (status, "there is no program /no/program" in err, "1 warning, no errors" in out) == (0, True, True)
    assert check("--strict", rules=rules)[0] == 1


def test_what_watches_would_find_in_a_log_is_shown(check: Check, tmp_path: Path) -> None:
    watches, log = tmp_path / "watch.toml", tmp_path / "web01.log"
    watches.write_text('[[watch]]\nname = "a"\nmatch = "panic"\non = "db*"\n[[watch]]\nname = "b"\nmatch = "nothing"\n')
    watches.chmod(0o600)
    log.write_bytes(b"one\r\n\x1b[31mpan\x1b[0mic\r\n" + b"panic\n" * 9 + b"a prompt of panic")
    rules = f'[alerts]\nwatch-file = "{watches}"\n{RULES}'
    status, out, err = check("--watch-log", str(log), rules=rules)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        *["warning  a  panic"] * 5,
        "a: 11 lines",
        f"{log}: 11 found by 1 of 2 watches",
    ]
    assert check("--watch-log", f"{tmp_path}/no", rules=rules)[0] == 1
    assert check("--watch-log", str(log))[1] == "no watch looks for anything in lines\n"
