"""What holds for all tests: in CI none may be skipped, and no test has a time limit.

In CI the property tests try the same examples each time, so that a change is not blamed for what it did not do;
elsewhere they look for new ones.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a test was skipped where everything that tests need is installed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
