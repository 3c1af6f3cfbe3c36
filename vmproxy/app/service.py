"""The whole: parts made from a configuration, started, and stopped so that nothing that was received is lost."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, cast

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from vmproxy.app.action_service import ActionService
from vmproxy.app.alert_service import AlertService
from vmproxy.app.console_service import ConsoleService
from vmproxy.app.descriptors import SpareDescriptor, raise_limit, share_out
from vmproxy.app.listeners import CannotListen, Listeners
from vmproxy.app.log_service import LogService
from vmproxy.app.part import Part
from vmproxy.app.privileges import account_name, readable_again, running_as, unreadable_code
from vmproxy.app.process_metrics import ProcessMetrics
from vmproxy.app.self_check import Newest, SelfCheck
from vmproxy.app.ssh_service import SSHService
from vmproxy.app.startup import TLSStatus, startup_lines, vsphere_lines
from vmproxy.app.status import Status
from vmproxy.app.systemd import Notifier, activated_sockets, has_terminal, initial_environment
from vmproxy.app.vcenter_service import VCenterService
from vmproxy.app.vm_service import VMService
from vmproxy.app.web_service import WebService
from vmproxy.auth.guests import FILE as GUESTS
from vmproxy.auth.guests import GuestList
from vmproxy.auth.limits import FILES_IN_ALL, LOGINS_IN_ALL
from vmproxy.base.counters import Counters
from vmproxy.base.failures import explain_start
from vmproxy.base.tasks import outcome
from vmproxy.base.troubles import Kind, Troubles
from vmproxy.config.difference import IN_FORCE, write_in_force
from vmproxy.config.settings import LOG_LEVEL, SETTINGS, Config, differences
from vmproxy.console.console import Console
from vmproxy.errors import ConfigError, StartError, VMProxyError
from vmproxy.operators.reach import web_address
from vmproxy.operators.services import Services

LEAST_OPEN = 256
SOCKETS = {
    "vm": "vm.listen",
    "vm-tls": "vm.tls-listen",
    "ssh": "ssh.listen",
    "web": "web.listen",
    "web-tls": "web.tls-listen",
    "metrics": "web.metrics-listen",
}
"""What systemd calls a socket, and the setting that it takes the place of."""

Checked = dict[Part, Any]

_log = Logger()


class VMProxyService(MultiService):
    """The concentrator.

    Its parts are started in the order in which each needs those before it, and stopped in the reverse order, one
    after the other: what a part still has to say in the end, those before it can take.

    :ivar parts: the parts.
    :ivar counters: what can be read of the process.
    :ivar metrics: the same and more, for those who watch over it from outside.
    """

    def __init__(
        self,
        config: Config,
        reactor: PosixReactorBase,
        foreground: bool = True,
        read_again: Callable[[], Config] | None = None,
        path: Path | None = None,
        set_level: Callable[[str], None] | None = None,
    ) -> None:
        """
        :param foreground: whether a problem at the start is a SystemExit, or an error for the starter to tell.
        :param read_again: reads the configuration as it is now; on another thread.
        :param path: the configuration file, if there is one.
        :param set_level: takes ``log-level``; None if the starter decides what is logged.
        """
        super().__init__()
        self._path = path
        self._foreground = foreground
        self._set_level = set_level
        self._config = self._started = config
        self._read_again = read_again or (lambda: config)
        self._reloading = self._reload_again = self._stopping = self._has_terminal = False
        self._reactor = reactor
        self._not_ready = ["starting"]
        self._sockets: dict[str, tuple[str, ...]] = {}  # by setting: opened for us, in place of what the setting says
        self.counters = counters = Counters()
        self.metrics = ProcessMetrics(reactor, lambda: self.parts)
        self._budget = budget = share_out(
            raise_limit(),
            min(config.log.open_files, LEAST_OPEN),
            config.ssh.limits.descriptors + LOGINS_IN_ALL + FILES_IN_ALL,
            config.web.connections if config.web.on else 0,
        )
        spare = SpareDescriptor()
        self.log = LogService(reactor, config, self._room_for_logs, counters)
        self.consoles = ConsoleService(reactor, config, self.log, counters)
        troubles = Troubles()
        self.consoles.registry.tell_troubles(troubles)
        self.alerts = AlertService(reactor, config, self.log, self.consoles, troubles, counters)
        self.vcenter = VCenterService(reactor, config, self.log, self.consoles, troubles)
        self.vms = VMService(reactor, config, self.consoles, self.log.audit, budget, spare, counters)
        self.actions = ActionService(reactor)
        services = Services(
            reactor,
            self.consoles.registry,
            self.log.audit,
            self.alerts.center,
            self._in_thread,
            config.ssh.operators,
            self.vms.refused,
            self._to_connect,
            self.vms.trace,
            self.actions.actions,
            GuestList(config.state_dir / GUESTS, self._in_thread, reactor),
            self._web_link,
            self._ssh_port,
        )
        self.ssh = SSHService(reactor, config, services, budget, spare, counters)
        self._state = Status(
            reactor,
            counters,
            lambda: {key: listeners.addresses for key, listeners in self._listening()},
            lambda: {"vm": self.vms.front.tls.credentials, "web": self.web.credentials},
        )
        self.web = WebService(
            reactor,
            config,
            services,
            self.ssh.accounts,
            budget,
            spare,
            counters,
            lambda: self._not_ready,
            self._state.fields,
            self.metrics,
        )
        self.parts: tuple[Part, ...] = (
            self.log,
            self.consoles,
            self.alerts,
            self.vcenter,
            self.vms,
            self.actions,
            self.ssh,
            self.web,
        )
        for part in self.parts:
            part.setServiceParent(self)
        self.metrics.reloaded(True)
        listeners = [one for part in self.parts for one in part.listeners.values()]
        counters.count(lambda: {"connections without a descriptor": sum(one.refused for one in listeners)})
        unwritten = (self.log.unwritten, self.consoles.unwritten, self.alerts.unwritten)
        self._self_check = SelfCheck(
            reactor,
            troubles,
            (
                (Kind.DISK, lambda: (text for part in unwritten for text in part())),
                (Kind.CERTIFICATE, self.vms.certificate_warnings),
                (Kind.REFUSED, Newest(self.vms.refused)),
            ),
            self.log.short_of_room,
        )
        self._notifier = Notifier(reactor, os.environ, self._status)

    def _ssh_port(self) -> int:
        ports = (address.rpartition(":")[2] for address in self.ssh.listeners["ssh.listen"].addresses)
        return next((int(port) for port in ports if port.isdecimal()), 0)

    def _web_link(self, console: Console) -> str:
        # Where it listens tells nothing of how browsers reach it.
        return web_address(self._config.web.public_url, console) if self.web.is_on(self._config) else ""

    def _to_connect(self) -> list[str]:
        addresses = {key: listeners.addresses for key, listeners in self.vms.listeners.items()}
        tls = TLSStatus(self.vms.front.tls.credentials, addresses["vm.tls-listen"])
        return vsphere_lines(self._config, addresses["vm.listen"], tls)

    def _room_for_logs(self) -> int:
        # Called on the writer's thread. Connections come first; there must be room for many more of them at any time.
        to_spare = max(0, self._budget.vms - self.vms.sockets - self.vms.sockets // 4)
        return min(self._config.log.open_files, self._budget.log_files + to_spare)

    def _in_thread(self, call: Callable[[], object]) -> Deferred[object]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), outcome, call)

    # Starting.

    def privilegedStartService(self) -> None:
        """Listen, while ports below 1024 may still be taken.

        :raises SystemExit, StartError: with one line, if it cannot.
        """
        try:
            activated = activated_sockets(initial_environment(), SOCKETS)
            self._sockets = {SOCKETS[name]: endpoints for name, endpoints in activated.items()}
            self.web.use_sockets(self._sockets)
            self._reconfigure(self._config, self._check(self._config))
        except ConfigError as error:
            raise self._cannot(str(error)) from None
        except StartError as error:
            raise self._cannot(f"vmproxy cannot start: {error}") from None
        if problems := [*self._open_listeners(), *self.web.exposed(self._config)]:
            raise self._cannot("\n".join(problems))

    def _open_listeners(self) -> Iterator[str]:
        """Listen at all endpoints.

        :returns: the problems: of each setting the first.
        """
        for key, listeners in self._listening():
            try:
                listeners.open(self._where(key, self._config))
            except CannotListen as error:
                option = SETTINGS[key].option
                way = f"--{option} tcp:PORT, or {key}" if option else key
                yield f"vmproxy {error}" + (f"; choose another port: {way}" if error.taken else "")

    def startService(self) -> None:
        """Start everything else.

        :raises SystemExit, StartError: with one line, if it cannot.
        """
        if problem := unreadable_code():
            raise self._cannot(f"vmproxy cannot start: {problem}")
        gc.disable()
        try:
            self._load()
            super().startService()
            # The objects that exist now stay, thousands of consoles perhaps: the collector need not look at them, not
            # even once, which would be a tenth of a start. What is over is freed without it, so it has little to find.
            # In a storm of 4,000 VMs it takes 34 ms in all with any of these, in pieces of 6 ms at most with 10,000 and
            # of 33 ms with 100,000; all generations at once take 54 ms, and do not come.
            gc.freeze()
            gc.set_threshold(10_000, 1000, 1000)
        finally:
            gc.enable()
        # The time that the writer's thread may compute while an answer to a host waits; the default is 5 ms.
        sys.setswitchinterval(0.0005)
        # Under nohup the terminal may go, and the daemon stays.
        self._has_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and has_terminal()
        self._on_signal(signal.SIGHUP, self._sighup)
        self._on_signal(signal.SIGUSR2, self._report)
        if signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:  # with a log file, twistd has taken it
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        addresses = {key: listeners.addresses for key, listeners in self._listening()}
        for line in startup_lines(
            self._config,
            addresses["vm.listen"],
            TLSStatus(self.vms.front.tls.credentials, addresses["vm.tls-listen"]),
            addresses["ssh.listen"],
            self.ssh.host_keys,
            self.ssh.keyring,
            len(self.consoles.registry),
            self.web.addresses(),
        ):
            _log.info("{line}", line=line, summary=True)
        unheard = (
            ""
            if self._set_level or self._config.log_level == LOG_LEVEL
            else "log-level counts under `vmproxy run' only"
        )
        for problem in filter(None, (running_as(), readable_again(self._path), unheard)):
            _log.warn("{problem}", problem=problem)
        self._write_down(self._config)
        self._self_check.start()
        self._not_ready = []
        self._watch_over()
        self._notifier.ready()

    def _load(self) -> None:
        try:
            for part in self.parts:
                part.load()
        except VMProxyError as error:
            raise self._cannot(f"vmproxy cannot start: {error}") from None
        except OSError as error:
            why = explain_start(error, account_name())
            raise self._cannot(f"vmproxy cannot start: {why}") from None

    def _write_down(self, config: Config) -> None:
        try:
            write_in_force(config, time.time())
        except OSError as error:
            _log.warn("{file} cannot be written: {error}", file=IN_FORCE, error=error.strerror)

    def _status(self) -> str:
        return (
            f"{len(self.vms.front.connections)} connections of VMs, {len(self.consoles.registry)} consoles known,"
            f" {len(self.ssh)} operators"
        )

    def _cannot(self, problem: str) -> BaseException:
        # In the foreground one line is enough. The parent of a daemon waits for the outcome, and takes errors only.
        return SystemExit(problem) if self._foreground else StartError(problem)

    # Listening.

    def _listening(self) -> Iterator[tuple[str, Listeners]]:
        for part in self.parts:
            yield from part.listeners.items()

    def _where(self, key: str, config: Config) -> tuple[str, ...]:
        wanted: tuple[str, ...] = SETTINGS[key].of(config)
        return self._sockets.get(key, wanted)

    # Running.

    def _on_signal(self, number: signal.Signals, action: Callable[[], None]) -> None:
        # Unhandled, SIGHUP and SIGUSR2 would end the process.
        def handler(_number: int, _frame: FrameType | None) -> None:
            self._reactor.callFromThread(action)

        signal.signal(number, handler)

    def _sighup(self) -> None:
        if self._has_terminal and not has_terminal():
            _log.info("SIGHUP: the terminal is closed, and vmproxy stops with it")
            self._reactor.stop()
            return
        _log.info("SIGHUP: the log files are opened anew, the configuration is read again")
        self.log.store.reopen()
        self._reload_again = True
        if not self._reloading:  # one at a time; a SIGHUP meanwhile causes one more reload
            self._reloading = True
            self._notifier.reloading()
            reloaded = Deferred.fromCoroutine(self._reload_all()).addErrback(
                lambda failure: _log.failure("the configuration could not be taken", failure=failure)
            )
            reloaded.addCallback(lambda _: self._notifier.ready())

    async def _reload_all(self) -> None:
        try:
            while self._reload_again and not self._stopping:
                self._reload_again = False
                await self._reload()
        finally:
            self._reloading = False

    async def _reload(self) -> None:
        def read() -> tuple[Config, Checked]:
            config = self._read_again()
            return config, self._check(config)

        try:
            new, checked = cast(tuple[Config, Checked], await self._in_thread(read))
        except ConfigError as error:
            for problem in error.problems:
                _log.error("the configuration stays as it was: {problem}", problem=problem)
            self.log.audit.record("reload-failed", problems=error.problems)
            self.metrics.reloaded(False)
            self._state.reloaded(False, problems=error.problems)
            return
        await self._take(new, checked)
        await self.ssh.accounts.refresh()

    def _check(self, config: Config) -> Checked:
        return {part: part.check(config) for part in self.parts}

    def _reconfigure(self, config: Config, checked: Checked) -> list[str]:
        if self._set_level is not None:
            self._set_level(config.log_level)
        return [what for part in self.parts for what in part.reconfigure(config, checked[part])]

    async def _take(self, new: Config, checked: Checked) -> None:
        # The parts first, then the listeners: a new listener lets nobody in by the old rules.
        others = self._reconfigure(new, checked)
        new, problems = await self._listen_anew(new)
        changed = [*differences(self._config, new, restart=False), *others]
        waiting = differences(self._started, new, restart=True)
        self._config = new
        self.metrics.reloaded(not problems)
        self._watch_over()
        await self._in_thread(lambda: self._write_down(new))
        _log.info("the configuration is in force; changed: {changed}", changed=", ".join(changed) or "nothing")
        if waiting:
            _log.warn("these changes wait for a restart: {waiting}", waiting=", ".join(waiting))
        self._state.reloaded(not problems, changed, waiting, problems)
        self.log.audit.record(
            "reload", changed=changed, waiting=waiting, **({"problems": problems} if problems else {})
        )

    def _watch_over(self) -> None:
        if self.web.is_on(self._config):
            self.metrics.start()
        else:
            self.metrics.stop()

    async def _listen_anew(self, new: Config) -> tuple[Config, list[str]]:
        """Take the endpoints of another configuration.

        :returns: the configuration in force, with the old endpoints where new ones cannot be opened; and the problems.
        """
        problems: list[str] = []
        for key, listeners in self._listening():
            before = listeners.addresses
            try:
                await listeners.change(self._where(key, new))
            except CannotListen as error:
                problems.append(f"{key} stays as it was: {error}")
                _log.error("{problem}", problem=problems[-1])
                new = SETTINGS[key].put(new, SETTINGS[key].of(self._config))
            else:
                if listeners.addresses != before:
                    _log.info("{key} is now {where}", key=key, where=", ".join(listeners.addresses))
        return new, problems

    def _report(self) -> None:
        _log.info("{report}", report=self.counters.report())

    # Stopping.

    def stopService(self) -> Deferred[None]:
        """Stop: fires when every byte that was received is with the operating system."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        self._not_ready = ["stopping"]
        self.metrics.stop()
        self._self_check.stop()
        self._notifier.stopping()
        for _, listeners in self._listening():
            await listeners.close()
        for part in reversed(self.parts):
            await maybeDeferred(part.stopService)
