"""Watcher: a command on a console, with write access if it is to write.

A watcher is a viewer like any other: ``who`` shows it, ``kick`` disconnects it. The command sleeps in
:meth:`Watcher.changed` until there is output or a notice. Bound: :data:`QUEUE_LIMIT` bytes of output wait for it; the
rest is counted and skipped.
"""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType

from zope.interface import implementer

from vmproxy.access.idle_times import IdleTimes
from vmproxy.access.policy import Right
from vmproxy.base.sanitize import human_bytes, visible
from vmproxy.base.wakeup import Wakeup
from vmproxy.console.console import Console
from vmproxy.console.interfaces import IViewer
from vmproxy.console.notices import Demoted, InputRecorded, Kicked, LineDown, Notice, ShuttingDown
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import must_be_exact, now, refusal
from vmproxy.operators.commands.declaration import Arguments, Flag, Option, Text
from vmproxy.operators.commands.errors import CommandError
from vmproxy.operators.messages import idle, notice_text
from vmproxy.operators.session import Session, tell
from vmproxy.operators.target import Target
from vmproxy.operators.viewer_queue import ViewerQueue
from vmproxy.operators.write_request import Answer, ask

QUEUE_LIMIT = 1024 * 1024
REASON_LIMIT = 1000

FORCE = Flag("--force", "take write access from the writer", right=Right.FORCE)
JOIN = Flag("--join", "write beside others, if the console is shared")
REASON = Option("--reason", "TEXT", Text(REASON_LIMIT), f"the reason; some consoles require one for {FORCE}")


def to_write(args: Arguments, target: Target) -> Target:
    """The target of a command that writes, with its options for write access."""
    return replace(target, read_only=False, force=FORCE in args, join=JOIN in args, reason=args.get(REASON, ""))


