"""``vmproxy trace`` begins the SSH client with the operators' command."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from vmproxy.cli.main import main


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words of the client."""
    words: list[str] = []
    monkeypatch.setattr(os, "execvp", lambda _, command: words.extend(command))
    return words


def config(tmp_path: Path, listen: str) -> str:
    path = tmp_path / "vmproxy.toml"
    path.write_text(f"[ssh]\nlisten = [{listen}]\n")
    return str(path)


@pytest.mark.parametrize(
    ("listen", "address", "port"),
    [
        ('"tcp:2222"', "127.0.0.1", "2222"),
        ('"tcp6:2200"', "::1", "2200"),
        ('"unix:/run/x", "tcp:port=22:interface=10.1.2.3"', "10.1.2.3", "22"),
        ('"tcp:2022:interface=0.0.0.0"', "127.0.0.1", "2022"),
        (r'"tcp:2022:interface=2001\\:db8\\:\\:1"', "2001:db8::1", "2022"),
        (r'"tcp:2022:interface=\\:\\:"', "::1", "2022"),
    ],
)
def test_it_connects_to_where_operators_do(
    tmp_path: Path, begun: list[str], listen: str, address: str, port: str
) -> None:
    main(["trace", "-c", config(tmp_path, listen), "esx03"])
    assert begun[:1] + begun[3:] == ["ssh", "-p", port, "--", address, "trace esx03"]


def test_its_options_are_the_client_s_and_the_command_s(tmp_path: Path, begun: list[str]) -> None:
    where = config(tmp_path, '"tcp:2222"')
    main(["trace", "-c", where, "-l", "alice", "-i", "key", "-n", "5", "--for", "10", "VM (old)"])
    assert begun[3:-3] == ["-p", "2222", "-l", "alice", "-i", "key"]
    assert shlex.split(begun[-1]) == ["trace", "VM (old)", "-n", "5", "--for", "10"]


def test_where_there_is_nowhere_to_connect_to_it_says_so(
    tmp_path: Path, begun: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", "-c", config(tmp_path, '"unix:/run/x"'), "web01"]) == 1
    assert main(["trace", "-c", str(tmp_path / "none.toml"), "web01"]) == 1
    assert begun == []
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_without_a_client_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.prefix) / "none"))
    assert main(["trace", "-c", config(tmp_path, '"tcp:2222"'), "web01"]) == 1
    assert capsys.readouterr().err.startswith("ssh: No such file or directory; log in by SSH")
