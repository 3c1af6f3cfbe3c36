"""The whole: the parts put together from a configuration, started, and stopped so that nothing received is lost."""

from __future__ import annotations

import gc
import getpass
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

import vmproxy
from vmproxy.app.descriptors import Spare, raise_limit, share_out
from vmproxy.app.listeners import CannotListen, Listeners
from vmproxy.app.privileges import readable_again, running_as
from vmproxy.app.socket_activation import handed_over, initial_environment
from vmproxy.app.startup import TLSShown, tls_warnings, welcome
from vmproxy.app.systemd import Notifier
from vmproxy.auth.authenticator import Accounts
from vmproxy.auth.limits import FILES_IN_ALL, LOGINS_IN_ALL
from vmproxy.base.clock import wall_of
from vmproxy.config.settings import SETTINGS, Config, differences
from vmproxy.console.journal import Journal
from vmproxy.console.migration import Migrations
from vmproxy.console.registry import Directory
from vmproxy.errors import ConfigError, StartError, VMProxyError
from vmproxy.log.audit import Audit
from vmproxy.log.paths import template_fields
from vmproxy.log.store import LogStore
from vmproxy.log.writer import Scribe
from vmproxy.log.writer_thread import ScribeThread
from vmproxy.operators.services import Services
from vmproxy.ssh.frontend import OperatorFactory, SSHFront
from vmproxy.ssh.host_keys import load_or_make
from vmproxy.vm import certificates
from vmproxy.vm.certificates import Credentials
from vmproxy.vm.connection import VMFactory
from vmproxy.vm.frontend import Hub
from vmproxy.vm.outbound.connector import Dialler
from vmproxy.vm.outbound.resolver import system_resolver
from vmproxy.vm.settings import Encryption
from vmproxy.wire.vmware import new_secret

STOP_SECONDS = 10.0
LEAST_OPEN = 256

_log = Logger()


