"""The consoles whose lines an operator looks at: who joins, who goes, and what may be shown.

The events in their trails tell of consoles: one that has come joins if it fits, and one that has gone down or come back
is told. Rights are those of the moment at which lines are shown: what waits of a console that may not be read any more
is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import is_

from twisted.internet.defer import Deferred, succeed

from vmproxy.access.labels import Labels
from vmproxy.access.policy import Policy, Right
from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.log.file_state import LogFile
from vmproxy.log.store import ConsoleLog
from vmproxy.operators.line_choice import LineChoice, LineStyle
from vmproxy.operators.line_queue import LineQueue
from vmproxy.operators.messages import clock_time
from vmproxy.operators.recent_lines import RecentLines
from vmproxy.operators.session import Session

NOTICES_LIMIT = 100
SLOW = "your connection is too slow"

_UP, _DOWN, _FORGOTTEN = b'"event":"up"', b'"event":"down"', b'"event":"forgotten"'
_CHANGES = (_UP, _DOWN, _FORGOTTEN, b'"event":"name"', b'"event":"vmotion-complete"')


class LineFollower:
    """An operator's look at the lines of many consoles; a context manager.

    :ivar queue: the lines that wait.
    :ivar last: the console of the last line that was shown; ``recent``: lines that were shown, at a terminal.
    """

    def __init__(
        self, session: Session, choice: LineChoice, style: LineStyle, fits: Callable[[Console], bool] | None = None
    ) -> None:
        """:param fits: whether a console that has come joins; None: none does."""
        self._view = session.operator.view
        self._registry = session.services.registry
        self.clock = session.services.clock
        self._fits = fits
        self.queue = LineQueue(self._registry.line_feed, choice, style)
        self._let_in: dict[
            LogFile, tuple[Policy, str, str, Labels]
        ] = {}  # by which rules, name, service URI and labels
        self.last: Console | None = None
        self.recent = RecentLines()
        self._has_pty = session.has_pty
        self._notices: list[str] = []
        self._more = 0

    def __enter__(self) -> LineFollower:
        self._registry.event_followers.add(self._told)
        self.queue.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._registry.event_followers.discard(self._told)
        self.queue.stop()

    def __contains__(self, console: Console) -> bool:
        return console.log.file in self._let_in

    def __len__(self) -> int:
        return len(self._let_in)

    def add(self, console: Console) -> None:
        """Look at a console, too."""
        self._let_in[console.log.file] = self._by(console)
        self.queue.add(console)

    def _by(self, console: Console) -> tuple[Policy, str, str, Labels]:
        return self._registry.policy, console.name, console.uri, console.labels

    def remove(self, file: LogFile) -> None:
        """Look at a console no more."""
        del self._let_in[file]
        self.queue.remove(file)

    def leave(self, file: LogFile, why: str) -> None:
        """Look at a console no more, and say so."""
        console = self.queue.consoles.get(file)
        self.remove(file)
        if console is not None and self._view.may(console, Right.SEE):
            self._say(f"[-- {console.title}: {why} --]")

    def check(self, file: LogFile) -> bool:
        """Whether a console may still be read; if not, it is looked at no more."""
        console = self.queue.consoles.get(file)
        if console is None:
            return False
        by = policy, name, _, _ = self._let_in[file]
        if all(map(is_, by, self._by(console))) and not console.forgotten:
            return True
        if self._view.may(console, Right.SPY):
            self._let_in[file] = self._by(console)
            return True
        self.remove(file)
        # A new name may be none of the operator's business.
        known = console.title if name is console.name or self._view.may(console, Right.SEE) else visible(name)
        if console.forgotten and policy is self._registry.policy:
            self._say(f"[-- {known}: forgotten --]")
        else:
            self._say(f"[-- {known}: the rules have changed, you may no longer read it --]")
        return False

    @property
    def files(self) -> list[LogFile]:
        """The logs of the consoles that are looked at."""
        return list(self._let_in)

    # What happens to consoles.

    def _told(self, file: LogFile, lines: bytes) -> None:
        """Lines were written to a trail."""
        if any(change in lines for change in _CHANGES):
            console = file.reporter.listener if isinstance(file.reporter, ConsoleLog) else None
            if isinstance(console, Console):
                self._changed(file, console, lines)

    def _changed(self, file: LogFile, console: Console, lines: bytes) -> None:
        if file not in self._let_in:
            if self._fits is not None and self._view.may(console, Right.SPY) and self._fits(console):
                self.add(console)
                self._say(f"[-- {console.title}: new --]")
        elif self.check(file):
            if _DOWN in lines and console.state == "down":
                self._say(f"[-- {console.title}: line down ({visible(console.reason)}) {clock_time(console.since)} --]")
            elif _UP in lines and console.state == "up":
                self._say(f"[-- {console.title}: line up ({console.host}) {clock_time(console.since)} --]")

    def _say(self, text: str) -> None:
        if len(self._notices) < NOTICES_LIMIT:
            self._notices.append(text)
        else:
            self._more += 1
        self.queue.wake()

    # What is shown.

    def changed(self, seconds: float | None = None) -> Deferred[bool]:
        """Wait until there is something to show, for so many seconds at most; may be cancelled."""
        if self._notices:
            return succeed(True)
        return self.queue.changed() if seconds is None else self.queue.changed(self.clock, seconds)

    def take(self, busy: str = SLOW) -> tuple[bytes, list[str]]:
        """What is to be shown now: lines, and notices behind them.

        :param busy: why lines may have been left out that had waited.
        """
        waiting, skipped, left_out = self.queue.take()
        readable = [(file, data) for file, data in waiting if self.check(file)]
        for file, data in readable:
            if (console := self.queue.consoles.get(file)) is not None:
                self.shown(console, data)
        shown = b"".join(data for _, data in readable)
        notices = self.take_notices()
        if skipped:
            notices.append(f"[-- {_lines(skipped)} skipped: {busy} --]")
        if left_out:
            notices.append(f"[-- {_lines(left_out)} skipped: more than can be looked at --]")
        return shown, notices

    def shown(self, console: Console, data: bytes) -> None:
        self.last = console
        if self._has_pty:
            self.recent.add(console, data)

    def take_notices(self) -> list[str]:
        """Who came and went since the last call."""
        notices, self._notices = self._notices, []
        if self._more:
            notices.append(f"[-- {self._more:,} more came or went --]")
            self._more = 0
        return notices


def _lines(count: int) -> str:
    return f"{count:,} line{'s' if count > 1 else ''}"
