"""The view of a console on an operator's terminal: output, notices, replay, and prompts in between.

Output goes through a bounded queue. A viewer who reads too slowly skips what does not fit, and is told how much as soon
as everything before it is sent; nobody else notices. During a replay, and while a prompt is on the screen, output waits
in the same queue. The VM's bytes go to the client's stdout unchanged, unless the operator wants times in front of
lines; everything else goes to its stderr, each notice on a line of its own. On a terminal, a notice waits until the VM
has completed its sequence or character; if that takes too long, the sequence is cancelled, and begun again behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from vmproxy.base.countdown import Countdown
from vmproxy.base.tasks import spawn
from vmproxy.log.reader import Segments
from vmproxy.operators.lent_terminal import LentTerminal
from vmproxy.operators.messages import clock_time
from vmproxy.operators.replay import last_lines
from vmproxy.operators.terminal.guest_state import CANCEL, GuestState
from vmproxy.operators.terminal.line_editor import Completion
from vmproxy.operators.terminal.prompt import Prompt
from vmproxy.operators.terminal.replay_filter import USUAL, ReplayFilter
from vmproxy.operators.viewer_queue import ViewerQueue

if TYPE_CHECKING:
    from vmproxy.operators.session import Session

QUEUE_LIMIT = 256 * 1024
WITHIN_SECONDS = 0.2  # how long a notice waits for the end of a sequence
NOTICES_LIMIT = 32 * 1024
LINES_BACK = 20  # that are shown where more has come than was kept
SCREENFUL = 100_000  # lines: what paints is shown from where it has cleared the screen
STAMP_SIZE = 9  # ``16:09:13`` and a blank


class OutputView:
    """One operator's sight of one console.

    :ivar stamps: whether there are times in front of lines.
    """

    def __init__(self, channel: Session, stamps: bool = False, encoding: str = "utf-8") -> None:
        """:param encoding: that of the characters in the output."""
        self.stamps = stamps
        self._channel = channel
        self._encoding = encoding
        self._wall = channel.services.wall
        self._eol = b"\r\n" if channel.has_pty else b"\n"
        self._why = ""
        self._catching_up = False
        self._gone = False
        self._replaying = False
        self._question: Prompt | None = None
        self._queue = ViewerQueue(QUEUE_LIMIT, on_skip=channel.services.skips(channel.operator.front))
        self._guest = GuestState(encoding) if channel.has_pty else None
        self._owed = b""  # the beginning of a sequence or a character that is to be shown again, with its rest
        self._notices: list[bytes] = []  # they wait for its end
        self._noticed = 0  # bytes of them
        self._overdue = Countdown(channel.services.clock)
        self._lent: LentTerminal | None = None
        self._at_line_start = True
        self._vm_at_line_start = True

    def show_stamps(self, on: bool) -> None:
        """Have times in front of lines from now on, or no more."""
        self.stamps = on

    @property
    def waiting(self) -> bool:
        return self._replaying or self._question is not None or self._lent is not None

    @property
    def busy(self) -> bool:
        """Whether there is something on its way to the operator still."""
        return self.waiting or self._channel.queued > 0

    def output(self, data: bytes) -> None:
        if self._lent is not None:
            self._lent.output(data, self._wall())
            return
        queue = self._queue
        if self.stamps or queue.skipping or len(data) > QUEUE_LIMIT - self._channel.queued - queue.size:
            # What fits is shown, so that there is always something whose end tells that the rest can be announced.
            data = self._fit(data)
            if not data:
                return
        if self.waiting:
            queue.add(self._wall(), data)
        else:
            self._show(data, self._wall())

    def _fit(self, data: bytes) -> bytes:
        queue, queued = self._queue, self._channel.queued
        if not queue.skipping:
            self._why = "a question was open" if self._question is not None else "your connection is too slow"
        stamps = STAMP_SIZE * (data.count(b"\n") + 1) if self.stamps else 0
        grows = stamps and len(data) + stamps > QUEUE_LIMIT - queued - queue.size
        return queue.fit(data, queued, STAMP_SIZE + 1 if grows else 1)

    @property
    def skipped(self) -> int:
        """How many bytes it was too slow for."""
        return self._queue.skipped

    def drained(self) -> None:
        """Everything is sent: if bytes were skipped, it can be said now, and the view goes on."""
        if self._question is not None:
            self._question.drained()
        queue = self._queue
        if queue.skipping and not self.waiting and not queue.size and not self._catching_up:
            if self._guest is not None:
                self._channel.send(self._guest.lost())
                self._owed = b""
            self.say(f"[-- {queue.take_skipped()} bytes skipped: {self._why} --]", True)

    def _show(self, data: bytes, at: float) -> None:
        guest = self._guest
        if guest is not None:
            guest.feed(data)
        first = self._vm_at_line_start
        self._at_line_start = self._vm_at_line_start = data.endswith(b"\n")
        if self.stamps:
            stamp = clock_time(at)[:8].encode() + b" "
            data = (stamp if first else b"") + data[:-1].replace(b"\n", b"\n" + stamp) + data[-1:]
        if self._owed:
            data, self._owed = self._owed + data, b""
        self._channel.send(data)
        if self._notices and guest is not None and not guest.within:
            self._say_now()

    def say(self, text: str, essential: bool = False) -> None:
        """Tell the operator something, on a line of its own."""
        limit = NOTICES_LIMIT * (2 if essential else 1)
        if self._noticed > limit or self._channel.queued > QUEUE_LIMIT + limit:
            return  # somebody who has not read for so long is not helped by more of them
        line = text.encode("utf-8", "backslashreplace") + self._eol
        if self._lent is not None:
            self._lent.told(text)
        if self._notices or self._lent is not None or self._within:
            if not self._overdue.is_running and self._lent is None:
                self._overdue.start(WITHIN_SECONDS, self._say_now)
            self._notices.append(line)
            self._noticed += len(line)
        else:
            self._put(line)

    @property
    def _within(self) -> bool:
        """Whether the terminal is within what the VM has not completed."""
        return self._guest is not None and self._guest.within and not self._owed

    def _say_now(self) -> None:
        """Show the notices that wait."""
        self._overdue.stop()
        self._break_in()
        notices, self._notices, self._noticed = self._notices, [], 0
        for line in notices:
            self._put(line)

    def _break_in(self) -> None:
        """Have the terminal take something else, though the VM has not completed its sequence or character."""
        if self._guest is not None and self._within:
            self._owed = self._guest.begun
            if self._guest.cut:
                self._channel.send(CANCEL)

    def _put(self, line: bytes) -> None:
        if self._question is not None:
            line = self._question.over(line)
        elif not self._at_line_start:
            line = self._eol + line
        self._at_line_start = True
        self._channel.send_err(line)

    def stop(self) -> None:
        """Nothing more is to be shown."""
        self._channel.send(self.undo())
        self._gone = True
        self._queue.take()

    def undo(self) -> bytes:
        """Show what waits; :returns: what undoes what the guest has done to the terminal."""
        if self._lent is not None:
            self._channel.send(self._lent.leave())
            self._lent = None
        if self._question is not None:
            self._channel.send_err(self._question.lift())
            self._question.stop()
            self._question = None
        self._say_now()
        undo = b"" if self._guest is None else self._guest.undo()
        self._owed = b""
        self._at_line_start = self._at_line_start and undo in (b"", USUAL)
        return undo

    def say_last(self, text: str) -> None:
        """Tell the operator something on their terminal as it was before."""
        self._channel.send(self.undo())
        self.say(text, True)

    # The past.

    def replay(
        self,
        files: Deferred[Segments],
        lines: int,
        seam: Callable[[], Iterable[str]],
        then: Callable[[], None] = lambda: None,
        bare: bool = False,
    ) -> None:
        """Show the last lines, and behind them what has come meanwhile.

        :param files: the log's files, opened now: what is said from here on is behind them.
        :param seam: what is said behind them, because the lines about it are far away now; may be nothing.
        :param then: called when the view is live.
        :param bare: nothing is said around them: they paint the screen.
        """
        self._replaying = True
        spawn(self._replay(files, lines, seam, bare)).addErrback(self._replay_failed).addCallback(
            lambda _: self._replayed(then)
        )

    async def _replay(
        self, files: Deferred[Segments], lines: int, seam: Callable[[], Iterable[str]], bare: bool
    ) -> None:
        past = ReplayFilter(self._encoding) if self._channel.has_pty else None
        shown = bytes if past is None else (lambda data: past.feed(data) + past.settle())
        data = await last_lines(files, lines, self._channel.services.in_thread, shown)
        if not data or self._gone or self._channel.queued + len(data) > QUEUE_LIMIT:
            return
        self._say_now()
        self._break_in()
        count = data.count(b"\n") + (not data.endswith(b"\n"))
        if not bare:
            self.say(f"[-- last {count} line{'s' if count > 1 else ''} --]")
        self._at_line_start = self._vm_at_line_start = data.endswith(b"\n")
        if self._question is None:
            self._channel.send(data)
        else:
            self._channel.send_err(self._question.lift())
            self._channel.send(data)
            self._channel.send_err((b"" if self._at_line_start else self._eol) + self._question.put_back())
            self._at_line_start = True
        for text in () if bare else ("[-- live --]", *seam()):
            self.say(text)
        if past is not None and past.cut:
            self._owe(past.cut)

    def _owe(self, cut: bytes) -> None:
        """Show the beginning of a sequence or character together with its rest, which is live."""
        if self._guest is not None and not self._owed:
            if not self._guest.within:  # else it has been shown already, and was broken into
                self._guest.feed(cut)
            self._owed = cut

    def _replay_failed(self, failure: Failure) -> None:
        if not self._gone:
            self.say(f"[-- no replay: {failure.getErrorMessage()} --]")

    def _replayed(self, then: Callable[[], None]) -> None:
        self._replaying = False
        if not self._gone:
            then()
            self._go_live()

    def _go_live(self) -> None:
        if self.waiting or self._gone:
            return
        self._catching_up = True
        for at, piece in self._queue.take():
            self._show(piece, at)
        self._catching_up = False
        if not self._channel.queued:
            self.drained()

    # Somebody else has the terminal.

    def lend(self, told: Callable[[str], None]) -> None:
        """Give the terminal to somebody who draws on the alternate screen, until :meth:`take_back`.

        Only while this is not :attr:`busy`.

        :param told: called with what is said meanwhile; it is shown here behind that, too.
        """
        assert self._guest is not None
        self._say_now()
        self._break_in()
        self._lent = LentTerminal(self._guest, told)
        self._channel.send(self._lent.enter())

    def take_back(self, open_log: Callable[[], Deferred[Segments]], seam: Callable[[], Iterable[str]]) -> None:
        """Show the console again as it was, and what has come meanwhile: all of it, or the end if it was much.

        :param open_log: opens the log's files; ``seam``: see :meth:`replay`.
        """
        lent, self._lent = self._lent, None
        if lent is None:
            return
        self._channel.send(lent.leave())
        if lent.alternate or lent.dropped:
            self._owed = b""  # what was not complete then has its rest in the log
        if lent.paints:
            self.replay(open_log(), SCREENFUL, seam, self._say_now, bare=True)
        elif lent.alternate or lent.dropped:
            self._say_now()
            self.replay(open_log(), LINES_BACK, seam)
        else:
            for at, data in lent.take():
                self._queue.add(at, data)
            self._go_live()
            self._say_now()

    # Questions.

    @property
    def asking(self) -> bool:
        """Whether a question stands on the screen: what is typed is for :meth:`answer`."""
        return self._question is not None

    def ask(
        self,
        prompt: str,
        answered: Callable[[str | None], None],
        complete: Callable[[str], Completion] | None = None,
    ) -> None:
        """Ask something at the terminal; see :class:`Prompt`. A question that stands there already is cancelled."""

        def done(answer: str | None) -> None:
            self._question = None
            answered(answer)
            self._go_live()

        if self._question is not None:
            self._question.cancel()
        self._say_now()
        if not self._at_line_start:
            self._channel.send_err(self._eol)
        self._at_line_start = True
        self._question = Prompt(self._channel, prompt, done, complete)

    def cancel(self) -> None:
        """End a question that stands there, as ``^C`` does."""
        if self._question is not None:
            self._question.cancel()

    def answer(self, data: bytes) -> bytes:
        """What was typed while a question stood there.

        :returns: what of it stands behind the answer.
        """
        return data if self._question is None else self._question.typed(data)

    def resized(self, width: int) -> None:
        """The terminal is so many columns wide."""
        if self._question is not None:
            self._question.resized(width)