@implementer(IViewer)
class Watcher:
    """A viewer for a command; a context manager that attaches it and detaches it.

    :ivar queue: the output that waits for the command.
    :ivar error: why the command must leave the console.
    :ivar sent: bytes of input that the console has taken.
    """

    def __init__(self, session: Session, console: Console, write: Target | None = None) -> None:
        """:param write: the target, if the command is to write from the beginning; output is not kept then."""
        self._write = write
        self._session = session
        self.console = console
        self.who = session.operator.who
        self.front = session.operator.front
        self.since = self.last_input = now(session)
        self.sent = 0
        self._notices: list[str] = []
        self.error: CommandError | None = None
        self._writes = False
        self.queue = ViewerQueue(QUEUE_LIMIT, on_skip=session.services.skips(self.front))
        self._wakeup = Wakeup()

    def __enter__(self) -> Watcher:
        """:raises CommandError: if it cannot have the write access that it asks for."""
        if self._write is None:
            self.console.viewers.attach(self, write=False)
            return self
        self._writes = True
        force = self._check(self._write)
        self.console.viewers.attach(self, True, force, self._write.join, self._write.reason)
        self._session.router.hold(self.console.congested)
        self._tell_recorded()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.detach()

    def detach(self) -> None:
        """Leave the console; nothing happens where it was left before."""
        self.console.viewers.detach(self)
        if self._writes:
            self._session.router.hold(False)

    # Waiting.

    async def changed(self) -> None:
        """Wait for output, a notice, or a call of :meth:`wake`.

        :raises CommandError: if the command must leave the console.
        """
        if self.error is None and not (self.queue.size or self.queue.skipping or self._notices):
            await self._wakeup.wait()
        if self.error is not None:
            raise self.error

    def wake(self) -> None:
        """End the wait of the command."""
        self._wakeup.wake()

    def leave(self, text: str, status: int) -> None:
        """Have the command end with an error."""
        if self.error is None:
            self.error = CommandError(text, status)
            self.wake()

    @property
    def skipped(self) -> int:
        """Bytes of output that did not fit in the queue."""
        return self.queue.skipped

    def take_notices(self) -> list[str]:
        """The texts of notices for readers since the last call."""
        notices, self._notices = self._notices, []
        return notices

    # From the console.

    def output(self, data: bytes) -> None:
        if self._write is not None:
            return
        self.queue.put(now(self._session), data, self.console.log.received)
        self.wake()

    def notice(self, notice: Notice) -> None:
        title = self.console.title
        match notice:
            case ShuttingDown():
                self.leave(notice_text(notice, title), exit_status.SHUTTING_DOWN)
            case Kicked():
                self.leave(notice_text(notice, title), exit_status.KICKED)
            case Demoted() if self._writes:
                self.leave(f"{title}: {notice.by} has taken over; {human_bytes(self.sent)} sent", exit_status.BUSY)
            case LineDown() if self._writes:
                held = self.console.undelivered
                lost = f", {human_bytes(min(held, self.sent))} of them not delivered" if held else ""
                why = visible(notice.reason)
                self.leave(f"{title}: line down ({why}); {human_bytes(self.sent)} sent{lost}", exit_status.DOWN)
            case InputRecorded() if self._writes:
                tell(self._session, notice_text(notice, title))
            case _ if notice.essential and self._write is None and len(self._notices) < 100:
                self._notices.append(notice_text(notice, title))
                self.wake()

    def hold_input(self, on: bool) -> None:
        if self._writes:
            self._session.router.hold(on)

    def idle_times(self) -> IdleTimes:
        return self._session.operator.view.idle_times(self.console)

    def rules_changed(self) -> None:
        """Leave if the command lacks a right now."""
        if error := refusal(self._session, self.console, Right.WRITE if self._writes else Right.SPY):
            self.leave(str(error), error.status)
        if self.error is not None:
            self.console.viewers.detach(self)

    # To the console.

    def take_write(self, target: Target) -> None:
        """Take write access, now or not at all.

        :raises CommandError: if the operator cannot have it, or the console is down.
        """
        if self._check(target):
            self.console.viewers.force_write(self, target.reason)
        elif not (target.join and self.console.viewers.join_write(self)):
            self.console.viewers.take_write(self)
        self._writes = True
        self._session.router.hold(self.console.congested)
        self._tell_recorded()

    def _tell_recorded(self) -> None:
        if self.console.options.record_input:
            tell(self._session, "[what is typed here is recorded]")

    def _check(self, target: Target) -> bool:
        """Whether write access must be taken by force; the audit trail knows of it then."""
        console, session = self.console, self._session
        writer = console.write_access.writer
        # Where nobody writes, there is nothing to force.
        request = replace(target, force=target.force and writer is not None).write_request
        answer = ask(session.operator.view, console, request, self)
        if answer is Answer.NO_RIGHT:
            raise CommandError(f"{console.title}: you may not write to it", exit_status.FORBIDDEN)
        if console.state == "down":
            raise CommandError(f"{console.title}: down ({console.reason or 'not seen yet'})", exit_status.DOWN)
        if writer is None or answer in (Answer.WRITE, Answer.JOIN):
            return False
        if answer in (Answer.OCCUPIED, Answer.NO_JOIN):
            since = idle(writer, now(session))
            raise CommandError(f"{console.title}: {writer.who} is attached, idle {since}", exit_status.BUSY)
        if answer is Answer.NO_FORCE:
            raise CommandError(f"{console.title}: you may not take over", exit_status.FORBIDDEN)
        must_be_exact(session, target, console, "force")
        if answer is Answer.REASON:
            raise CommandError(f"{console.title}: force needs a reason: {REASON} {REASON.metavar}", exit_status.USAGE)
        was = ", ".join(one.who for one in console.write_access.writers)
        why = {"reason": target.reason} if target.reason else {}
        session.operator.audit("force", console=console.title, uuid=str(console.uuid), was=was, **why)
        return True

    def send(self, data: bytes) -> None:
        """Send input; the command ends if the console does not take it."""
        if self.error is not None or not data:
            return
        self.last_input = now(self._session)
        if self.console.write_access.writes(self) and self.console.send(data, self.who):
            self.sent += len(data)
        else:
            self._not_sent()

    def send_break(self) -> None:
        if self.error is None and not (self.console.write_access.writes(self) and self.console.send_break(self.who)):
            self._not_sent()

    def _not_sent(self) -> None:
        title = self.console.title
        down = self.console.state == "down"
        why = "it is down" if down else "it takes nothing"
        self.leave(f"{title}: not sent, {why}", exit_status.DOWN if down else exit_status.FAILED)

    def drop_write_if_delivered(self) -> None:
        """Give write access back if all input is delivered."""
        if self._writes and self.delivered:
            self._writes = False
            self.console.viewers.drop_write(self)
            self._session.router.hold(False)

    @property
    def delivered(self) -> bool:
        """Whether the VM's host has taken all input."""
        return not self.console.undelivered