class VMProxyService(Service):
    """The concentrator."""

    def __init__(
        self,
        config: Config,
        reactor: PosixReactorBase,
        foreground: bool = True,
        read_again: Callable[[], Config] | None = None,
        path: Path | None = None,
    ) -> None:
        """
        :param foreground: whether somebody reads what the process prints.
        :param read_again: reads the configuration as it is now; on another thread.
        :param path: the configuration file, if there is one.
        """
        self._path = path
        self._foreground = foreground
        self._config = self._started = config
        self._read_again = read_again or (lambda: config)
        self._reloading = self._asked_again = self._stopping = False
        self._reactor = reactor
        self._budget = share_out(
            raise_limit(),
            min(config.log.open_files, LEAST_OPEN),
            config.ssh.limits.in_all + LOGINS_IN_ALL + FILES_IN_ALL,
        )
        self._scribe = Scribe(self._room_for_logs, policy=config.log.rotation, plain=config.log.plain)
        scribe = ScribeThread(self._scribe)
        inputs = Audit(config.state_dir / "input.jsonl", scribe.submit, reactor, 0o600, self._scribe.retry.again)
        self._store = LogStore(config.log.dir, reactor, scribe, reactor.callFromThread, inputs)
        journal = Journal(config.state_dir / "consoles.jsonl", self._store.soon, self._scribe.retry.again)
        self._migrations = migrations = Migrations(reactor, config.vm.vmotion_timeout, new_secret)
        self.directory = Directory(reactor, self._store, journal, migrations, config.log.file)
        self._hub = Hub(
            reactor,
            config.vm,
            self.directory,
            migrations,
            f"vmproxy {vmproxy.__version__}".encode(),
            needs_name="name" in template_fields(config.log.file),
            room=self._budget.vms,
        )
        self.directory.newcomers = config.vm.duplicates
        self.directory.use(config.policy)
        self._audit = Audit(config.audit_file, scribe.submit, reactor, again=self._scribe.retry.again)
        self._dialler = self._hub.dialler = Dialler(
            reactor,
            reactor,
            system_resolver(reactor),
            config.dial,
            config.vm.keep_idle,
            self._audit.record,
            scarce=lambda: self._hub.admission.scarce,
        )
        self._services = Services(reactor, self.directory, self._audit, self._in_thread, config.ssh.operators)
        self._front = SSHFront(self._services, config.ssh)
        limits = self._budget.of_logins(config.ssh.limits)
        self._front.logins.each = limits.per_operator
        self._accounts = Accounts(
            config.ssh.accounts,
            getpass.getuser(),
            self._in_thread,
            reactor,
            self._audit.record,
            limits=limits,
        )
        self._operators = OperatorFactory(self._front, self._accounts)
        self._spare = Spare()
        self._vm_listeners = Listeners(reactor, VMFactory(self._hub), self._spare, self._hub.prepare)
        self._tls_listeners = Listeners(
            reactor, self._hub.tls.over(VMFactory(self._hub)), self._spare, self._hub.prepare
        )
        self._ssh_listeners = Listeners(reactor, self._operators, self._spare)
        self._handed: dict[str, tuple[str, ...]] = {}  # the sockets that were opened for us, in place of `listen`
        self._notifier = Notifier(reactor, os.environ, self._status)

    def _room_for_logs(self) -> int:
        # Called on the scribe's thread. Connections come first; there must be room for many more of them at any time.
        vms = len(self._hub.connections) + self._dialler.sockets
        to_spare = max(0, self._budget.vms - vms - vms // 4)
        return min(self._config.log.open_files, self._budget.log_files + to_spare)

    def _in_thread(self, call: Callable[[], object]) -> Deferred[object]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call)

    # Starting.

    def privilegedStartService(self) -> None:
        """Listen, while ports below 1024 may still be taken.

        :raises SystemExit, StartError: with one line, if that cannot be.
        """
        super().privilegedStartService()
        try:
            self._use_credentials(self._config, _credentials(self._config))
            self._handed = handed_over(initial_environment(), ("vm", "vm-tls", "ssh"))
            for _, listeners, wanted in self._listening(self._config):
                listeners.open(wanted)
        except ConfigError as error:
            raise self._cannot(str(error)) from None
        except StartError as error:
            raise self._cannot(f"vmproxy cannot start: {error}") from None
        except CannotListen as error:
            raise self._cannot(f"vmproxy {error}") from None

    def _listening(self, config: Config) -> Sequence[tuple[str, Listeners, Sequence[str]]]:
        # All that listens: the setting that says where, the sockets, and where that is in a configuration.
        return (
            ("vm.listen", self._vm_listeners, self._handed.get("vm", config.vm.listen)),
            ("vm.tls-listen", self._tls_listeners, self._handed.get("vm-tls", config.vm.tls_listen)),
            ("ssh.listen", self._ssh_listeners, self._handed.get("ssh", config.ssh.listen)),
        )

    def startService(self) -> None:
        """Start everything else.

        :raises SystemExit, StartError: with one line, if that cannot be.
        """
        super().startService()
        config = self._config
        try:
            config.state_dir.mkdir(parents=True, exist_ok=True)
            config.log.dir.mkdir(parents=True, exist_ok=True)
            host_keys = load_or_make(config.state_dir)
            self.directory.load()
            keyring = self._accounts.load()
        except (VMProxyError, OSError) as error:
            raise self._cannot(f"vmproxy cannot start: {error}") from None
        self._operators.use_host_keys(host_keys)
        self._store.start()
        self._audit.mend()
        self._store.inputs.mend()
        # What is there now stays: collecting garbage need not look at it again and again, nor after every 700 objects.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)
        # How long the writer's thread may compute while an answer to a host waits. Usual are 5 ms.
        sys.setswitchinterval(0.0005)
        self._on_signal(signal.SIGHUP, self._hang_up)
        self._on_signal(signal.SIGUSR2, self._report)
        if signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:  # with a log file, twistd has taken it
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        known = len(self.directory)
        vm_addresses, ssh_addresses = self._vm_listeners.addresses, self._ssh_listeners.addresses
        tls = TLSShown(self._hub.tls.credentials, self._tls_listeners.addresses)
        for line in welcome(config, vm_addresses, tls, ssh_addresses, host_keys, keyring, known):
            _log.info("{line}", line=line)
        self._warn_of_descriptors(config)
        if problem := running_as():
            _log.warn("{problem}", problem=problem)
        if problem := readable_again(self._path):
            _log.warn("{problem}", problem=problem)
        self._notifier.ready()

    def _status(self) -> str:
        return (
            f"{len(self._hub.connections)} connections of VMs, {len(self.directory)} consoles known,"
            f" {len(self._front.transports)} operators"
        )

    def _cannot(self, problem: str) -> BaseException:
        # In the foreground one line says it all. A daemon's parent waits to hear how it went, and hears of errors only.
        return SystemExit(problem) if self._foreground else StartError(problem)

    # Running.

    def _on_signal(self, number: signal.Signals, action: Callable[[], None]) -> None:
        # Unhandled, these two would end the process.
        def handler(_number: int, _frame: FrameType | None) -> None:
            self._reactor.callFromThread(action)

        signal.signal(number, handler)

    def _hang_up(self) -> None:
        _log.info("SIGHUP: the log files are opened anew, the configuration is read again")
        self._store.reopen()
        self._asked_again = True
        if not self._reloading:  # one at a time; for who asks meanwhile it is done once more behind it
            self._reloading = True
            self._notifier.reloading()
            reloaded = Deferred.fromCoroutine(self._reload_all()).addErrback(
                lambda failure: _log.failure("the configuration could not be taken", failure=failure)
            )
            reloaded.addCallback(lambda _: self._notifier.ready())

    async def _reload_all(self) -> None:
        try:
            while self._asked_again and not self._stopping:
                self._asked_again = False
                await self._reload()
        finally:
            self._reloading = False

    async def _reload(self) -> None:
        try:
            new = await self._in_thread(self._read)
        except ConfigError as error:
            for problem in error.problems:
                _log.error("the configuration stays as it was: {problem}", problem=problem)
            self._audit.record("reload-failed", problems=error.problems)
            return
        await self._take(*cast(tuple[Config, Credentials | None], new))
        await self._accounts.refresh()

    def _read(self) -> tuple[Config, Credentials | None]:
        config = self._read_again()
        return config, _credentials(config)

    def _use_credentials(self, config: Config, credentials: Credentials | None) -> bool:
        # VMs that are connected keep what they have; :returns: whether hosts are shown other certificates than before.
        before, self._hub.tls.credentials = self._hub.tls.credentials, credentials
        self._migrations.may_differ = config.vm.encryption is not Encryption.OFF
        for warning in tls_warnings(config, credentials, wall_of(self._reactor)()):
            _log.warn("{warning}", warning=warning)
        return (before and before.thumbprints()) != (credentials and credentials.thumbprints())

    async def _take(self, new: Config, credentials: Credentials | None) -> None:
        # First who may come and how, then where: on new listeners nobody is let in by the rules of before.
        others = self._use_credentials(new, credentials)
        self._hub.use(new.vm)
        self.directory.newcomers = new.vm.duplicates
        new, problems = await self._listen_anew(new)
        changed = differences(self._config, new, restart=False)
        if others:
            changed += ["the certificates shown to hosts"]
        waiting = differences(self._started, new, restart=True)
        self._config = new
        for listeners in (self._vm_listeners, self._tls_listeners):
            listeners.prepare()
        self._migrations.use(new.vm.vmotion_timeout)
        self._front.deadline.use(new.ssh.login_timeout)
        limits = self._budget.of_logins(new.ssh.limits)
        self._accounts.gate.reconfigure(limits)
        self._services.settings = new.ssh.operators
        self._front.alive.seconds = new.ssh.keepalive
        self._front.logins.each = limits.per_operator
        self._store.use(new.log.rotation, new.log.plain)
        if new.policy != self.directory.policy:
            changed += ["rules and consoles"]
            self.directory.use(new.policy)
        self._warn_of_descriptors(new)
        self._dialler.probe_after(new.vm.keep_idle)
        if new.dial != self._dialler.rules:
            changed += ["dial rules"]
            self._dialler.use(new.dial)
        _log.info("the configuration is in force; changed: {changed}", changed=", ".join(changed) or "nothing")
        if waiting:
            _log.warn("these changes wait for a restart: {waiting}", waiting=", ".join(waiting))
        self._audit.record("reload", changed=changed, waiting=waiting, **({"problems": problems} if problems else {}))

    async def _listen_anew(self, new: Config) -> tuple[Config, list[str]]:
        """Change what is listened on.

        :returns: what is in force then: of listeners that cannot be had, those before; and what was wrong with them.
        """
        problems: list[str] = []
        for key, listeners, wanted in self._listening(new):
            before = listeners.addresses
            try:
                await listeners.change(wanted)
            except CannotListen as error:
                problems.append(f"{key} stays as it was: {error}")
                _log.error("{problem}", problem=problems[-1])
                new = SETTINGS[key].put(new, SETTINGS[key].of(self._config))
            else:
                if listeners.addresses != before:
                    _log.info("{key} is now {where}", key=key, where=", ".join(listeners.addresses))
        return new, problems

    def _warn_of_descriptors(self, config: Config) -> None:
        if config.vm.limits.connections > self._budget.vms:
            _log.warn(
                "vm.connections is {wanted}, but of {limit} descriptors (LimitNOFILE) only {vms} are for VMs",
                wanted=config.vm.limits.connections,
                limit=self._budget.limit,
                vms=self._budget.vms,
            )

    def _report(self) -> None:
        states: dict[str, int] = {}
        for console in self.directory:
            states[console.state] = states.get(console.state, 0) + 1
        _log.info(
            "consoles: {states}; connections: {connections}; operators: {operators}; far ends: {far_ends};"
            " bytes waiting for the disk: {waiting}; counters: {counters}",
            states=states,
            connections=len(self._hub.connections),
            operators=len(self._front.transports),
            far_ends=len(self._dialler.dials),
            waiting=self._store.unwritten,
            counters={
                **self._hub.counters,
                **{f"VM connections refused ({kind})": n for kind, n in self._hub.admission.refusals.counts.items()},
                "connections without a descriptor": sum(
                    listeners.refused for listeners in (self._vm_listeners, self._tls_listeners, self._ssh_listeners)
                ),
                "SSH connections refused": self._accounts.gate.refused,
                "vMotions completed": self._migrations.completed,
                "vMotions aborted": self._migrations.aborted,
                "vMotions abandoned": self._migrations.abandoned,
                "log bytes lost": self._store.dropped + self._scribe.retry.lost,
                "events lost": self._store.events_lost,
                "logs rotated": self._scribe.rotation.rotated,
                "old logs removed": self._scribe.rotation.removed,
            },
        )

    # Stopping.

    def stopService(self) -> Deferred[None]:
        """Stop: fires when every byte that was received is with the operating system."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        self._notifier.stopping()
        for _, listeners, _ in self._listening(self._config):
            await listeners.close()
        await self._front.stop()
        self._hub.stop()
        self.directory.stop()
        await self._dialler.stop()
        stopped = self._store.stop()
        stopped.addTimeout(STOP_SECONDS, self._reactor)
        try:
            await stopped
        except TimeoutError:
            _log.error("the disk does not answer; {n} bytes are not written", n=self._store.unwritten)


def _credentials(config: Config) -> Credentials | None:
    return certificates.load(config.vm.tls)
