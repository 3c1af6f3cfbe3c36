"""The alert service: what consoles print is looked at, and what is found is told."""

from __future__ import annotations

from typing import NamedTuple

from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger

import vmproxy
from vmproxy.alerts.book import AlertBook, last_number
from vmproxy.alerts.center import AlertCenter
from vmproxy.alerts.line_watcher import LineWatcher
from vmproxy.alerts.silence import SilenceWatcher
from vmproxy.alerts.watch import Watch
from vmproxy.alerts.watch_file import doubts, read_watches
from vmproxy.alerts.watch_set import Plan
from vmproxy.app.console_service import ConsoleService
from vmproxy.app.log_service import LogService
from vmproxy.app.part import Part
from vmproxy.base.clock import wall_of
from vmproxy.base.counters import Counters
from vmproxy.base.troubles import Troubles
from vmproxy.config.settings import Config
from vmproxy.console.console import Console
from vmproxy.errors import ConfigError
from vmproxy.hooks.delivery import Delivery, prepare
from vmproxy.log.audit import Audit
from vmproxy.log.file_state import LogFile
from vmproxy.log.store import ConsoleLog
from vmproxy.vm.outbound.resolver import system_resolver

KEPT_FILE = "alerts-kept.json"

_log = Logger()


class _Checked(NamedTuple):
    """Watches that have been read, and what is to be said of them."""

    watches: tuple[Watch, ...]
    plan: Plan
    doubts: list[str]


class AlertService(Part):
    """Watches, and what they tell.

    :ivar center: the alerts.
    """

    def __init__(
        self,
        reactor: PosixReactorBase,
        config: Config,
        log: LogService,
        consoles: ConsoleService,
        troubles: Troubles,
        counters: Counters,
    ) -> None:
        registry = consoles.registry
        self._troubles = troubles
        self._feed = log.store.line_feed
        self._watches: tuple[Watch, ...] = ()
        self._file = Audit(config.alerts.file, log.store.runner.submit, reactor, again=log.again)
        self._book = AlertBook(config.state_dir / KEPT_FILE, reactor, log.store.runner.submit, log.again)
        self._hooks = hooks = Delivery(reactor, system_resolver(reactor), troubles, f"vmproxy/{vmproxy.__version__}")
        self.center = center = AlertCenter(reactor, registry, self._book, self._file.record, hooks)
        self._lines = LineWatcher(wall_of(reactor), console_of, reactor.callFromThread, center.found)
        self._silence = SilenceWatcher(reactor, lambda: registry, center.silent)
        registry.tell_new(center.mark_new)
        self._subscribed = False
        counters.count(
            lambda: {
                "alerts": center.told,
                "alerts untold": center.untold,
                "programs and webhooks": hooks.delivered,
                "programs and webhooks that failed": hooks.failed,
            }
        )

    def unwritten(self) -> list[str]:
        """The files that cannot be written now, with the reason."""
        return [file.problem for file in (self._file, self._book) if file.problem]

    def check(self, config: Config) -> _Checked:
        watches = read_watches(config.alerts.watch_file)
        if any(watch.webhook for watch in watches):
            try:
                prepare()  # now: later, the account may be one that cannot read its own code
            except ImportError as error:
                raise ConfigError([f"alerts.watch-file: the first webhook needs a restart: {error}"]) from None
        return _Checked(watches, Plan(watches), list(doubts(watches, config.alerts.watch_file)))

    def reconfigure(self, config: Config, checked: _Checked) -> list[str]:
        watches = checked.watches
        for doubt in checked.doubts:
            _log.warn("{doubt}", doubt=doubt)
        changed = watches != self._watches
        self._watches = watches
        self._lines.use(checked.plan)
        self.center.use(watches)
        if self.running:
            self._silence.use(watches)
        self._subscribe()
        return ["watches"] if changed else []

    def _subscribe(self) -> None:
        wanted = bool(self._lines.watches)
        if wanted and not self._subscribed:
            self._feed.subscribe(self._lines, self._lines.may_match)
        elif self._subscribed and not wanted:
            self._feed.unsubscribe(self._lines)
        self._subscribed = wanted

    def load(self) -> None:
        self._book.load()
        self._book.go_on_behind(last_number(self._file.path))
        self.center.mark_all()

    def startService(self) -> None:
        super().startService()
        self._file.mend()
        self._troubles.take(self.center.trouble)
        self._silence.use(self._watches)

    def stopService(self) -> None:
        super().stopService()
        self._troubles.take(None)
        self._silence.stop()
        if self._subscribed:
            self._feed.unsubscribe(self._lines)
        self.center.stop()
        self._hooks.stop()


def console_of(file: LogFile) -> Console | None:
    """The console of a log; on any thread."""
    log = file.reporter
    console = log.listener if isinstance(log, ConsoleLog) else None
    return console if isinstance(console, Console) else None
