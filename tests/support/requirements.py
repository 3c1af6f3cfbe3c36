"""What a machine may lack: tests that need it are skipped there, and say why."""

from __future__ import annotations

import pytest

from vmproxy.log.pattern import EXPRESSIONS

expressions = pytest.mark.skipif(not EXPRESSIONS, reason="google-re2 is not installed")
