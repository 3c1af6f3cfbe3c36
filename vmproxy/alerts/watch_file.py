"""A file of ``[[watch]]`` tables: read with everything that is wrong told at once."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from vmproxy.alerts.watch import Watch
from vmproxy.base.schema import Problem, read, tables, told
from vmproxy.base.toml import TomlFile
from vmproxy.errors import ConfigError
from vmproxy.log.pattern import BadPattern, PatternSet

WATCHES_LIMIT = 500
PATTERNS_LIMIT = 1000
FILE_LIMIT = 4 * 1024 * 1024


def read_watches(path: Path | None) -> tuple[Watch, ...]:
    """Read a file of watches; None for none. Waits for the disk.

    :raises ConfigError: with everything that is wrong, by file and line.
    """
    if path is None:
        return ()
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT + 1)
    except OSError as error:
        raise ConfigError([f"alerts.watch-file: {path}: {error.strerror}"]) from None
    if len(data) > FILE_LIMIT:
        raise ConfigError([f"alerts.watch-file: {path}: larger than {FILE_LIMIT // 1024 // 1024} MiB"])
    return parse_watches(data, str(path))


def parse_watches(data: bytes, name: str) -> tuple[Watch, ...]:
    """Parse watches; see :func:`read_watches`."""
    file = TomlFile(data, name)
    problems = [Problem((key,), "there is nothing but [[watch]] in this file") for key in file.table.keys() - {"watch"}]
    found = [
        (number, read(Watch, table, problems, ("watch", number)))
        for number, table in enumerate(tables("watch", file.table.get("watch"), problems))
    ]
    watches = {number: watch for number, watch in found if watch is not None}
    problems += _together(watches)
    if problems:
        raise ConfigError(told(problems, file))
    return tuple(watches.values())


def _together(watches: dict[int, Watch]) -> Iterator[Problem]:
    names = Counter[str]()
    patterns = 0
    for number, watch in watches.items():
        place = partial(Problem, ("watch", number, "name"))
        names[watch.name] += 1
        if names[watch.name] > 1:
            yield place(f"there is another watch {watch.name}")
        if number == WATCHES_LIMIT:
            yield place(f"at most {WATCHES_LIMIT} watches")
        before, patterns = patterns, patterns + len(watch.match) + len(watch.unless)
        if before <= PATTERNS_LIMIT < patterns:
            yield place(f"at most {PATTERNS_LIMIT} expressions in all")
    every = [(text, watch.ignore_case) for watch in watches.values() for text in (*watch.match, *watch.unless)]
    if every and patterns <= PATTERNS_LIMIT:
        try:
            PatternSet(every)
        except BadPattern as error:
            yield Problem(("watch",), str(error))


def doubts(watches: tuple[Watch, ...], path: Path | None) -> Iterator[str]:
    """What is allowed and will not work, or is not wise; waits for the disk."""
    if path is not None and stat.S_IMODE(os.stat(path).st_mode) & 0o022:
        yield f"alerts.watch-file: {path} names programs, and others than its owner may write it: chmod go-w"
    for watch in watches:
        if watch.run and not (os.path.isfile(watch.run[0]) and os.access(watch.run[0], os.X_OK)):
            yield f"alerts.watch-file: watch {watch.name}: there is no program {watch.run[0]} that can be run"
        if watch.webhook.startswith("http:"):
            yield f"alerts.watch-file: watch {watch.name}: its webhook is not encrypted"
