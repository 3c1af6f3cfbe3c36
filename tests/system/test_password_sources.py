"""Passwords of a directory and of PAM: real servers, the daemon as a process, the OpenSSH client."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.daemon import PATIENCE, Daemon, environment
from tests.support.directory import BASE, READER, READER_SECRET, SLAPD, Directory
from vmproxy.auth.passwords import hash_password

MakeDaemon = Callable[..., Daemon]
PEOPLE = {"alice": ("Alice (a*)", "in the directory"), "b.smith": ("Bob", "of Bob"), "eve": ("Eve", "outside secret")}
IN_FILE = "in the file"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    if SLAPD is None:
        pytest.skip("there is no slapd (Debian: slapd)")
    made = Directory(tmp_path_factory.mktemp("slapd"))
    made.fill(PEOPLE)
    with made.running():
        yield made


def settings(directory: Directory, folder: Path, server: str, how: str) -> str:
    (folder / "reader").write_text(f"{READER_SECRET}\n")
    operators = folder / "operators.toml"
    operators.touch(0o600)
    operators.write_text(
        f"""
        default-password = "ldap"
        [operators.alice]
        [operators.bob]
        directory-name = "b.smith"
        [operators.carol]
        password = '{hash_password(IN_FILE)}'
        """
    )
    return f"""
[ssh]
operators-file = "{operators}"
[ldap]
servers = ["ldaps://127.0.0.1:1", "{server}"]
ca-file = "{directory.certificate}"
{how}
"""


SEARCH = f'base = "{BASE}"\nbind-dn = "{READER}"\npassword-file = "reader"'
PATTERN = f'user-dn = "uid={{name}},ou=people,{BASE}"\nstart-tls = true'


def login(daemon: Daemon, user: str, secret: str) -> int:
    """Log in with a password; :returns: the exit status of the command ``list``."""
    askpass = daemon.folder / "askpass"
    askpass.write_text(f"#!/bin/sh\necho '{secret}'\n")
    askpass.chmod(0o700)
    env = {**environment(), "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    line = [word.replace("BatchMode=yes", "BatchMode=no") for word in daemon.ssh(user=user)]
    options = ["-o", "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=1", "127.0.0.1", "list"]
    done = subprocess.run(
        [*line, *options], capture_output=True, stdin=subprocess.DEVNULL, env=env, timeout=PATIENCE, check=False
    )
    return done.returncode


@pytest.mark.parametrize(("secure", "how"), [(True, SEARCH), (False, PATTERN)])
def test_a_directory_says_who_has_which_password(
    make_daemon: MakeDaemon, tmp_path: Path, directory: Directory, secure: bool, how: str
) -> None:
    server = directory.secure if secure else directory.clear
    how = how.replace('"reader"', f'"{tmp_path / "reader"}"')
    daemon = make_daemon(settings(directory, tmp_path, server, how))
    assert login(daemon, "alice", "in the directory") == 0
    assert login(daemon, "bob", "of Bob") == 0
    assert login(daemon, "carol", IN_FILE) == 0
    for user, secret in (("alice", "wrong"), ("eve", "outside secret"), ("b.smith", "of Bob")):
        assert login(daemon, user, secret) == 255, user
    assert [(event["who"], event["method"]) for event in daemon.audited("login", count=3)] == [
        (who, "password") for who in ("alice", "bob", "carol")
    ]
    told = daemon.said() + (daemon.state / "audit.jsonl").read_text()
    assert not [secret for _, secret in PEOPLE.values() if secret in told]
    assert READER_SECRET not in told


def test_a_directory_with_another_certificate_gets_no_password(
    make_daemon: MakeDaemon, tmp_path: Path, directory: Directory
) -> None:
    text = settings(directory, tmp_path, directory.secure, f'user-dn = "uid={{name}},ou=people,{BASE}"')
    daemon = make_daemon("\n".join(line for line in text.splitlines() if "ca-file" not in line))
    assert login(daemon, "alice", "in the directory") == 255
    (event,) = daemon.audited("login-failed", count=1)
    assert "does not answer" in str(event["reason"])
    assert "certificate" in str(event["reason"]).lower()
    assert login(daemon, "carol", IN_FILE) == 0


def test_a_service_of_pam_for_one_operator(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    services = Path("/etc/pam.d")
    if not os.access(services, os.W_OK):
        pytest.skip(f"{services} cannot be written to")
    script = tmp_path / "check"
    script.write_text('#!/bin/sh\nread -r secret; [ "$PAM_USER" = alice ] && [ "$secret" = "of the system" ]\n')
    script.chmod(0o755)
    operators = tmp_path / "operators.toml"
    operators.touch(0o600)
    operators.write_text('[operators.alice]\npassword = "pam"\n[operators.bob]\n')
    with ExitStack() as stack:
        service = services / f"vmproxy-test-system-{os.getpid()}"
        stack.callback(service.unlink)
        service.write_text(
            f"auth [success=1 default=ignore] pam_exec.so expose_authtok quiet {script}\n"
            "auth requisite pam_deny.so\nauth required pam_permit.so\naccount required pam_permit.so\n"
        )
        daemon = make_daemon(f'[ssh]\noperators-file = "{operators}"\n[pam]\nservice = "{service.name}"\n')
        assert login(daemon, "alice", "of the system") == 0
        assert login(daemon, "alice", "wrong") == 255
        assert login(daemon, "bob", "of the system") == 255
