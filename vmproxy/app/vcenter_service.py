"""The vCenter service: asks a vCenter about the VMs, if the configuration names one."""

from __future__ import annotations

import threading
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.python.failure import Failure

from vmproxy.app.console_service import ConsoleService
from vmproxy.app.log_service import LogService
from vmproxy.app.part import Part
from vmproxy.base.troubles import Troubles
from vmproxy.config.settings import Config
from vmproxy.errors import ConfigError
from vmproxy.vcenter.follower import Read, VCenterFollower

KEPT_FILE = "vcenter.json"


class VCenterService(Part):
    """Labels of consoles by a vCenter.

    Each reading has a thread of its own, which the end of the process does not wait for: a vCenter may not answer.
    """

    def __init__(
        self, reactor: PosixReactorBase, config: Config, log: LogService, consoles: ConsoleService, troubles: Troubles
    ) -> None:
        self._reactor = reactor
        self._config = config
        self.follower = VCenterFollower(
            reactor,
            consoles.registry,
            troubles,
            log.audit.record,
            config.state_dir / KEPT_FILE,
            self._in_thread,
            lambda settings: prepare()(settings),
        )

    def _in_thread(self, call: Callable[[], object]) -> Deferred[object]:
        done: Deferred[object] = Deferred()

        def fire(result: object) -> None:
            if not done.called:
                done.callback(result)

        def run() -> None:
            try:
                result = call()
            except Exception:
                result = Failure()
            self._reactor.callFromThread(fire, result)

        threading.Thread(target=run, name="vmproxy-vcenter", daemon=True).start()
        return done

    def check(self, config: Config) -> None:
        settings = config.vcenter
        if not settings.server:
            return
        try:
            prepare()  # now: later, the account may be one that cannot read its own code
        except ImportError as error:
            text = f"vcenter.server: pyVmomi cannot be loaded ({error}): pip install 'vmproxy[vcenter]'"
            raise ConfigError([text]) from None
        for key, path in (("password-file", settings.password_file), ("ca-file", settings.ca_file)):
            try:
                if path is not None:
                    path.open("rb").close()
            except OSError as error:
                raise ConfigError([f"vcenter.{key}: {path}: {error.strerror}"]) from None

    def reconfigure(self, config: Config, checked: object) -> list[str]:
        self._config = config
        if self.running:
            self.follower.use(config.vcenter)
        return []

    def load(self) -> None:
        if self._config.vcenter.server:
            self.follower.load()

    def startService(self) -> None:
        super().startService()
        self.follower.use(self._config.vcenter)

    def stopService(self) -> None:
        super().stopService()
        self.follower.stop()


def prepare() -> Read:
    """Load what reads a vCenter, only where there is one: it takes a while, and memory. On any thread."""
    from vmproxy.vcenter.reader import read

    return read
