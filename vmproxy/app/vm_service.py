"""The VM service: connections from ESXi hosts, and to what VMs want to be connected to."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger

import vmproxy
from vmproxy.app.console_service import ConsoleService
from vmproxy.app.descriptors import Budget, SpareDescriptor
from vmproxy.app.listeners import Listeners
from vmproxy.app.part import Part
from vmproxy.app.startup import tls_warnings
from vmproxy.base.addresses import numeric_address
from vmproxy.base.clock import wall_of
from vmproxy.base.counters import Counters
from vmproxy.base.memory import trimmer
from vmproxy.base.metrics import Families, Family, counter, gauge
from vmproxy.base.recent import KEPT, Refusal
from vmproxy.config.settings import Config
from vmproxy.console.console import Console
from vmproxy.console.migrations import Wrong
from vmproxy.errors import ConfigError
from vmproxy.log.audit import Audit
from vmproxy.log.paths import template_fields
from vmproxy.vm import certificates
from vmproxy.vm.certificates import CertificateError, Credentials
from vmproxy.vm.frontend import VMFrontend
from vmproxy.vm.outbound.connector import OutboundConnector
from vmproxy.vm.outbound.resolver import system_resolver
from vmproxy.vm.telnet import VMFactory

REFUSED = {
    "networks": "networks",
    "per address": "address",
    "per second": "rate",
    "in all": "full",
}
"""The reasons why connections are not let in, and what the metrics call them."""

COMPLAINTS = {"given up": "given-up", "failures of TLS": "tls"}
"""The same of connections that were, and are closed again."""

FAR_ENDS = ("dialling", "up", "down", "refused")

_log = Logger()


class VMService(Part):
    """The VMs.

    :ivar front: the connections from hosts.
    """

    def __init__(
        self,
        reactor: PosixReactorBase,
        config: Config,
        consoles: ConsoleService,
        audit: Audit,
        budget: Budget,
        spare: SpareDescriptor,
        counters: Counters,
    ) -> None:
        self._wall = wall_of(reactor)
        self._migrations = consoles.migrations
        self._budget = budget
        trim = trimmer()
        self.front = front = VMFrontend(
            reactor,
            config.vm,
            consoles.registry,
            consoles.migrations,
            f"vmproxy {vmproxy.__version__}".encode(),
            needs_name="name" in template_fields(config.log.file),
            room=budget.vms,
            give_back=lambda: reactor.callInThread(trim),
        )
        self._connector = OutboundConnector(
            reactor,
            reactor,
            system_resolver(reactor),
            config.dial,
            config.vm.keep_idle,
            audit.record,
            front.turns,
            scarce=lambda: front.admission.scarce,
        )
        front.broker.dial_with(self._connector)
        factory = VMFactory(front)
        self.listeners = {
            "vm.listen": Listeners(reactor, factory, spare, front.prepare),
            "vm.tls-listen": Listeners(reactor, front.tls.over(VMFactory(front)), spare, front.prepare),
        }
        counters.gauge("connections", lambda: len(front.connections))
        counters.gauge("far ends", lambda: len(self._connector.bridges))
        counters.count(lambda: front.counters)
        refused = front.admission.refusals.counts
        counters.count(lambda: {f"VM connections refused ({kind})": n for kind, n in refused.items()})

    @property
    def sockets(self) -> int:
        """How many connections there are."""
        return len(self.front.connections) + self._connector.sockets

    def certificate_warnings(self) -> list[str]:
        """What is wrong, or will be soon, with the certificates for hosts as time goes on."""
        credentials = self.front.tls.credentials
        now = datetime.datetime.fromtimestamp(self._wall(), datetime.UTC)
        return [warning for one in credentials.certificates if (warning := one.warning(now))] if credentials else []

    def metrics(self) -> Families:
        front, connector = self.front, self._connector
        encrypted, there = front.tls.connections.there, len(front.connections)
        by_tls = {"yes": encrypted, "no": max(0, there - encrypted)}
        yield gauge("vm_connections", "Connections of hosts.", by_tls, "tls")
        accepted = front.counters["connections"]
        yield counter("vm_connections_accepted", "Connections of hosts that were let in.", accepted)
        refusals = front.admission.refusals.counts
        refused = {reason: refusals[kind] for kind, reason in REFUSED.items()}
        refused |= {reason: front.counters[kind] for kind, reason in COMPLAINTS.items()}
        refused["descriptors"] = sum(listeners.refused for listeners in self.listeners.values())
        text = "Connections that were turned away."
        yield counter("vm_connections_refused", text, refused, "reason")
        pairs = {wrong.value: self._migrations.refused[wrong] for wrong in Wrong}
        pairs["blocked"] = front.lockout.refused
        text = "Connections that claimed to be the destination of a vMotion and were not believed."
        yield counter("vmotion_pairs_refused", text, pairs, "reason")
        states = Counter(bridge.state for bridge in connector.bridges)
        far_ends = {state: states[state] for state in FAR_ENDS}
        yield gauge("far_ends", "Remote ends of VMs with direction client.", far_ends, "state")
        text = "Bytes from VMs that remote ends were not given, as they were slow or away."
        yield counter("far_end_dropped_bytes", text, connector.dropped)
        yield expiry("vm", self.front.tls.credentials)

    def refused(self) -> list[Refusal]:
        """The hosts that were turned away lately, the newest first."""
        found = (*self.front.complaints.recent, *self.front.admission.refusals.recent)
        return sorted(found, reverse=True)[:KEPT]

    async def trace(self, wanted: Console | str, told: Callable[[str], None]) -> Callable[[], None]:
        """Tell what is said on the connections of a console, or of a host, by its address or name.

        :param told: called with each line.
        :returns: ends it.
        :raises VMProxyError: if it cannot be.
        """
        if isinstance(wanted, Console):
            return self.front.trace(told, console=wanted)
        address = numeric_address(wanted)
        hosts = await self._connector.lookup.find(wanted, 0) if address is None else [address]
        return self.front.trace(told, map(str, hosts))

    def check(self, config: Config) -> Credentials | None:
        try:
            return certificates.load(config.vm.tls)
        except CertificateError as error:
            raise ConfigError(error.by_setting) from None

    def reconfigure(self, config: Config, checked: Credentials | None) -> list[str]:
        before = self.front.tls.use(checked)
        for warning in tls_warnings(config, checked, self._wall()):
            _log.warn("{warning}", warning=warning)
        if config.vm.limits.connections > self._budget.vms:
            _log.warn(
                "vm.connections is {wanted}, but of {limit} descriptors (LimitNOFILE) only {vms} are for VMs",
                wanted=config.vm.limits.connections,
                limit=self._budget.limit,
                vms=self._budget.vms,
            )
        self.front.reconfigure(config.vm)
        for listeners in self.listeners.values():
            listeners.prepare()
        self._connector.probe_after(config.vm.keep_idle)
        changed = []
        if (before and before.thumbprints()) != (checked and checked.thumbprints()):
            changed.append("the certificates shown to hosts")
        if config.dial != self._connector.rules:
            changed.append("dial rules")
            self._connector.use(config.dial)
        return changed

    def stopService(self) -> Deferred[None]:
        """Fires when what far ends are to get has been sent, or late."""
        super().stopService()
        self.front.stop()
        return Deferred.fromCoroutine(self._connector.stop())


def expiry(use: str, credentials: Credentials | None) -> Family:
    """When certificates expire.

    :param use: whom they are shown to: ``vm``, ``web``.
    """
    certificates = credentials.certificates if credentials is not None else ()
    until = {
        (use, str(number)): certificate.valid_until.timestamp() for number, certificate in enumerate(certificates, 1)
    }
    text = "When the certificate is not valid any more; by its place in the settings."
    return gauge("certificate_expiry_timestamp_seconds", text, until, "use", "number")
