"""The console session: an operator on a console, as a viewer of it and as the activity of a session.

:mod:`vmproxy.operators.output_view` shows the output, :mod:`vmproxy.operators.escape_commands` has the escape commands.
Invariant: rights are asked of the rules each time, so that other rules hold at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from twisted.python.failure import Failure
from zope.interface import implementer

from vmproxy.access.console_options import NamedSequence
from vmproxy.access.idle_times import IdleTimes
from vmproxy.access.policy import Right
from vmproxy.base.countdown import Countdown
from vmproxy.base.escape import show_escape
from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.console.interfaces import IViewer
from vmproxy.console.notices import Kicked, Notice, Promoted, ShuttingDown
from vmproxy.operators import exit_status
from vmproxy.operators.escape_keys import EscapeCommand, EscapeScanner
from vmproxy.operators.messages import idle, notice_text, state_line
from vmproxy.operators.output_view import OutputView
from vmproxy.operators.replay import opened
from vmproxy.operators.sequences import Player
from vmproxy.operators.session import Session
from vmproxy.operators.target import Target
from vmproxy.operators.terminal.line_editor import Completion
from vmproxy.operators.terminal.pager import Pager
from vmproxy.operators.terminal.prompt import consoles_by_name
from vmproxy.operators.terminal.reports import Reports

LONE_ESCAPE_SECONDS = 1.0
REMINDER_SECONDS = 5.0
OVERVIEW_SECONDS = 1.0


@implementer(IViewer)
class ConsoleSession:
    """One operator on one console.

    :ivar read_only: whether this session is read-only, whatever the rights of its operator.
    :ivar gone: whether the console has been left.
    :ivar quiet: fewer notices.
    :ivar escape: the two bytes that precede a command.
    """

    def __init__(
        self,
        session: Session,
        console: Console,
        target: Target,
        stamps: bool,
        run_escape: Callable[[ConsoleSession, EscapeCommand], None],
        left: Callable[[ConsoleSession, int], None],
        move: Callable[[ConsoleSession, Console, Target], None],
    ) -> None:
        """
        :param stamps: whether there are times in front of lines.
        :param run_escape: runs an escape command.
        :param left: called with the exit status when the console has been left.
        :param move: called when it has been left for another console.
        """
        self.session = session
        self.operator = session.operator
        self.console: Console = console
        self.clock = session.services.clock
        self.wall = session.services.wall
        self.gone = False
        self.who = session.operator.who
        self.front = session.operator.front
        self.since = self.last_input = self.wall()
        self.quiet = target.quiet or session.operator.quiet
        self.escape = target.escape or session.operator.escape
        self.playing: Player | None = None
        self.complete_name = consoles_by_name(session.operator.view, session.services)
        self.read_only = target.read_only
        self.display = OutputView(session, stamps, console.options.encoding)
        self._run_escape = run_escape
        self._left = left
        self._move = move
        self._asking_size = False  # the size of the log, for the information about the console
        self._overview_at = 0.0  # when all consoles were shown last
        self._reminded = 0.0
        self._could_write = False
        self._drop_rest = False
        self._prefix_answered = False
        self._scanner = EscapeScanner(self.escape) if session.has_pty else None
        self._lone_escape = Countdown(self.clock)
        self._reports = Reports()
        self._pager: Pager | None = None
        self._hold_input = False

    def enter(self, force: bool, join: bool, reason: str) -> bool:
        """Become a viewer of the console.

        :returns: whether this session may write.
        """
        self._could_write = self.may_write
        writing = self.console.viewers.attach(self, self.may_write, force, join, reason)
        self.audit("attach", mode="write" if writing else "spy")
        return writing

    def stop(self) -> None:
        """Leave the console: the session is over, or goes to another console."""
        if self.gone:
            return
        self.gone = True
        self._lone_escape.stop()
        if self._pager is not None:
            self._pager.stop()
            self.session.router.pop(self._pager)
        self.display.stop()
        if self.playing is not None:
            self.playing.stop()
            self.playing = None
        self.console.viewers.detach(self)
        self.audit("detach")

    def leave(self, words: str, status: int = exit_status.OK) -> None:
        """Leave the console at once, however long the operator takes to read what is still queued.

        :param words: shown on the terminal as it was before the console.
        """
        self.display.say_last(words)
        self.stop()
        self._left(self, status)

    def farewell(self) -> bytes:
        """What puts the terminal right before the session ends."""
        return self.display.undo()

    def move(self, console: Console, target: Target) -> None:
        """Go to another console."""
        self.display.say_last(f"[detached from {self.console.title}]")
        self.stop()
        self._move(self, console, target)

    # What the operator may do.

    def may(self, right: Right) -> bool:
        return self.operator.view.may(self.console, right)

    @property
    def may_write(self) -> bool:
        """Whether it can have write access, if nobody else has it."""
        return not self.read_only and self.may(Right.WRITE)

    @property
    def has_keys(self) -> bool:
        """Whether there are escape commands: only at a terminal."""
        return self._scanner is not None

    @property
    def writing(self) -> bool:
        """Whether it may write now."""
        return self.console.write_access.writes(self)

    @property
    def hints(self) -> str:
        """Ways to get write access, for the notice that there is none."""
        if not self.has_keys or not self.may_write:
            return ""
        escape = show_escape(self.escape)
        ways = []
        if self.console.write_access.writer is None:
            ways.append(f"{escape}a attaches")
        elif self.may(Right.FORCE):
            ways.append(f"{escape}f takes over")
        if self.console.options.shared:
            ways.append(f"{escape}j joins")
        return f" -- {', '.join(ways)}" if ways else ""

    def read_only_line(self) -> str:
        """Why the operator does not write, and who does; empty if they do, or have chosen not to."""
        if self.writing or self.read_only:
            return ""
        if not self.may_write:
            return "[spy -- you may not write to this console]"
        writer = self.console.write_access.writer
        return "" if writer is None else f"[no, {writer.who} is attached, idle {idle(writer, self.wall())}{self.hints}]"

    def seam_lines(self) -> list[str]:
        """What keeps the operator from typing: said behind a replay, as what was said before it is far away now."""
        down = self.console.state == "down"
        state = f"[-- {self.console.title}: {state_line(self.console, self.wall())} --]" if down else ""
        return [line for line in (state, self.read_only_line()) if line]

    def audit(self, event: str, **fields: object) -> None:
        """Record an action on this console in the audit trail."""
        self.operator.audit(event, console=self.console.title, uuid=str(self.console.uuid), **fields)

    def forced(self, losers: Sequence[IViewer], reason: str) -> None:
        """Record that others lost write access to this session."""
        if losers:
            why = {"reason": reason} if reason else {}
            self.audit("force", was=", ".join(loser.who for loser in losers), **why)

    # What the operator sees.

    def say(self, text: str) -> None:
        """Show a line."""
        self.display.say(text)

    def ask(
        self,
        prompt: str,
        answered: Callable[[str | None], None],
        complete: Callable[[str], Completion] | None = None,
        pasted: bool = False,
    ) -> None:
        """Ask something at the terminal; see :class:`~vmproxy.operators.terminal.prompt.Prompt`.

        :param pasted: whether the answer is likely to be pasted. The rest of a paste must not go to the VM.
        """

        def done(answer: str | None) -> None:
            self._drop_rest = pasted and answer is not None
            answered(answer)

        self.display.ask(prompt, done, complete)

    def _answer(self, data: bytes) -> bytes:
        """Take input while a question is open. The escape cancels the question.

        :returns: the input after the answer.
        """
        split = self._prefix_answered and data[:1] == self.escape[1:]
        self._prefix_answered = False
        at = 0 if split else data.find(self.escape)
        behind = b""
        if split:
            data, behind = b"", self.escape + data[1:]
        elif at >= 0:
            data, behind = data[:at], data[at:]
        rest = self.display.answer(data)
        if rest and self.display.asking:
            return rest + behind  # the answer has led to another question
        if self.display.asking and behind:
            self.display.cancel()
        elif self.display.asking:
            self._prefix_answered = data.endswith(self.escape[:1])
        elif rest and self._drop_rest and not self.gone:
            self.say(f"[the rest of what you pasted, {len(rest)} bytes, is dropped]")
            rest = b""
        return rest + behind

    def recall(self, lines: int) -> None:
        """Show the last lines again."""
        if self.display.busy:
            self.say("[not now: output is still on its way to you]")
        else:
            self.display.replay(opened(self.console.log), lines, self.seam_lines)

    def page(self, pager: Pager) -> None:
        """Have a pager on the terminal until :meth:`end_pager`; what is typed is for it."""
        self._pager = pager
        self.display.lend(pager.told)
        self.session.router.push(pager)

    def end_pager(self) -> None:
        """Show the console again."""
        pager, self._pager = self._pager, None
        if pager is not None:
            pager.stop()
            self.display.take_back(lambda: opened(self.console.log), self.seam_lines)
            self.session.router.pop(pager, lambda: self.hold_input(self._hold_input))

    def toggle_quiet(self) -> bool:
        """Show fewer notices, or all again.

        :returns: whether there are fewer now.
        """
        self.quiet = not self.quiet
        return self.quiet

    def may_overview(self) -> bool:
        """Whether all consoles may be listed now. Bound: once in :data:`OVERVIEW_SECONDS`, for held keys."""
        now = self.clock.seconds()
        if now - self._overview_at < OVERVIEW_SECONDS:
            return False
        self._overview_at = now
        return True

    def with_log_size(self, told: Callable[[int], None]) -> None:
        """Ask for the size of the log, once at a time.

        :param told: called with the size, unless the console has been left.
        """
        if self._asking_size:
            return
        self._asking_size = True

        def answered(size: int) -> None:
            self._asking_size = False
            if not self.gone:
                told(size)

        def failed(failure: Failure) -> None:
            self._asking_size = False
            self.say(f"[-- {failure.getErrorMessage()} --]")

        self.console.log.settled().addCallback(answered).addErrback(failed)

    def drained(self) -> None:
        self.display.drained()

    def resized(self, width: int, height: int) -> None:
        self.display.resized(width)

    # From the console.

    @property
    def skipped(self) -> int:
        """The bytes of output that were skipped."""
        return self.display.skipped

    def output(self, data: bytes) -> None:
        if self._pager is not None:
            self._pager.came(data)
        self.display.output(data)

    def notice(self, notice: Notice) -> None:
        text = notice_text(notice, self.console.title)
        if isinstance(notice, ShuttingDown):
            self.leave(text, exit_status.SHUTTING_DOWN)
        elif isinstance(notice, Kicked):
            self.leave(text, exit_status.KICKED)
        elif notice.essential or not self.quiet:
            self.display.say(text, notice.essential)
        if isinstance(notice, Promoted):
            self.audit("promote")

    def hold_input(self, on: bool) -> None:
        self._hold_input = on
        if self._pager is None:  # whose keys are not for the VM
            self.session.router.hold(on)

    def idle_times(self) -> IdleTimes:
        return self.operator.view.idle_times(self.console)

    def rules_changed(self) -> None:
        if not self.may(Right.SPY):
            status = exit_status.FORBIDDEN if self.may(Right.SEE) else exit_status.NO_SUCH_CONSOLE
            self.leave("[-- the rules have changed: you may no longer read this console --]", status)
            return
        could, self._could_write = self._could_write, self.may_write
        if could == self._could_write:
            return
        if could:
            self.console.viewers.drop_write(self)
            self.say("[spy -- the rules have changed: you may no longer write to this console]")
        else:
            self.say(f"[the rules have changed: you may now write to this console{self.hints}]")

    # From the operator.

    def typed(self, data: bytes) -> None:
        turns, done = self.session.services.turns, 0
        if self._scanner is None or not (b"\x1b" in data or self._reports.begun):
            parts: Iterable[tuple[bool, bytes]] = ((False, data),)
        else:
            parts = self._reports.split(data)  # one by one: to find all of them may take longer than a turn has
        for report, part in parts:
            done += len(part)
            rest = b"" if report else self._keys(part)
            if report:
                self._reported(part)
            if rest or (done < len(data) and not turns.open()):
                # It may be for the next activity, with what is behind it, which is looked through anew then.
                self._reports.forget()
                self.session.router.put_off(rest + data[done:])
                return

    def _reported(self, data: bytes) -> None:
        """Send on what the terminal has sent by itself: the guest asks one terminal, and that is the writer's."""
        if self.console.write_access.writer is self:
            self.console.send(data, self.who)

    def touched(self) -> None:
        """The operator has pressed a key."""
        self.last_input = self.wall()

    def _keys(self, data: bytes) -> bytes:
        """Take what was typed; :returns: what of it there was no time for, or is for others."""
        self.touched()
        if self._scanner is None:
            self.write(data)
            return b""
        self._lone_escape.stop()
        turns = self.session.services.turns
        while data and not (
            self.gone or self._pager is not None
        ):  # one at least: else nothing would come of it, turn by turn
            if self.display.asking:
                data = self._answer(data)
            else:
                plain, key, data = self._scanner.feed(data)
                self.write(plain)
                if key is not None:
                    self._run_escape(self, key)
            if not turns.open():
                break
        if not data and self._scanner.waiting and not self.gone:
            self._lone_escape.start(LONE_ESCAPE_SECONDS, self._escape_was_meant)
        return data

    def _escape_was_meant(self) -> None:
        if self._scanner is not None:
            self.write(self._scanner.timeout())

    def redefine(self, escape: bytes) -> None:
        """Use other two bytes as the escape."""
        self.escape = escape
        self._scanner = EscapeScanner(escape)

    def write(self, data: bytes) -> None:
        """Send input to the VM, or remind the operator that it is not sent."""
        if not data:
            return
        if not self.writing:
            self._remind(f"[read-only{self.hints}]")
        elif not self.console.send(data, self.who):
            self._remind(f"[-- not sent: {state_line(self.console, self.wall())} --]")

    def _remind(self, text: str) -> None:
        now = self.clock.seconds()
        if now - self._reminded >= REMINDER_SECONDS:
            self._reminded = now
            self.say(text)

    def send_break(self) -> None:
        """Send a break to the guest, for an escape command or the client (RFC 4335)."""
        if not self.writing:
            self.say(f"[read-only{self.hints}]")
        elif self.console.send_break(self.who):
            self.audit("break")
            self.say("[halt sent]")
        else:
            self.say(f"[-- not sent: {state_line(self.console, self.wall())} --]")

    def play(self, sequence: NamedSequence) -> None:
        """Send a named sequence, as long as there is write access."""
        name = visible(sequence.name)
        self.audit("sequence", name=name)

        def deliver(part: bytes | None) -> bool:
            if self.gone or not self.writing:
                return False
            return self.console.send_break(self.who) if part is None else self.console.send(part, self.who)

        def done(complete: bool) -> None:
            self.playing = None
            if not self.gone:
                self.say(f"[sent: {name}]" if complete else f"[-- broken off: {name} --]")

        self.playing = Player(self.clock, sequence, deliver, done)
        self.playing.go_on()
