"""Completion of ``vmproxy`` in shells: what they are given, and what bash makes of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

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
