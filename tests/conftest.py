"""Rules for all tests: profiles of the property tests, no skips in CI, what takes long comes first.

The profile "quick" tries 20 examples of a property (``make test``), "full" 100, "deep" 2,000 (nightly). In CI the
first two try the same examples each time, so that a change is not blamed for an old fault; elsewhere they are random.
"""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.support.fixtures import disk, logged, world

__all__ = ["disk", "logged", "world"]

IN_CI = bool(os.environ.get("CI"))

settings.register_profile("quick", deadline=None, max_examples=20, derandomize=IN_CI)
settings.register_profile("full", deadline=None, max_examples=100, derandomize=IN_CI)
settings.register_profile("deep", deadline=None, max_examples=2000, derandomize=False)
settings.load_profile("full")  # unless the command line names another


def pytest_configure() -> None:
    """Have daemons started with SIGINT at its default: a shell ignores it for what runs in its background."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while everything is imported: there is hardly any, and looking takes as long as importing."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the system and browser tests; for workers, put files first that take long.

    Workers are given whole files, in this order: the tests of one may share a daemon. Those of the longest must not be
    all that is left at the end, when the others have nothing to do.
    """
    for item in items:
        if item.path.parent.name in ("system", "browser"):
            item.add_marker(pytest.mark.system)
    if "PYTEST_XDIST_WORKER" in os.environ:
        long = {item.path for item in items if item.get_closest_marker("system") or item.get_closest_marker("slow")}
        sizes = Counter(item.path for item in items)
        items.sort(key=lambda item: (item.path not in long, -sizes[item.path]))


def pytest_collection_finish() -> None:
    """Leave what all tests share out of collections of garbage: many tests look for what nobody refers to any more."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Leave out what the tests of a module have left as well: every later look for garbage would go through it."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a test was skipped where everything that tests need is installed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if IN_CI and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
