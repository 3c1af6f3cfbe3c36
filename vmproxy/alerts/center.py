"""The alert center: what was found, or is wrong, becomes an alert and is told.

All of it is on the reactor's thread, in turns. Bound: :data:`RATE` alerts about consoles a second, and :data:`BURST`
saved up; what is beyond is counted, and told as one alert.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel

from vmproxy.alerts.alert import ITSELF, LINE_LIMIT, Alert, Finding, of_console
from vmproxy.alerts.book import AlertBook, Key
from vmproxy.alerts.context_lines import Context, read_context
from vmproxy.alerts.watch import Severity, Watch
from vmproxy.base.clock import wall_of
from vmproxy.base.countdown import Countdown
from vmproxy.base.ratelimit import RateLimitedLog, TokenBucket
from vmproxy.base.sanitize import visible
from vmproxy.base.tasks import spawn
from vmproxy.base.troubles import Kind, Trouble
from vmproxy.base.turns import Turns
from vmproxy.console.console import Console
from vmproxy.console.notices import Alerted
from vmproxy.console.registry import ConsoleRegistry

RATE, BURST = 100.0, 1000.0
SUM_SECONDS = 10.0
TROUBLE_QUIET = 600.0
TROUBLES_REMEMBERED = 20_000
CONTEXT_SECONDS = 2.0
CONTEXTS = 100
TROUBLE_QUIETS = {Kind.CERTIFICATE: 86400.0}
SEVERITIES = {Kind.LOG: Severity.CRITICAL, Kind.DISK: Severity.CRITICAL}
"""The severities of trouble; of all other kinds, ``warning``."""

_log = Logger()


class Hooks(Protocol):
    """Who runs programs and calls webhooks."""

    def tell(self, watch: Watch, alert: Alert, before: Sequence[str] = (), after: Sequence[str] = ()) -> None:
        """Do what a watch wants to be done about an alert."""


class AlertCenter:
    """Makes alerts, and tells of them.

    :ivar book: the alerts.
    :ivar told: how many there have been since the start, ``untold``: how many more than could be told.
    """

    def __init__(
        self,
        clock: IReactorTime,
        registry: ConsoleRegistry,
        book: AlertBook,
        record: Callable[..., object],
        hooks: Hooks,
    ) -> None:
        """:param record: adds a line to ``alerts.jsonl``; takes the event and its fields."""
        self._clock = clock
        self._wall = wall_of(clock)
        self._registry = registry
        self.book = book
        self._record = record
        self._hooks = hooks
        self._watches: tuple[Watch, ...] = ()
        self._turns = Turns(clock)
        self._found: deque[Finding] = deque()
        self._waits = False  # for its turn
        self._bucket = TokenBucket(BURST, clock.seconds())
        self._process_log = RateLimitedLog(clock)
        self._quiet: dict[tuple[str, Kind, Key], float] = {}
        self._contexts: set[IDelayedCall] = set()
        self._untold = self._unseen = 0
        self._sum_due = Countdown(clock)
        self.told = self.untold = 0

    def use(self, watches: Iterable[Watch]) -> None:
        """Take other watches for trouble, from now on."""
        self._watches = tuple(watch for watch in watches if watch.itself)

    # What comes in.

    def found(self, findings: list[Finding], more: int, unseen: int) -> None:
        """Take what the line watcher has found: see :class:`~vmproxy.alerts.line_watcher.LineWatcher`."""
        self._found += findings
        self._count(more, unseen)
        if not self._waits:
            self._go_on()

    def _go_on(self) -> None:
        self._waits = False
        while self._found:
            if not self._turns.open():
                self._waits = True
                self._turns.wait("alerts", self._go_on)
                return
            finding = self._found.popleft()
            console = cast(Console, finding.console)
            if not console.forgotten:
                line = visible(finding.line.decode("utf-8", "backslashreplace").strip(), LINE_LIMIT)
                self._raise(
                    finding.watch, finding.watch.severity, console, line, finding.at, finding.offset, finding.repeated
                )

    def silent(self, watch: Watch, console: Console, text: str) -> None:
        """Take that a console says nothing."""
        # Thousands may fall silent at once.
        self.found([Finding(console, watch, self._wall(), -1, text.encode(), 0)], 0, 0)

    def trouble(self, trouble: Trouble) -> bool:
        """Take what is wrong with vmproxy itself.

        :returns: whether it is told now.
        """
        kind, about = trouble.kind, trouble.about
        console = about if isinstance(about, Console) and not about.forgotten else None
        key = (None, "") if console is None else (console.uuid, console.port)
        text = visible(trouble.text, LINE_LIMIT)
        told = False
        watches = [watch for watch in self._watches if kind in watch.itself and _selects(watch, console)]
        for watch in watches:
            if self._may_tell(watch.name, kind, key, text, watch.quiet):
                told = True
                self._raise(watch, watch.severity, console, text, self._wall(), hooks=kind is not Kind.HOOK)
        own = f"vmproxy-{kind.value}"
        quiet = TROUBLE_QUIETS.get(kind, TROUBLE_QUIET)
        if not watches and self._may_tell(own, kind, key, text, quiet):
            told = True
            self._raise(own, SEVERITIES.get(kind, Severity.WARNING), console, text, self._wall())
        return told

    def _may_tell(self, name: str, kind: Kind, key: Key, text: str, quiet: float) -> bool:
        if any(alert.watch == name and alert.line == text for alert in self.book.open_of(key)):
            return False  # it goes on, and nobody has acknowledged it
        now = self._clock.seconds()
        place = (name, kind, key)
        if now < self._quiet.get(place, 0.0):
            return False
        self._quiet.pop(place, None)
        if len(self._quiet) >= TROUBLES_REMEMBERED:
            del self._quiet[next(iter(self._quiet))]
        self._quiet[place] = now + quiet
        return True

    # What goes out.

    def _raise(
        self,
        watch: Watch | str,
        severity: Severity,
        console: Console | None,
        line: str,
        at: float,
        offset: int = -1,
        repeated: int = 0,
        hooks: bool = True,
    ) -> None:
        # What is about no console is told seldom enough, and must not be lost among what thousands of VMs say.
        if console is not None and not self._bucket.take(self._clock.seconds(), RATE, BURST):
            self._count(1, 0)
            return
        name = watch if isinstance(watch, str) else watch.name
        where: dict[str, Any] = ITSELF if console is None else of_console(console, console.title, console.host)
        alert = Alert(self.book.take_number(), at, name, severity, line=line, offset=offset, repeated=repeated, **where)
        self.told += 1
        self._mark(self.book.add(alert))
        self._record("alert", **alert.fields())
        if self._process_log.allows("alerts"):
            self._process_log.emit(
                "alert {number}: {severity}, {watch}: {console}{line}",
                LogLevel.info if severity is Severity.INFO else LogLevel.warn,
                number=alert.number,
                severity=severity.value,
                watch=name,
                console=f"{alert.console}: " if alert.console else "",
                line=line,
            )
        if console is not None:
            console.log.event("alert", alert=alert.number, watch=name, severity=severity.value, line=line)
            if console.watchers:
                console.viewers.tell(Alerted(severity.value, name, line))
        if hooks and isinstance(watch, Watch) and (watch.run or watch.webhook):
            self._tell_hooks(watch, alert, console)

    def _tell_hooks(self, watch: Watch, alert: Alert, console: Console | None) -> None:
        if console is None or not watch.context or alert.offset < 0 or len(self._contexts) >= CONTEXTS:
            self._hooks.tell(watch, alert)
            return

        async def later() -> None:
            self._contexts.discard(call)
            lines: Context = ((), ())
            try:
                file = console.log.file
                lines = await console.log.on_writer(lambda _path: read_context(file, alert.offset, watch.context))
            except Exception:
                _log.failure("no context of alert {number}", number=alert.number)
            self._hooks.tell(watch, alert, *lines)

        call = self._clock.callLater(CONTEXT_SECONDS, lambda: spawn(later()))
        self._contexts.add(call)

    def acknowledge(self, alert: Alert, who: str, note: str) -> None:
        """Take that an operator has acknowledged an alert."""
        done = alert.acknowledge(self._wall(), who, note)
        self.book.acknowledge(done)
        self._mark([alert.key])
        self._record("ack", alert=alert.number, watch=alert.watch, console=alert.console or None, who=who, note=note)
        console = self.console_of(alert)
        if console is not None:
            console.log.event("ack", alert=alert.number, who=who, **({"note": note} if note else {}))

    def console_of(self, alert: Alert) -> Console | None:
        """The console that an alert is about; None if it is about none, or about one that is forgotten."""
        return self._console(alert.key)

    def _console(self, key: Key) -> Console | None:
        uuid, port = key
        found = () if uuid is None else self._registry.names.ports(uuid)
        return next((console for console in found if console.port == port), None)

    def _mark(self, keys: Iterable[Key]) -> None:
        for key in keys:
            console = self._console(key)
            if console is not None:
                console.set_alerts(self.book.marks(key))

    def mark_new(self, console: Console) -> None:
        """Mark a console that has come to be: it may have been forgotten, and its alerts were not."""
        key = console.uuid, console.port
        if self.book.has_open(key):
            self._mark([key])

    def mark_all(self) -> None:
        """Mark the consoles by what the book has: at the start."""
        self._mark(self.book.open_keys)

    # What is too much.

    def _count(self, more: int, unseen: int) -> None:
        self._untold += more
        self.untold += more
        self._unseen += unseen
        if (self._untold or self._unseen) and not self._sum_due.is_running:
            self._sum_due.start(SUM_SECONDS, self._sum_up)

    def _sum_up(self) -> None:
        told = [
            f"{self._untold:,} alerts were too many to be told" if self._untold else "",
            f"{self._unseen:,} lines were not looked at: more came than could be" if self._unseen else "",
        ]
        if self.trouble(Trouble(Kind.WATCH, "; ".join(filter(None, told)))):
            self._untold = self._unseen = 0
        else:  # not so soon again: it is told with what comes until then
            self._count(0, 0)

    def stop(self) -> None:
        """Tell the hooks nothing more, and have the book written."""
        for call in self._contexts:
            call.cancel()
        self._contexts.clear()
        self._sum_due.stop()
        self._process_log.sum_up()
        self.book.stop()


def _selects(watch: Watch, console: Console | None) -> bool:
    return console is None or watch.selects(console)
