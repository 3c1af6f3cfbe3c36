"""The SSH service: the accounts, and the clients that have logged in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger

from vmproxy.app.descriptors import Budget, SpareDescriptor
from vmproxy.app.listeners import Listeners
from vmproxy.app.part import Part
from vmproxy.app.privileges import account_name
from vmproxy.auth.authenticator import Authenticator
from vmproxy.auth.keyring import Keyring
from vmproxy.auth.login_tally import METHODS, RESULTS
from vmproxy.auth.password_sources import THREADS, Source, usable_sources
from vmproxy.base.counters import Counters
from vmproxy.base.metrics import Families, counter, gauge, histogram
from vmproxy.base.threads import OwnThreads
from vmproxy.config.settings import Config
from vmproxy.console.totals import FRONTS
from vmproxy.operators.services import Services
from vmproxy.ssh.algorithms import Algorithms
from vmproxy.ssh.frontend import OperatorFactory, SSHFrontend
from vmproxy.ssh.host_keys import load_or_make

_log = Logger()


class Checked(NamedTuple):
    """What was found before a configuration is used."""

    algorithms: Algorithms
    sources: Mapping[str, Source]


class SSHService(Part):
    """The SSH clients.

    :ivar accounts: the decisions about logins.
    :ivar host_keys: the server's own keys, once they are loaded.
    :ivar keyring: the keys that could log in at the start.
    """

    host_keys: Sequence[Key]
    keyring: Keyring

    def __init__(
        self,
        reactor: PosixReactorBase,
        config: Config,
        services: Services,
        budget: Budget,
        spare: SpareDescriptor,
        counters: Counters,
    ) -> None:
        self._state_dir = config.state_dir
        self._budget = budget
        self._services = services
        self._front = SSHFrontend(services, config.ssh)
        record, in_thread = services.audit.record, services.in_thread
        self._password_threads = OwnThreads(reactor, "vmproxy-passwords", THREADS)
        self.accounts = Authenticator(
            config.ssh.accounts,
            account_name(),
            in_thread,
            reactor,
            record,
            in_slow_thread=self._password_threads,
            guests=services.guests,
        )
        self.accounts.call_on_change(lambda keyring: services.accounts_changed(keyring.account))
        self._factory = OperatorFactory(self._front, self.accounts, config.ssh.algorithms)
        self.listeners = {"ssh.listen": Listeners(reactor, self._factory, spare)}
        counters.gauge("operators", lambda: len(self._front.transports))
        counters.count(lambda: {"SSH connections refused": self.accounts.gate.refused})

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._front.transports)

    def metrics(self) -> Families:
        logged_in = self._services.presence.fronts()
        operators = {front: logged_in[front] for front in ("ssh", "web")}
        yield gauge("operators", "Logins that are open.", operators, "front")
        tally = self.accounts.tally
        logins = {
            (front, method, result): tally.counts[front, method, result]
            for front, methods in METHODS.items()
            for method in methods
            for result in RESULTS
        }
        yield counter("logins", "Logins that came to an end, well or not.", logins, "front", "method", "result")
        text = "How long keys, certificates and passwords took to check."
        yield histogram("login_duration_seconds", text, tally.durations, "front")
        text = "Bytes of output that operators were too slow for."
        skipped = {front: self._services.skipped[front] for front in FRONTS}
        yield counter("viewer_skipped_bytes", text, skipped, "front")

    def check(self, config: Config) -> Checked:
        return Checked(config.ssh.algorithms.usable(), usable_sources(config.ldap, config.pam))

    def reconfigure(self, config: Config, checked: Checked) -> list[str]:
        self.accounts.use_sources(checked.sources)
        if missing := config.ssh.algorithms.missing(checked.algorithms):
            _log.info("SSH: the libraries here cannot do {missing}", missing=", ".join(missing))
        self._factory.use(checked.algorithms, config.ssh.banner)
        settings = replace(config.ssh, limits=self._budget.of_logins(config.ssh.limits))
        self.accounts.gate.reconfigure(settings.limits)
        self._front.reconfigure(settings)
        self._services.reconfigure(config.ssh.operators)
        return []

    def load(self) -> None:
        self.host_keys = load_or_make(self._state_dir)
        self._factory.use_host_keys(self.host_keys)
        self.keyring = self.accounts.load()
        if self._services.guests is not None:
            self._services.guests.load()

    def stopService(self) -> Deferred[None]:
        """Fires when all clients are gone."""
        super().stopService()
        self.accounts.stop()
        if self._services.guests is not None:
            self._services.guests.stop()
        self._password_threads.stop()
        return Deferred.fromCoroutine(self._front.stop())
