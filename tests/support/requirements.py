"""What a machine may lack: tests that need it are skipped there, and say why."""

from __future__ import annotations

import os
import shutil

import pytest

from vmproxy.log.pattern import EXPRESSIONS

expressions = pytest.mark.skipif(not EXPRESSIONS, reason="google-re2 is not installed")

promtool = pytest.mark.skipif(
    shutil.which("promtool") is None and "CI" not in os.environ, reason="promtool is not installed (prometheus)"
)


def require(program: str) -> None:
    """Skip a test where a program is not installed; in CI all are."""
    if shutil.which(program) is None:
        assert not os.environ.get("CI"), f"there is no {program}"
        pytest.skip(f"there is no {program}")
