"""The log service: everything that is written, and the thread that writes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger

from vmproxy.app.part import Part
from vmproxy.app.self_check import Room, short_of_room
from vmproxy.base.counters import Counters
from vmproxy.base.metrics import Families, counter, gauge, histogram
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
        self._folders = {"state": config.state_dir, "log": config.log.dir}
        self._rooms: dict[str, Room] = {}
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
        return self.store.on_writer(self._look_for_room)

    def _look_for_room(self) -> list[str]:
        found = {name: room for name, folder in self._folders.items() if (room := Room.of(folder))}
        self._rooms = {**self._rooms, **found}
        return short_of_room((self._folders[name], room) for name, room in found.items())

    def metrics(self) -> Families:
        store, writer = self.store, self.store.runner.writer
        retry, rotation, trails = writer.retry, writer.rotation, (self.audit, store.inputs)
        yield counter("vm_received_bytes", "Bytes from VMs, recorded or not.", store.received)
        yield counter("log_written_bytes", "Bytes from VMs that the disk has taken.", writer.written)
        text = "Bytes from VMs that no log has, as the disk was full, slow or failed, or there were too many at once."
        yield counter("log_lost_bytes", text, store.dropped + retry.lost)
        waiting = store.unwritten + retry.waiting
        yield gauge("log_waiting_bytes", "Bytes from VMs that wait for the disk.", waiting)
        text = "How long it took to write what one log was given at once."
        yield histogram("log_write_duration_seconds", text, writer.durations)
        yield gauge("log_consoles_failing", "Consoles whose logs cannot be written.", retry.failing)
        yield gauge("log_open_files", "Logs and event trails that are open.", writer.open_files)
        yield counter("log_rotations", "Logs that were put aside for a new one.", rotation.rotated)
        yield counter("log_removed", "Old logs that were removed.", rotation.removed)
        yield counter("events_lost", "Events that no event trail has.", store.events_lost)
        text = "Lines of the audit trail and of recorded input that wait for the disk."
        yield gauge("audit_waiting_lines", text, sum(trail.waiting for trail in trails))
        text = "Lines of the audit trail and of recorded input that are lost."
        yield counter("audit_lost_lines", text, sum(trail.lost for trail in trails))
        rooms = self._rooms.items()
        free = {name: room.free for name, room in rooms}
        text = "Room that is left in the file system, as it was within the last minute."
        yield gauge("disk_free_bytes", text, free, "folder")
        size = {name: room.size for name, room in rooms}
        yield gauge("disk_size_bytes", "Size of the file system.", size, "folder")

    def reconfigure(self, config: Config, checked: Any) -> list[str]:
        self.store.reconfigure(config.log)
        return []

    def load(self) -> None:
        for folder in self._folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        self._look_for_room()

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
