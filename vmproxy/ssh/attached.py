"""A session that is on a console: what the VM says to the screen, what is typed to the VM, and the escape commands.

What the VM says goes through a bounded queue. A viewer who does not keep up skips what does not fit, and is told how
much as soon as he has caught up; nobody else notices. On attach the last lines are read from the log; what the VM says
in the meantime waits in the same bounds, so that replay and live output join without a byte missing or doubled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from zope.interface import implementer

from vmproxy.console.console import Console
from vmproxy.console.history import tail
from vmproxy.console.interfaces import IViewer
from vmproxy.console.notices import Notice, ShuttingDown
from vmproxy.ssh import exits
from vmproxy.ssh.escape import EscapeScanner, Key
from vmproxy.ssh.target import Target
from vmproxy.ssh.wording import (
    ESCAPE,
    banner,
    idle,
    local_time,
    mode,
    notice_text,
    state_line,
)
from vmproxy.text import human_bytes

if TYPE_CHECKING:
    from vmproxy.ssh.session import SessionChannel

QUEUE_LIMIT = 256 * 1024
NOTICES_LIMIT = 32 * 1024
LONE_ESCAPE_SECONDS = 1.0
REMINDER_SECONDS = 5.0
REPLAY_LINES = 20


@implementer(IViewer)
class Attached:
    """One operator on one console.

    :ivar plain: no banner and no notices but the essential ones: a log being followed.
    """

    def __init__(self, channel: SessionChannel, console: Console, target: Target, plain: bool = False) -> None:
        self._channel = channel
        self._console = console
        self._target = target
        self._clock = channel.front.clock
        self.plain = plain
        self.who = channel.operator.who
        self.since = self.last_input = self._clock.seconds()
        self.skipped = 0
        self._skipping = 0
        self._early: list[bytes] | None = []  # live output, while the replay is being read
        self._early_size = 0
        self._at_line_start = True
        self._reminded = 0.0
        self._escape = EscapeScanner() if channel.has_pty else None
        self._lone_escape: IDelayedCall | None = None
        self._eol = b"\r\n" if channel.has_pty else b"\n"

    def start(self) -> None:
        """Attach, and say so."""
        console, now = self._console, self._clock.seconds()
        if not self.plain:
            if self._escape is not None:
                self._say(f"[Enter `{ESCAPE}?' for help]")
            self._say(f"[{banner(console, now)}]")
        writer = console.pen.writer
        others = [v for v in console.viewers if v is not writer]
        settled = console.log.settled()
        writing = console.attach(self, write=not (self._target.read_only or self.plain), force=self._target.force)
        if not self.plain:
            if writing:
                self._say("[attached]")
            elif self._target.read_only:
                self._say("[spy]")
            elif writer is not None:
                self._say(f"[no, {writer.who} is attached, idle {idle(writer, now)}{self._hint_force}]")
            if others:
                names = ", ".join(f"{v.who} (spy)" for v in others[:10]) + (", ..." if len(others) > 10 else "")
                self._say(f"[-- {len(others)} other{'s' if len(others) > 1 else ''}: {names} --]")
        lines = REPLAY_LINES if self._target.replay is None else self._target.replay
        self._start_replay(settled, lines)

    def stop(self) -> None:
        """The session is over: leave the console."""
        if self._lone_escape is not None:
            self._lone_escape.cancel()
            self._lone_escape = None
        self._console.detach(self)

    # From the console.

    def output(self, data: bytes) -> None:
        """Bytes from the VM."""
        # What fits is shown, so that there is always something whose end tells that the rest can be announced.
        room = 0 if self._skipping else max(0, QUEUE_LIMIT - self._channel.queued - self._early_size)
        if len(data) > room:
            self._skipping += len(data) - room
            self.skipped += len(data) - room
            data = data[:room]
        if not data:
            return
        if self._early is not None:
            self._early.append(data)
            self._early_size += len(data)
        else:
            self._show(data)

    def notice(self, notice: Notice) -> None:
        """Something happened."""
        if notice.essential or not (self._target.quiet or self.plain):
            self._say(notice_text(notice, self._console.title))
        if isinstance(notice, ShuttingDown):
            self.stop()
            self._channel.finish(exits.SHUTTING_DOWN)

    def hold_input(self, on: bool) -> None:
        """The console has enough to deliver."""
        self._channel.hold(on)

    def drained(self) -> None:
        """Everything is sent: if bytes were skipped, it can be said now, and the view goes on."""
        if self._skipping and self._early is None:
            skipped, self._skipping = self._skipping, 0
            self._say(f"[-- {skipped} bytes skipped: your connection is too slow --]")

    def _show(self, data: bytes) -> None:
        self._at_line_start = data.endswith(b"\n")
        self._channel.send(data)

    def _say(self, text: str) -> None:
        if self._channel.queued > QUEUE_LIMIT + NOTICES_LIMIT:
            return  # somebody who has not read for so long is not helped by more of them
        start = b"" if self._at_line_start else self._eol
        self._at_line_start = True
        self._channel.send_err(start + text.encode() + self._eol)

    def _start_replay(self, settled: Deferred[int], lines: int) -> None:
        Deferred.fromCoroutine(self._replay(settled, lines)).addErrback(self._replay_failed)

    async def _replay(self, settled: Deferred[int], lines: int) -> None:
        end = await settled
        path = self._console.log.path
        data = await self._channel.front.in_thread(lambda: tail(path, end, lines)) if lines else b""
        if data and self._channel.queued + len(data) <= QUEUE_LIMIT:
            shown = data.count(b"\n") + (not data.endswith(b"\n"))
            self._mark(f"[-- last {shown} line{'s' if shown > 1 else ''} --]")
            self._show(data)
            self._mark("[-- live --]")
        self._go_live()

    def _replay_failed(self, failure: Failure) -> None:
        self._say(f"[-- no replay: {failure.getErrorMessage()} --]")
        self._go_live()

    def _mark(self, text: str) -> None:
        if not self.plain:
            self._say(text)

    def _go_live(self) -> None:
        early, self._early = self._early or [], None
        self._early_size = 0
        for piece in early:
            self._show(piece)
        if not self._channel.queued:
            self.drained()

    # From the operator.

    def typed(self, data: bytes) -> None:
        """What was typed."""
        self.last_input = self._clock.seconds()
        if self.plain:
            if self._escape is not None and b"\x03" in data:
                self._channel.finish(exits.FAILED)  # ^C
            return
        if self._escape is None:
            self._write(data)
            return
        if self._lone_escape is not None:
            self._lone_escape.cancel()
            self._lone_escape = None
        for part in self._escape.feed(data):
            if isinstance(part, Key):
                self._command(part.keys)
                if self._channel.over:
                    return
            else:
                self._write(part)
        if self._escape.waiting:
            self._lone_escape = self._clock.callLater(LONE_ESCAPE_SECONDS, self._escape_was_meant)

    def _escape_was_meant(self) -> None:
        self._lone_escape = None
        if self._escape is not None:
            self._write(self._escape.timeout())

    def _write(self, data: bytes) -> None:
        if not data:
            return
        if self._console.pen.writer is not self:
            self._remind(f"[read-only{self._hint_force}]")
        elif not self._console.send(data):
            self._remind(f"[-- not sent: {state_line(self._console, self._clock.seconds())} --]")

    @property
    def _hint_force(self) -> str:
        return f" -- {ESCAPE}f takes over" if self._escape is not None and self._may_write else ""

    def _remind(self, text: str) -> None:
        now = self._clock.seconds()
        if now - self._reminded >= REMINDER_SECONDS:
            self._reminded = now
            self._say(text)

    def send_break(self) -> None:
        """A break for the guest, asked for with the escape or by the client (RFC 4335)."""
        if self._console.pen.writer is not self:
            self._say("[read-only]")
        elif self._console.send_break(self.who):
            self._say("[halt sent]")
        else:
            self._say(f"[-- not sent: {state_line(self._console, self._clock.seconds())} --]")

    # Escape commands.

    def _command(self, keys: bytes) -> None:
        command = _COMMANDS.get(keys)
        if command is None:
            if keys in (b"z", b"|", b"c", b"x", b"g"):
                self._say(f"[`{keys.decode()}' means nothing over SSH]")
            else:
                self._say(f"[unknown -- use `{ESCAPE}?']")
            return
        command.run(self)

    def _detach(self) -> None:
        self._say("[detached]")
        self.stop()  # at once, however long he takes to read what is still queued
        self._channel.finish(exits.OK)

    def _help(self) -> None:
        self._say("[help]")
        for keys, command in _COMMANDS.items():
            if command.possible(self):
                self._say(f" {keys.decode():<4}{command.text}")

    def _attach(self) -> None:
        if self._target.read_only:
            self._say("[this session is read-only]")
        elif self._console.take_pen(self):
            self._say("[attached]")
        else:
            writer = self._console.pen.writer
            self._say(
                f"[no, {writer.who if writer else 'somebody'} is attached -- you are next but for others waiting]"
            )

    def _force(self) -> None:
        if self._target.read_only:
            self._say("[this session is read-only]")
            return
        writer = self._console.pen.writer
        self._console.take_pen(self, force=True)
        bumped = "" if writer is None or writer is self else f" -- {writer.who} is a spy now"
        self._say(f"[attached{bumped}]")

    def _spy(self) -> None:
        self._console.drop_pen(self)
        self._say("[spy]")

    def _who(self) -> None:
        now = self._clock.seconds()
        self._say("[who]")
        for viewer in self._console.viewers:
            me = "* " if viewer is self else "  "
            skipped = f", {human_bytes(viewer.skipped)} skipped" if viewer.skipped else ""
            self._say(
                f"{me}{viewer.who:<28} {mode(self._console, viewer):<11} idle {idle(viewer, now):<9}"
                f" since {local_time(viewer.since)}{skipped}"
            )

    def _info(self) -> None:
        now = self._clock.seconds()
        for line in self._channel.front.describe(self._console, now):
            self._say(line)

    def _break(self) -> None:
        self.send_break()

    def _recall(self) -> None:
        if self._early is not None or self._channel.queued:
            self._say("[not now: there is still output on its way to you]")
            return
        self._early = []
        self._start_replay(self._console.log.settled(), REPLAY_LINES)

    @property
    def _writing(self) -> bool:
        return self._console.pen.writer is self

    @property
    def _may_write(self) -> bool:
        return not self._target.read_only


class _Command:
    """An escape command: what it does, in words and in code, and when it is possible."""

    __slots__ = ("possible", "run", "text")

    def __init__(
        self,
        text: str,
        run: Callable[[Attached], None],
        possible: Callable[[Attached], bool] = lambda _: True,
    ) -> None:
        self.text = text
        self.run = run
        self.possible = possible


_COMMANDS: dict[bytes, _Command] = {
    b".": _Command("detach", Attached._detach),
    b"a": _Command(
        "attach read-write if nobody else writes", Attached._attach, lambda s: s._may_write and not s._writing
    ),
    b"f": _Command("force: take over from whoever writes", Attached._force, lambda s: s._may_write and not s._writing),
    b"i": _Command("information about this console", Attached._info),
    b"l0": _Command("send a break", Attached._break, lambda s: s._writing),
    b"r": _Command(f"replay the last {REPLAY_LINES} lines", Attached._recall),
    b"s": _Command("spy: put the pen down and look on", Attached._spy, lambda s: s._writing),
    b"w": _Command("who is here", Attached._who),
    b"?": _Command("this help", Attached._help),
}
