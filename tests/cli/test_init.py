"""``vmproxy init``: the files that it writes are right, and nothing that is there is lost."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import environment
from vmproxy.auth.accounts_file import load_operators
from vmproxy.cli import main
from vmproxy.config.settings import load
from vmproxy.vm import certificates

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPq4mYfXrd+IScl1Wd9g3Y8lTYVfkjVqsAJVl/cQMCy alice@laptop"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        status = main.main(["init", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "id_ed25519.pub"
    file.write_text(f"# mine\n\n{KEY}\n")
    return file


def test_what_it_writes_is_read_as_it_was_meant(tmp_path: Path, key: Path, run: Run) -> None:
    folder = tmp_path / 'a "folder"'
    answers = ("--name", "con.example.com", "--service-uri", 'lab "1"\\', "--operator", "alice", "--key", key)
    status, out, err = run("--yes", "--dir", folder, *answers)
    assert (status, err) == (0, "")
    config = load(folder / "vmproxy.toml", {})
    assert config.vm.service_uri == ('lab "1"\\',)
    assert (config.state_dir, config.log.dir) == (folder / "var", folder / "log")
    assert config.ssh.accounts.operators_file == folder / "operators.toml"
    entry = load_operators(folder / "operators.toml").entries["alice"]
    assert len(entry.keys) == 1
    assert entry.account.groups == ("admins",)
    shown = certificates.load(config.vm.tls)
    assert shown is not None
    (certificate,) = shown.certificates
    assert certificate.names == ("con.example.com",)
    assert f"telnets://con.example.com:13371#thumbprint={certificate.thumbprint}\n" in out
    assert "ssh -p 2222 alice@con.example.com list\n" in out
    assert stat.S_IMODE((folder / "vm.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "operators.toml").stat().st_mode) & 0o007 == 0
    assert main.main(["check", str(folder / "vmproxy.toml")]) == 0


def test_without_tls_there_is_no_certificate(tmp_path: Path, key: Path, run: Run) -> None:
    folder = tmp_path / "new"
    status, out, _ = run("--yes", "--dir", folder, "--no-tls", "--name", "2001:db8::1", "--operator", "a", "--key", key)
    assert status == 0
    assert "telnet://[2001:db8::1]:13370\n" in out
    assert sorted(file.name for file in folder.iterdir()) == ["operators.toml", "vmproxy.toml"]
    assert load(folder / "vmproxy.toml", {}).vm.tls.pairs == ()


@pytest.mark.parametrize("there", ["vmproxy.toml", "operators.toml", "vm.pem"])
def test_nothing_is_overwritten(tmp_path: Path, key: Path, run: Run, there: str) -> None:
    (tmp_path / there).write_text("precious")
    status, out, err = run("--yes", "--dir", tmp_path, "--operator", "alice", "--key", key)
    assert (status, out) == (1, "")
    assert f"{tmp_path / there}: it is there already" in err
    assert (tmp_path / there).read_text() == "precious"
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / there, key])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (("--operator", "al ice"), "not a name for an operator"),
        (("--name", "no name"), "neither a DNS name nor an address"),
        (("--name", "no name", "--no-tls"), "neither a DNS name nor an address"),
        (("--service-uri", ""), "vm.service-uri"),
        (("--key", "missing.pub"), "missing.pub: No such file"),
        (("--key", "private"), "this is a private key"),
        (("--key", "nonsense"), "operators.toml:3"),
        (("--key", "empty"), "no public key"),
    ],
)
def test_wrong_answers_write_nothing_and_are_named(
    tmp_path: Path, key: Path, run: Run, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("private").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    Path("nonsense").write_text("hello\n")
    Path("empty").write_text("# nothing\n")
    own = () if "--key" in given else ("--key", str(key))
    status, out, err = run("--yes", "--dir", tmp_path / "new", *own, "--operator", "alice", *given)
    assert (status, out) == (1, "")
    assert reason in err
    assert not (tmp_path / "new").exists()


def test_at_a_terminal_it_asks_five_questions(tmp_path: Path, key: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "vmproxy", "init", "--key", str(key)]
    process = subprocess.Popen(
        command,
        cwd=home,
        env={**environment(), "HOME": str(home)},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    os.close(theirs)
    with os.fdopen(ours, "wb", buffering=0) as terminal:
        terminal.write(f"{tmp_path / 'new'}\ncon.example.com\n\nno\nalice\n".encode())
        said, _ = process.communicate()
    assert process.returncode == 0, said
    assert said.count("]: ") == 5
    assert "[vmproxy]: " in said
    assert load(tmp_path / "new/vmproxy.toml", {}).vm.service_uri == ("vmproxy",)
    assert not (tmp_path / "new/vm.pem").exists()


@pytest.mark.parametrize(("answer", "encrypts"), [("Y", True), ("YES", True), ("", True), ("No", False), ("yse", None)])
def test_whether_to_encrypt_is_no_matter_of_capitals(
    tmp_path: Path, key: Path, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str, encrypts: bool | None
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: answer if "certificate" in question else "")
    given = ("--name", "con.example.com", "--service-uri", "lab", "--operator", "alice", "--key", key)
    status, _, err = run("--dir", tmp_path / "new", *given)
    if encrypts is None:
        assert (status, err) == (1, "yse: answer yes or no\n")
        assert not (tmp_path / "new").exists()
    else:
        assert status == 0
        assert (tmp_path / "new/vm.pem").exists() is encrypts
