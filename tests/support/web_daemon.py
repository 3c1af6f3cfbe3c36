"""A daemon with the web front, and tokens for it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.daemon import Daemon
from vmproxy.auth.tokens import TokenFile, make

WEB = '[web]\nlisten = ["tcp:0:interface=127.0.0.1"]\n'


def web_settings(keys: Path, more: str = "", account: str = "") -> str:
    """The settings of a daemon whose operator alice may have tokens.

    :param more: of ``[web]``; ``account``: of alice's in the operators file.
    """
    public = (keys / "operator.pub").read_text().strip()
    operators = keys.parent / "web-operators.toml"
    operators.write_text(f"[operators.alice]\nkeys = ['{public}']\n{account}")
    operators.chmod(0o600)
    return f'[ssh]\noperators-file = "{operators}"\n{WEB}{more}'


def token_of(daemon: Daemon, operator: str = "alice") -> str:
    """A token that the command has made."""
    file = TokenFile(daemon.state / "tokens.jsonl")
    now = os.stat(daemon.output).st_mtime
    return file.add(lambda others: make(operator, f"t{len(others)}", "write", ["*"], 86400, now, others), now)[1]
