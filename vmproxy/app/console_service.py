"""The console service: the consoles that are known, and the rules about them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.interfaces import IReactorTime

from vmproxy.app.log_service import LogService
from vmproxy.app.part import Part
from vmproxy.base.counters import Counters
from vmproxy.base.metrics import Families, counter, gauge, histogram, told_of
from vmproxy.config.settings import Config
from vmproxy.console.expiry import Expiry
from vmproxy.console.idle import IdleLimits
from vmproxy.console.journal import Journal
from vmproxy.console.migrations import Migrations
from vmproxy.console.registry import ConsoleRegistry
from vmproxy.console.totals import FRONTS, MODES, REMOTE
from vmproxy.vm.settings import Encryption
from vmproxy.wire.vmware import new_secret


class ConsoleService(Part):
    """The consoles.

    :ivar registry: the consoles.
    :ivar migrations: the vMotions under way.
    """

    def __init__(self, clock: IReactorTime, config: Config, log: LogService, counters: Counters) -> None:
        self._journal = journal = Journal(config.state_dir / "consoles.jsonl", log.store.soon, log.again)
        self.migrations = migrations = Migrations(
            clock, config.vm.vmotion_timeout, new_secret, config.vm.vmotions_per_minute
        )
        self.registry = ConsoleRegistry(clock, log.store, journal, migrations, config.log.file)
        self._expiry = Expiry(clock, self.registry, log.audit.record)
        self._idle_limits = IdleLimits(clock, self.registry)
        counters.gauge("consoles", lambda: dict(Counter(console.state for console in self.registry)))
        counters.count(
            lambda: {
                "vMotions completed": migrations.completed,
                "vMotions aborted": migrations.aborted,
                "vMotions abandoned": migrations.abandoned,
            }
        )

    def unwritten(self) -> list[str]:
        """The files that cannot be written now, with the reason."""
        return [self._journal.problem] if self._journal.problem else []

    def metrics(self) -> Families:
        totals, migrations = self.registry.totals, self.migrations
        states = totals.states(len(self.registry))
        yield gauge("consoles", "Consoles that are known.", states, "state")
        changes = {state: totals.changes[state] for state in states}
        yield counter("console_changes", "Consoles that came into a state.", changes, "state")
        yield gauge("log_consoles_off", "Consoles that are not recorded, as an operator has turned it off.", totals.off)
        viewers: Counter[tuple[str, ...]] = Counter()
        for watched in list(totals.watched):
            viewers.update(watched.modes())
            yield None
        told = told_of(viewers, FRONTS, MODES)
        yield gauge("viewers", "Operators' sessions at consoles.", told, "front", "mode")
        text = "Write access that was taken from somebody by force."
        forced = {front: totals.forced[front] for front in (*FRONTS, REMOTE)}
        yield counter("pen_forced", text, forced, "front")
        yield counter("vm_sent_bytes", "Bytes of input that hosts were given.", totals.delivered)
        yield gauge("vm_input_held_bytes", "Bytes of input that wait for VMs, as in a vMotion.", totals.held)
        yield counter("vm_input_lost_bytes", "Bytes of input that were held when their VM went down.", totals.lost)
        results = {
            "completed": migrations.completed,
            "aborted": migrations.aborted,
            "abandoned": migrations.abandoned,
        }
        yield counter("vmotions", "vMotions that came to an end.", results, "result")
        text = "How long vMotions took that went through, from their beginning to their end."
        yield histogram("vmotion_duration_seconds", text, migrations.durations)

    def reconfigure(self, config: Config, checked: Any) -> list[str]:
        self.registry.use_duplicates(config.vm.duplicates)
        self.registry.use_limits(config.vm.consoles)
        vm = config.vm
        self.migrations.reconfigure(vm.vmotion_timeout, vm.encryption is not Encryption.OFF, vm.vmotions_per_minute)
        if config.policy == self.registry.policy:
            return []
        self.registry.use(config.policy)
        self._expiry.reconfigure()
        self._idle_limits.reconfigure()
        return ["rules, consoles and groups"]

    def load(self) -> None:
        self.registry.load()
        self._expiry.reconfigure()
        self._idle_limits.reconfigure()

    def stopService(self) -> None:
        super().stopService()
        self._expiry.stop()
        self._idle_limits.stop()
        self.registry.stop()
