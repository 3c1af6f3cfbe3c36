"""The whole: the parts put together from a configuration, started, and stopped so that nothing received is lost."""

from __future__ import annotations

import getpass
import resource
import signal
from collections.abc import Callable
from types import FrameType

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
from vmproxy.config import Config
from vmproxy.console.directory import Directory
from vmproxy.console.known import Journal
from vmproxy.console.log import LogStore
from vmproxy.console.lognames import template_fields
from vmproxy.console.migration import Migrations
from vmproxy.console.scribe import Scribe, ScribeThread
from vmproxy.errors import StartError, VMProxyError
from vmproxy.ssh.auth import read_authorized_keys
from vmproxy.ssh.factory import OperatorFactory, SSHFront
from vmproxy.ssh.hostkeys import load_or_make
from vmproxy.vm.factory import VMFactory
from vmproxy.vm.hub import Hub, VMSettings
from vmproxy.welcome import welcome
from vmproxy.wire.vmware import new_secret

STOP_SECONDS = 10.0
# Twisted's 50 is too few when thousands of hosts come back at once: those that find no place wait a second or more.
BACKLOG = 1024

_log = Logger()


class VMProxyService(Service):
    """The concentrator."""

    def __init__(self, config: Config, reactor: PosixReactorBase, foreground: bool = True) -> None:
        """:param foreground: whether somebody reads what the process prints."""
        self._foreground = foreground
        self._config = config
        self._reactor = reactor
        self._ports: list[IListeningPort] = []
        self._scribe = Scribe(config.log.open_files)
        scribe = ScribeThread(self._scribe)
        self._store = LogStore(config.log.dir, reactor, scribe, reactor.callFromThread)
        journal = Journal(config.state_dir / "consoles.jsonl", scribe.submit)
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
        self._front = SSHFront(reactor, self.directory, config.ssh.login_timeout, self._in_thread)
        self._operator = getpass.getuser()
        self._operators = OperatorFactory(self._front, self._operator, config.ssh.authorized_keys)
        self._vm_addresses: list[str] = []
        self._ssh_addresses: list[str] = []

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
        except (VMProxyError, OSError) as error:
            raise self._cannot(f"vmproxy cannot start: {error}") from None
        self._operators.use_host_keys(host_keys)
        self._store.start()
        self._on_signal(signal.SIGHUP, self._reopen)
        self._on_signal(signal.SIGUSR2, self._report)
        if signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:  # with a log file, twistd has taken it
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        authorized = len(read_authorized_keys(config.ssh.authorized_keys))
        for line in welcome(
            config, self._vm_addresses, self._ssh_addresses, host_keys, self._operator, authorized, len(self.directory)
        ):
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

    def _reopen(self) -> None:
        _log.info("SIGHUP: the log files are opened anew")
        self._store.reopen()

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
                "vMotions completed": self._migrations.completed,
                "vMotions aborted": self._migrations.aborted,
                "vMotions abandoned": self._migrations.abandoned,
                "log bytes lost": self._store.dropped + self._scribe.lost,
                "events lost": self._store.events_lost,
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
        stopped = self._store.stop()
        stopped.addTimeout(STOP_SECONDS, self._reactor)
        try:
            await stopped
        except TimeoutError:
            _log.error("the disk does not answer; {n} bytes are not written", n=self._store.unwritten)


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
