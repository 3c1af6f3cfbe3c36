"""The whole: the parts put together from a configuration, started, and stopped so that nothing received is lost."""

from __future__ import annotations

import gc
import getpass
import resource
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import cast

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.tcp import Port
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

import vmproxy
from vmproxy.config import Config, differences
from vmproxy.console.audit import Audit
from vmproxy.console.directory import Directory
from vmproxy.console.known import Journal
from vmproxy.console.log import LogStore
from vmproxy.console.lognames import template_fields
from vmproxy.console.migration import Migrations
from vmproxy.console.rotation import RotationPolicy
from vmproxy.console.scribe import Scribe, ScribeThread
from vmproxy.errors import ConfigError, StartError, VMProxyError
from vmproxy.ssh.factory import FrontSettings, OperatorFactory, SSHFront
from vmproxy.ssh.hostkeys import load_or_make
from vmproxy.ssh.login import Accounts
from vmproxy.vm.factory import VMFactory
from vmproxy.vm.hub import Hub, VMSettings
from vmproxy.welcome import welcome
from vmproxy.wire.vmware import new_secret

STOP_SECONDS = 10.0
# Twisted's 50 is too few when thousands of hosts come back at once: those that find no place wait a second or more.
BACKLOG = 1024
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
    ) -> None:
        """
        :param foreground: whether somebody reads what the process prints.
        :param read_again: reads the configuration as it is now; on another thread.
        """
        self._foreground = foreground
        self._config = self._started = config
        self._read_again = read_again or (lambda: config)
        self._reloading = False
        self._reactor = reactor
        self._ports: list[IListeningPort] = []
        self._scribe = Scribe(self._room_for_logs, policy=_rotation(config), plain=config.log.plain)
        scribe = ScribeThread(self._scribe)
        inputs = Audit(config.state_dir / "input.jsonl", scribe.submit, reactor, 0o600, self._scribe.again)
        self._store = LogStore(config.log.dir, reactor, scribe, reactor.callFromThread, inputs)
        journal = Journal(config.state_dir / "consoles.jsonl", self._store.soon, self._scribe.again)
        self._migrations = migrations = Migrations(reactor, config.vm.vmotion_timeout, new_secret)
        self.directory = Directory(reactor, self._store, journal, migrations, config.log.file)
        self._hub = Hub(
            reactor,
            VMSettings(config.vm.service_uri, config.vm.com_port, config.vm.keep_idle, config.vm.identify_timeout),
            self.directory,
            migrations,
            f"vmproxy {vmproxy.__version__}".encode(),
            needs_name="name" in template_fields(config.log.file),
        )
        self.directory.use(config.policy)
        self._audit = Audit(config.audit_file, scribe.submit, reactor, again=self._scribe.again)
        self._front = SSHFront(reactor, self.directory, _front_settings(config), self._audit, self._in_thread)
        self._accounts = Accounts(
            config.ssh.operators_file,
            getpass.getuser(),
            config.ssh.authorized_keys,
            self._in_thread,
            reactor,
            self._audit.record,
            per_address=config.ssh.connections_per_address,
            in_all=config.ssh.connections,
        )
        self._operators = OperatorFactory(self._front, self._accounts)
        self._vm_addresses: list[str] = []
        self._ssh_addresses: list[str] = []

    def _room_for_logs(self) -> int:
        # Called on the scribe's thread. Connections come first; there must be room for many more of them at any time.
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        vms = len(self._hub.connections)
        return min(self._config.log.open_files, max(LEAST_OPEN, descriptors - vms - vms // 4 - 1000))

    def _in_thread(self, call: Callable[[], object]) -> Deferred[object]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call)

    # Starting.

    def privilegedStartService(self) -> None:
        """Listen, while ports below 1024 may still be taken.

        :raises SystemExit, StartError: with one line, if that cannot be.
        """
        super().privilegedStartService()
        _raise_descriptor_limit()
        self._vm_addresses = [self._listen(text, VMFactory(self._hub)) for text in self._config.vm.listen]
        self._ssh_addresses = [self._listen(text, self._operators) for text in self._config.ssh.listen]

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
        for line in welcome(config, self._vm_addresses, self._ssh_addresses, host_keys, keyring, known):
            _log.info("{line}", line=line)

    def _cannot(self, problem: str) -> BaseException:
        # In the foreground one line says it all. A daemon's parent waits to hear how it went, and hears of errors only.
        return SystemExit(problem) if self._foreground else StartError(problem)

    def _listen(self, description: str, factory: IProtocolFactory) -> str:
        # All of Twisted's own endpoints are listening, or have failed, when listen() returns.
        outcome: list[IListeningPort | Failure] = []
        try:
            serverFromString(self._reactor, description).listen(factory).addBoth(outcome.append)
        except Exception as error:  # an endpoint's plugin may raise whatever it likes
            outcome.append(Failure(error))
        if not outcome or isinstance(outcome[0], Failure):
            problem = (
                outcome[0].getErrorMessage() if outcome and isinstance(outcome[0], Failure) else "it takes too long"
            )
            raise self._cannot(f"vmproxy cannot listen on {description}: {problem}")
        self._ports.append(outcome[0])
        if isinstance(outcome[0], Port):
            outcome[0].socket.listen(BACKLOG)
        address = outcome[0].getHost()
        if isinstance(address, IPv4Address):
            return f"{address.host}:{address.port}"
        if isinstance(address, IPv6Address):
            return f"[{address.host}]:{address.port}"
        return description

    # Running.

    def _on_signal(self, number: signal.Signals, action: Callable[[], None]) -> None:
        # Unhandled, these two would end the process.
        def handler(_number: int, _frame: FrameType | None) -> None:
            self._reactor.callFromThread(action)

        signal.signal(number, handler)

    def _hang_up(self) -> None:
        _log.info("SIGHUP: the log files are opened anew, the configuration is read again")
        self._store.reopen()
        if not self._reloading:  # one at a time; whoever asks again meanwhile gets what is being read
            self._reloading = True
            Deferred.fromCoroutine(self._reload()).addErrback(
                lambda failure: _log.failure("the configuration could not be taken", failure=failure)
            )

    async def _reload(self) -> None:
        try:
            new = await self._in_thread(self._read_again)
        except ConfigError as error:
            for problem in error.problems:
                _log.error("the configuration stays as it was: {problem}", problem=problem)
            self._audit.record("reload-failed", problems=error.problems)
            return
        finally:
            self._reloading = False
        self._take(cast(Config, new))
        await self._accounts.refresh()

    def _take(self, new: Config) -> None:
        changed = differences(self._config, new, live=True)
        waiting = differences(self._started, new, live=False)
        self._config = new
        self._front.settings = _front_settings(new)
        self._front.alive.seconds = new.ssh.keepalive
        self._store.use(_rotation(new), new.log.plain)
        if new.policy != self.directory.policy:
            changed += ["rules and consoles"]
            self.directory.use(new.policy)
        _log.info("the configuration is in force; changed: {changed}", changed=", ".join(changed) or "nothing")
        if waiting:
            _log.warn("these changes wait for a restart: {waiting}", waiting=", ".join(waiting))
        self._audit.record("reload", changed=changed, waiting=waiting)

    def _report(self) -> None:
        states: dict[str, int] = {}
        for console in self.directory:
            states[console.state] = states.get(console.state, 0) + 1
        _log.info(
            "consoles: {states}; connections: {connections}; operators: {operators};"
            " bytes waiting for the disk: {waiting}; counters: {counters}",
            states=states,
            connections=len(self._hub.connections),
            operators=len(self._front.transports),
            waiting=self._store.unwritten,
            counters={
                **self._hub.counters,
                "SSH connections refused": self._accounts.gate.refused,
                "vMotions completed": self._migrations.completed,
                "vMotions aborted": self._migrations.aborted,
                "vMotions abandoned": self._migrations.abandoned,
                "log bytes lost": self._store.dropped + self._scribe.lost,
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
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        await self._front.stop()
        self._hub.stop()
        self.directory.news.sum_up()
        stopped = self._store.stop()
        stopped.addTimeout(STOP_SECONDS, self._reactor)
        try:
            await stopped
        except TimeoutError:
            _log.error("the disk does not answer; {n} bytes are not written", n=self._store.unwritten)


def _front_settings(config: Config) -> FrontSettings:
    ssh = config.ssh
    return FrontSettings(ssh.login_timeout, ssh.escape, ssh.quiet, ssh.keepalive, ssh.message)


def _rotation(config: Config) -> RotationPolicy:
    log = config.log
    return RotationPolicy(
        size=log.rotate_size,
        age=log.rotate_age,
        keep=log.keep,
        compress=log.compress,
        console_total=log.console_total,
        folder_total=log.folder_total,
    )


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
