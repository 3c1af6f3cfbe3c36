"""Line watcher: finds the lines that watches are about.

It works on the thread that makes lines of what consoles print. Consoles that the same watches are about share a
:class:`WatchSet`. Most lines match nothing, and are done with in blocks.

Bound: a watch tells one line of a console in its quiet time; others are counted. :data:`COUNTED` lines of a console are
counted; then watches that are quiet there are not looked for until one of them may tell again, so a flood of lines that
match costs no more than one of lines that do not. At most :data:`WAITING` lines wait for the reactor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from vmproxy.access.selector import Subject
from vmproxy.alerts.alert import Finding
from vmproxy.alerts.watch import Watch
from vmproxy.alerts.watch_set import Plan, WatchSet
from vmproxy.log.file_state import LogFile
from vmproxy.log.lines import Lines
from vmproxy.log.shown import LINE_LIMIT

COUNTED = 200
WAITING = 10_000
HOT_KEPT = 20_000


class _Hot:
    """A console that some watches have told of lately.

    :ivar until: when each of them may tell again; ``repeated``: lines since it has told.
    :ivar counted: lines that have matched.
    """

    __slots__ = ("counted", "repeated", "until")

    def __init__(self) -> None:
        self.until: dict[Watch, float] = {}
        self.repeated: dict[Watch, int] = {}
        self.counted = 0


class LineWatcher:
    """A subscriber of lines; see :class:`~vmproxy.log.line_feed.LineSubscriber`."""

    def __init__(
        self,
        now: Callable[[], float],
        console_of: Callable[[LogFile], Subject | None],
        deliver: Callable[[Callable[[], object]], object],
        found: Callable[[list[Finding], int, int], object],
    ) -> None:
        """
        :param now: the time of day; called on any thread.
        :param console_of: the console of a log; called on any thread.
        :param deliver: has a call made on the reactor's thread.
        :param found: called there with what was found, how many more there were, and how many lines were not looked at.
        """
        self._now = now
        self._console_of = console_of
        self._deliver = deliver
        self._found = found
        self._plan = Plan()
        self._hot: dict[LogFile, _Hot] = {}
        self._findings: deque[Finding] = deque()
        self._more = self._unseen = 0
        self._submitted = False

    def use(self, plan: Plan) -> None:
        """Look for other things from now on; on any thread. What is the same as before stays quiet as long."""
        self._plan = plan

    @property
    def watches(self) -> tuple[Watch, ...]:
        """What is looked for."""
        return self._plan.watches

    def may_match(self, text: bytes) -> bool:
        """Whether any watch may be about some text, whatever console it is of; on any thread."""
        everything = self._plan.everything
        return everything is not None and everything.patterns.any(text)

    def wants(self, file: LogFile) -> bool:
        """Whether a watch is about a console."""
        plan = self._plan
        return plan.wants_all or plan.choice(file, self._console_of) is not None

    # On the thread that makes lines.

    def lines(self, file: LogFile, blocks: Sequence[Lines]) -> None:
        """Look at lines of a console."""
        plan = self._plan
        choice = plan.choice(file, self._console_of)
        if choice is None:
            return
        hot = self._hot.get(file)
        if hot is not None and hot.counted >= COUNTED:
            choice = self._awake(plan, choice, hot)
        for block in blocks:
            if choice is not None and choice.patterns.any(block.text):
                choice = self._look(plan, file, block, choice)

    def _look(self, plan: Plan, file: LogFile, block: Lines, choice: WatchSet) -> WatchSet | None:
        """Look at a block in which something is; :returns: what is to be looked for in those behind it."""
        text, place = block.text, 0
        looking: WatchSet | None = choice
        while looking is not None and place <= len(text) and (found := looking.patterns.find(text, place)):
            start, end = found
            place = end + 1
            line = text[start:end]
            for watch in looking.about(line[:LINE_LIMIT]):
                self._tell(file, watch, block, start, line)
            hot = self._hot.get(file)
            if hot is not None:
                hot.counted += 1
                if hot.counted >= COUNTED:
                    looking = self._awake(plan, looking, hot)
        return looking

    def _awake(self, plan: Plan, choice: WatchSet, hot: _Hot) -> WatchSet | None:
        """What is still looked for in a console of which too many lines have matched."""
        now = self._now()
        awake = tuple(watch for watch in choice.watches if not self._is_quiet(hot, watch, now))
        return plan.part(choice, awake)

    @staticmethod
    def _is_quiet(hot: _Hot, watch: Watch, now: float) -> bool:
        # A clock that was set back makes nothing quiet for longer.
        return 0 < hot.until.get(watch, 0.0) - now <= watch.quiet

    def _tell(self, file: LogFile, watch: Watch, block: Lines, start: int, line: bytes) -> None:
        now = self._now()
        hot = self._hot.get(file)
        if hot is None:
            if len(self._hot) >= HOT_KEPT:
                del self._hot[next(iter(self._hot))]
            hot = self._hot[file] = _Hot()
        if self._is_quiet(hot, watch, now):
            hot.repeated[watch] = hot.repeated.get(watch, 0) + 1
            return
        console = self._console_of(file)
        if console is None:
            return
        hot.until[watch] = now + watch.quiet
        hot.counted = 0
        repeated = hot.repeated.pop(watch, 0)
        if len(self._findings) >= WAITING:
            self._more += 1
        else:
            self._findings.append(Finding(console, watch, block.at, _offset(block, start), line[:LINE_LIMIT], repeated))
        self._submit()

    def skipped(self, file: LogFile, count: int) -> None:
        """So many lines of a console were not looked at."""
        self._unseen += count
        self._submit()

    def flush(self) -> None:
        """Nothing is kept for later."""

    def _submit(self) -> None:
        if not self._submitted:
            self._submitted = True
            self._deliver(self._hand_over)

    # On the reactor's thread.

    def _hand_over(self) -> None:
        self._submitted = False  # what is found from here on is submitted again
        found: list[Finding] = []
        while self._findings:
            found.append(self._findings.popleft())
        more, self._more = self._more, 0
        unseen, self._unseen = self._unseen, 0
        self._found(found, more, unseen)


def _offset(block: Lines, start: int) -> int:
    """The offset of the line that begins at a place in the text of a block."""
    raw = block.raw
    if raw is None:
        return block.offset
    return block.offset + len(raw) - len(raw.split(b"\n", block.text.count(b"\n", 0, start))[-1])
