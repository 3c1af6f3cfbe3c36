"""A search in the logs of consoles, for a client: what is found becomes lines, a batch at a time.

It runs in slices on threads, so it can be given up. Bound: see :class:`~vmproxy.operators.log_reading.SearchSlot`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import groupby

from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.log.pattern import Pattern
from vmproxy.log.search import Hit, Limits, Search
from vmproxy.log.shown import ShownText
from vmproxy.operators.client import Client
from vmproxy.operators.commands.context import in_turns, require_any_right
from vmproxy.operators.log_reading import BatchReader, SearchSlot
from vmproxy.operators.presentation import hit_fields

PATTERN_LIMIT = 1000
HITS = 100
HITS_LIMIT = 10_000
LINES_AT_ONCE = 50


def text_of(console: Hashable) -> ShownText:
    """How the output of a console is shown."""
    assert isinstance(console, Console)
    return ShownText(console.options.encoding)


def json_line(hit: Hit, console: Console) -> str:
    """A hit as a line, for scripts."""
    return json.dumps(hit_fields(hit, console)) + "\n"


class LogSearch:
    """A search under way; a context manager that gives it up.

    :ivar shown: lines so far.
    :ivar stopped: why there may be more; empty if there is not.
    """

    def __init__(
        self,
        client: Client,
        consoles: Sequence[Console],
        pattern: Pattern,
        limits: Limits,
        line: Callable[[Hit, Console], str] = json_line,
        shown_as: Callable[[Hashable], ShownText | None] = text_of,
    ) -> None:
        """:param line: makes a line of a hit; called on the thread that searches."""
        self._client = client
        self._consoles = consoles
        self._most = limits.hits
        self._line = line
        self._work = Search(((console, console.log.path) for console in consoles), pattern, limits, shown_as)
        self._reading = BatchReader(client, self._lines, self._work.close, _size)
        self._slot = SearchSlot(client)
        self.shown = 0
        self.stopped = ""

    def __enter__(self) -> LogSearch:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def close(self) -> None:
        self._reading.end()

    @property
    def problems(self) -> list[str]:
        """What could not be read."""
        return self._work.problems

    async def batch(self) -> list[list[str]] | None:
        """The next lines, those of a console together; possibly none. None when the search is over.

        :raises CommandError: if the operator may read none of the consoles any more.
        """
        if self.stopped:
            return None
        batch = await self._slot.batch(self._reading)
        if not batch:
            self.stopped = self._work.stopped
            return None
        require_any_right(self._client, self._consoles)
        found: list[list[str]] = []
        async for console, lines in in_turns(self._client, filter(None, batch)):
            if self.shown + len(lines) >= self._most:
                del lines[self._most - self.shown :]
                self.stopped = f"there may be more: only the newest {self._most} are shown"
            self.shown += len(lines)
            if self._client.operator.view.may(console, Right.SPY):  # the rules may have changed
                found.append(lines)
            if self.stopped:
                break
        return found

    def _lines(self) -> Iterator[tuple[Console, list[str]] | None]:
        # On the thread: to make ten thousand lines of control characters fit to show takes seconds.
        for found in self._work:
            for at in range(0, len(found) or 1, LINES_AT_ONCE):
                if not found:
                    yield None
                for console, hits in groupby(found[at : at + LINES_AT_ONCE], lambda hit: hit.key):
                    assert isinstance(console, Console)
                    yield console, [self._line(hit, console) for hit in hits]


def _size(item: tuple[Console, list[str]] | None) -> int:
    return 0 if item is None else sum(map(len, item[1]))
