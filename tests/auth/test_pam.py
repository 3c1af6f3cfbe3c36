"""PAM with a service of the tests' own, and helpers that misbehave."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmproxy.auth import pam, pam_helper
from vmproxy.auth.pam import PAM, PAMSettings
from vmproxy.auth.passwords import CannotCheck

SERVICES = Path("/etc/pam.d")
SCRIPT = """#!/bin/sh
read -r secret
[ "$PAM_USER" = alice ] && [ "$secret" = "correct horse" ]
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    """A service in which alice has a password."""
    if not os.access(SERVICES, os.W_OK):
        pytest.skip(f"{SERVICES} cannot be written to")
    name = f"vmproxy-test-{os.getpid()}"
    script = tmp_path / "check"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    path = SERVICES / name
    path.write_text(
        f"auth [success=1 default=ignore] pam_exec.so expose_authtok quiet {script}\n"
        "auth requisite pam_deny.so\nauth required pam_permit.so\naccount required pam_permit.so\n"
    )
    try:
        yield name
    finally:
        path.unlink()


def test_a_service_says_who_has_which_password(service: str) -> None:
    source = PAMSettings(service).usable()
    assert source is not None
    assert source.check("alice", b"correct horse")
    for name, secret in (
        ("alice", b"wrong"),
        ("bob", b"correct horse"),
        ("alice", b""),
        ("alice", b"\xff"),
        ("", b"x"),
    ):
        assert not source.check(name, secret)
    assert not source.check("alice\0root", b"correct horse")
    source.stop()
    with pytest.raises(CannotCheck, match="vmproxy stops"):
        source.check("alice", b"correct horse")


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("import time; time.sleep(60)", "not done within"),
        ("import os; os.abort()", "signal 6"),
        ("import sys; print('no such module', file=sys.stderr); sys.exit(11)", "no such module"),
        ("import sys; sys.exit(1)", "status 1"),
    ],
)
def test_a_helper_that_does_not_answer_lets_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, problem: str
) -> None:
    helper = tmp_path / "helper.py"
    helper.write_text(program)
    monkeypatch.setattr(pam_helper, "__file__", str(helper))
    monkeypatch.setattr(pam, "SECONDS", 0.2 if "sleep" in program else 20.0)
    with pytest.raises(CannotCheck, match=problem):
        PAM("other").check("alice", b"secret")


def test_without_a_service_there_is_no_pam() -> None:
    assert PAMSettings().usable() is None
