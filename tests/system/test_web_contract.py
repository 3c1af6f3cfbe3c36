"""The API holds to its document: requests made up from it, by operators with many, some and no rights."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.host import FakeVM
from tests.support.web_daemon import WEB, token_of

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which(str(SCHEMATHESIS)) is None, reason="there is no schemathesis (the extra `test')"),
]

# What waits on purpose, or becomes another protocol; and what the schema of one parameter cannot say of another.
LEFT_OUT = "/attach$|/live$|/login$|/expect$"
CHECKS_LEFT_OUT = "positive_data_acceptance"


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM], tmp_path: Path) -> Daemon:
    """A daemon with three operators, and two VMs."""
    operators = tmp_path / "operators.toml"
    operators.write_text("[operators.alice]\n[operators.bob]\n[operators.carol]\n")
    operators.chmod(0o600)
    rules = (
        '[[rule]]\nwho = "alice"\nmay = ["admin"]\non = ["*"]\n'
        '[[rule]]\nwho = "bob"\nmay = ["spy"]\non = ["web*"]\n'
        '[[rule]]\nwho = "bob"\nmay = ["see"]\non = ["*"]\n'
    )
    daemon = make_daemon(f'[ssh]\noperators-file = "{operators}"\n{WEB}{rules}')
    make_vm(daemon, "web01").connected.say(b"one line\r\n" * 100)
    make_vm(daemon, "db01").connected.say(b"another\r\n")
    return daemon


def begun(daemon: Daemon, folder: Path, operator: str, phases: str) -> subprocess.Popen[str]:
    """Requests made up from the document, by an operator, under way."""
    (folder / operator).mkdir()
    return subprocess.Popen(
        [
            str(SCHEMATHESIS), "run", f"http://127.0.0.1:{daemon.web_port}/api/v1/openapi.json",
            "--header", f"Authorization: Bearer {token_of(daemon, operator)}",
            "--phases", phases, "--max-examples", "2", "--seed", "1", "--generation-database", "none",
            "--checks", "all", "--exclude-checks", CHECKS_LEFT_OUT, "--exclude-path-regex", LEFT_OUT,
            "--request-timeout", "30", "--no-color",
        ],
        cwd=folder / operator, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_what_is_answered_is_what_the_document_says(daemon: Daemon, tmp_path: Path) -> None:
    under_way = [
        begun(daemon, tmp_path, operator, phases)
        for operator, phases in (("alice", "coverage"), ("bob", "examples,fuzzing"), ("carol", "fuzzing"))
    ]
    try:
        for one in under_way:
            told, _ = one.communicate(timeout=600)
            assert one.returncode == 0, told[-8000:]
            assert re.search(r"Tested: +[1-9]\d", told), told[-3000:]
    finally:
        for one in under_way:
            one.kill()
            one.wait()
    assert daemon.running
