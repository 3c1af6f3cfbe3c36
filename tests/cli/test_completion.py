"""Completion of ``vmproxy`` in shells: what they are given, and what bash makes of it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.requirements import require
from vmproxy.cli.completion import SHELLS, script
from vmproxy.cli.main import main, parsers


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_its_options_are_there(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    for name in parsers()[1]:
        assert name in text
    for option in ("no-tls", "strict", "ssh-listen"):
        assert option in text
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True, timeout=60)


def completed(*words: str) -> set[str]:
    """What bash offers for the last of some words."""
    quoted = " ".join(f"'{word}'" for word in words)
    lines = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _vmproxy; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    command = ["bash", "--norc", "--noprofile", "-c", script("bash", parsers()[1]) + lines]
    return set(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines())


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes(tmp_path: Path) -> None:
    assert completed("vmproxy", "ma") == {"make-cert"}
    assert completed("vmproxy", "init", "--no") == {"--no-tls"}
    assert "--diff" in completed("vmproxy", "check", "--")
    (tmp_path / "my vm.toml").touch()
    assert completed("vmproxy", "check", f"{tmp_path}/my") == {f"{tmp_path}/my vm.toml"}


SSH = """\
#!/bin/sh
printf '%s\\n' "$*" >"$SAID"
printf '%s\\n' web01 "'VM (old)'" tag:x
"""
BASH = """\
COMP_LINE=$1 COMP_POINT=${#1}; read -ra COMP_WORDS <<<"$1"
[[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_WORDS[-1]=${COMP_WORDS[-1]#tag:}  # a colon breaks words
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _vmproxy_ssh; printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = "complete -C $argv[1]\n"
ZSH = """\
_ssh() { }
compadd() { shift; print -l -- "${(q)@}" }
words=(${(z)1}); [[ $1 == *" " ]] && words+=("")
CURRENT=$#words; _vmproxy_ssh
"""
SHELL = {"bash": (["bash", "--norc", "--noprofile"], BASH), "fish": (["fish", "-N"], FISH), "zsh": (["zsh", "-f"], ZSH)}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("typed", "asked", "offered"),
    [
        ("ssh con w", ["con", "complete", "w"], "web01"),
        ("ssh -t alice@con list --sort we", ["alice@con", "complete", "list --sort we"], "web01"),
        ("ssh con ", ["con", "complete", ""], "\\'VM\\ \\(old\\)\\'"),
        ("ssh con tag:", ["con", "complete", "tag:"], "x"),
        ("ssh other con2 list", [], None),
    ],
)
def test_what_is_typed_behind_ssh_is_asked_of_the_concentrator(
    tmp_path: Path, shell: str, typed: str, asked: list[str], offered: str | None
) -> None:
    require(shell)
    ssh, said, file = tmp_path / "ssh", tmp_path / "said", tmp_path / "file"
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    said.touch()
    start, lines = SHELL[shell]
    text = script(shell, parsers()[1], "con")
    if shell == "zsh":  # without the completion system, of which a script has none
        text = "".join(text.partition("_vmproxy_ssh() {")[1:]).replace("autoload -Uz _ssh && compdef", ": ")
    file.write_text(text + lines)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SAID": str(said), "HOME": str(tmp_path)}
    done = subprocess.run([*start, file, typed], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert shlex.split(said.read_text())[4:] == asked
    found = done.stdout.split("\n")
    if offered is not None:
        assert {offered, offered.replace("\\", ""), f"tag:{offered}"} & set(found), (found, done.stderr)


def test_a_host_is_a_host(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "bash", "--ssh", "a;b"])
    assert "is no host" in capsys.readouterr().err
