"""The log service: everything that is written, and the thread that writes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger

from vmproxy.app.part import Part
from vmproxy.app.self_check import short_of_room
from vmproxy.base.counters import Counters
from vmproxy.config.settings import Config
from vmproxy.log.audit import Audit
from vmproxy.log.store import LogStore
from vmproxy.log.writer import LogWriter
from vmproxy.log.writer_thread import LogWriterThread

STOP_SECONDS = 10.0

_log = Logger()


class LogService(Part):
    """Logs, trails and the audit trail.

    :ivar store: the VMs' logs.
    :ivar audit: the audit trail.
    :ivar again: has a job of the log writer done again after a while.
    """

    def __init__(self, reactor: PosixReactorBase, config: Config, room: Callable[[], int], counters: Counters) -> None:
        """:param room: how many files may be open; called on the writer's thread."""
        self._reactor = reactor
        self._folders = (config.state_dir, config.log.dir)
        writer = LogWriter(room)
        thread = LogWriterThread(writer)
        self.again = writer.retry.again
        inputs = Audit(config.state_dir / "input.jsonl", thread.submit, reactor, 0o600, self.again)
        self.audit = Audit(config.audit_file, thread.submit, reactor, again=self.again)
        self.store = store = LogStore(config.log.dir, reactor, thread, reactor.callFromThread, inputs)
        counters.gauge("bytes waiting for the disk", lambda: store.unwritten)
        counters.count(
            lambda: {
                "log bytes lost": store.dropped + writer.retry.lost,
                "events lost": store.events_lost,
                "logs rotated": writer.rotation.rotated,
                "old logs removed": writer.rotation.removed,
            }
        )

    def unwritten(self) -> list[str]:
        """The files that cannot be written now, with the reason, but for logs."""
        return [file.problem for file in (self.audit, self.store.inputs) if file.problem]

    def short_of_room(self) -> Deferred[list[str]]:
        """Fires with the file systems that are about to be full."""
        return self.store.on_writer(lambda: short_of_room(self._folders))

    def reconfigure(self, config: Config, checked: Any) -> list[str]:
        self.store.reconfigure(config.log)
        return []

    def load(self) -> None:
        for folder in self._folders:
            folder.mkdir(parents=True, exist_ok=True)

    def startService(self) -> None:
        super().startService()
        self.store.start()
        self.audit.mend()
        self.store.inputs.mend()

    def stopService(self) -> Deferred[None]:
        """Fires when every byte that was received is with the operating system."""
        super().stopService()
        stopped = self.store.stop()
        stopped.addTimeout(STOP_SECONDS, self._reactor)
        return stopped.addErrback(self._too_late)

    def _too_late(self, failure: Any) -> None:
        failure.trap(TimeoutError)
        _log.error("the disk does not answer; {n} bytes are not written", n=self.store.unwritten)
