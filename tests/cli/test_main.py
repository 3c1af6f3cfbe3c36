"""The ``vmproxy`` command: what it prints where, and its exit statuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import vmproxy
from vmproxy.cli import main


def test_check_of_a_good_file_says_so_and_exits_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "good.toml"
    file.write_text("[vm]\nkeep-idle = 5\n")
    assert main.main(["check", str(file)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == f"{file}: nothing is wrong with it"
    assert err == ""


def test_check_of_a_bad_file_lists_every_problem_on_stderr_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[vm]\nkeep-idle = -5\nlisen = 1\n[log]\nfile = 'x'\n")
    assert main.main(["check", str(file)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"{file}:{number}" for number in (2, 3, 5)]
    assert sum("did you mean vm.listen?" in line for line in lines) == 1


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_check_of_what_cannot_be_read_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main.main(["check", str(tmp_path / name)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(str(tmp_path))
    assert err.count("\n") == 1


def test_check_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "c.toml"
    file.write_text("state-dir = 'made'\n")
    assert main.main(["check", "c.toml"]) == 0
    assert capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("arguments", [[], ["check"], ["nonsense"], ["check", "a", "b"], ["check", "--nonsense", "a"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(arguments)
    assert caught.value.code == 2
    assert "usage: vmproxy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["chek", "x"], "chek: no such command; did you mean check?"),
        (["check", "x", "--strct"], "--strct: not expected here; did you mean --strict?"),
        (["simulate", "--nmaes=a"], "--nmaes=a: not expected here; did you mean --names?"),
        ([], "give a command: run, "),
    ],
)
def test_what_is_misspelt_is_told_with_what_is_near(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main.main(arguments)
    assert meant in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "make-cert", "simulate", "demo", "hash-password"])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help(command: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main([command, option])
    assert caught.value.code == 0
    assert f"usage: vmproxy {command}" in capsys.readouterr().out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(command in text for command in ("check", "simulate", "demo"))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"vmproxy {vmproxy.__version__}\n"


@pytest.mark.parametrize(
    ("command", "function"), [("simulate", "vmproxy.cli.simulate.run"), ("demo", "vmproxy.cli.demo.run")]
)
def test_the_other_commands_hand_back_their_own_status(
    monkeypatch: pytest.MonkeyPatch, command: str, function: str
) -> None:
    monkeypatch.setattr(function, lambda args: 37)
    assert main.main([command]) == 37


@pytest.mark.parametrize(
    "options",
    [["-n", "0"], ["-n", "x"], ["--abort-share", "1.5"], ["--connect-rate", "0"], ["--duration", "-1"]],
)
def test_simulate_refuses_values_that_make_no_sense(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    monkeypatch.setattr("vmproxy.cli.simulate.run", lambda args: 0)
    with pytest.raises(SystemExit) as caught:
        main.main(["simulate", *options])
    assert caught.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_as_a_module_it_is_the_same_command_and_its_status_is_that_of_the_process(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("xyzzy = 1\n")
    done = subprocess.run(
        [sys.executable, "-m", "vmproxy", "check", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"{file}:1: xyzzy: there is no such setting\n"
