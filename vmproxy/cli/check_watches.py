"""What watches find in a log: for ``vmproxy check --watch-log``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from vmproxy.alerts.alert import LINE_LIMIT
from vmproxy.alerts.watch import Watch
from vmproxy.alerts.watch_set import WatchSet
from vmproxy.base.sanitize import visible
from vmproxy.log.lines import ConsoleLines, Lines

CHUNK = 256 * 1024
SHOWN_EACH = 5


def explain(watches: Sequence[Watch], log: Path) -> int:
    """Print the first lines that each watch finds, and how many there are.

    :returns: the exit status: 1 if the log cannot be read.
    """
    looked_for = [watch for watch in watches if watch.match]
    if not looked_for:
        print("no watch looks for anything in lines")
        return 0
    chosen, counts = WatchSet(tuple(looked_for)), Counter[str]()
    try:
        for block in _blocks(log):
            for _, line, found in chosen.found(block.text):
                for watch in found:
                    counts[watch.name] += 1
                    if counts[watch.name] <= SHOWN_EACH:
                        shown = visible(line.decode("utf-8", "backslashreplace"), LINE_LIMIT)
                        print(f"{watch.severity.value}  {watch.name}  {shown}")
    except OSError as error:
        print(f"{log}: {error.strerror}", file=sys.stderr)
        return 1
    for name, count in counts.most_common():
        print(f"{name}: {count:,} line{'' if count == 1 else 's'}")
    print(f"{log}: {sum(counts.values()):,} found by {len(counts)} of {len(looked_for)} watches")
    return 0


def _blocks(log: Path) -> Iterator[Lines]:
    lines = ConsoleLines()
    with log.open("rb") as file:
        offset = 0
        while data := file.read(CHUNK):
            yield from lines.feed(data, 0.0, offset)
            offset += len(data)
    yield from lines.flush()
