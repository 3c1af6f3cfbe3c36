"""The output of a console on its way to one viewer on the web: past, present, pauses, and what was too much.

A byte comes once, and none is missing: behind a replay, or behind what is read from the log from a cursor on, the
viewer is live, and gets the frames that all viewers share (:mod:`vmproxy.web.fanout`). What does not fit in the window
is skipped and told.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from enum import Enum, auto
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.base.tasks import spawn
from vmproxy.console.console import Console
from vmproxy.log.place import Place, PlaceGone, check, is_known
from vmproxy.log.reader import Segments, open_segments
from vmproxy.log.stream import BLOCK, LogStream, NotInLog
from vmproxy.operators.operator import Operator
from vmproxy.operators.replay import last_lines, opened
from vmproxy.operators.services import Services
from vmproxy.operators.terminal.replay_filter import ReplayFilter
from vmproxy.operators.viewer_queue import LateReader, ViewerQueue
from vmproxy.web.cursor import BadCursor, place_of
from vmproxy.web.fanout import Fanout
from vmproxy.web.viewer_messages import message_frame
from vmproxy.web.websocket import WebSocket
from vmproxy.web.websocket_frames import binary_frame
from vmproxy.web.window import Window

WAITING_LIMIT = 256 * 1024  # of output, during a replay
RESUME_LIMIT = 4 * 1024 * 1024
LAG_LIMIT = 8 * 1024 * 1024
RECENT = 64 * 1024

_log = Logger()


class State(Enum):
    """What becomes of output."""

    PAUSED = auto()  # nothing is wanted
    REPLAY = auto()  # it waits in a queue
    CATCHING_UP = auto()  # it is read from the log
    LIVE = auto()
    OVER = auto()


class _Past:
    """What a :class:`LateReader` sends to: it is over when something else is shown."""

    def __init__(self, output: ViewerOutput) -> None:
        self._output = output

    @property
    def queued(self) -> int:
        """Bytes that have to be acknowledged before more is sent."""
        return max(0, BLOCK + RECENT - self._output.window.room)

    @property
    def over(self) -> bool:
        """Whether this is not wanted any more."""
        return self._output.past is not self

    def send(self, data: bytes) -> None:
        """Send what was read."""
        if not self.over:
            self._output.send_past(data)


class ViewerOutput:
    """The output for one viewer.

    :ivar window: what is under way, and was skipped.
    :ivar past: what is read from the log now.
    """

    def __init__(
        self, socket: WebSocket, console: Console, services: Services, fanout: Fanout, operator: Operator
    ) -> None:
        self.who = operator.who
        self._on_skip = services.skips(operator.front)
        self.window = Window(self._on_skip)
        self.past: _Past | None = None
        self._socket = socket
        self._console = console
        self._services = services
        self._fanout = fanout
        self._state = State.PAUSED
        self._waiting = self._queue()
        self._reader: LateReader | None = None
        self._place: int | None = None  # the offset behind what was sent, while it is not live
        self._in_past = False  # what is sent is past
        self._forgiven = 0  # acknowledgements that belong to frames

    def _queue(self) -> ViewerQueue:
        return ViewerQueue(WAITING_LIMIT, on_skip=self._on_skip)

    @property
    def skipped(self) -> int:
        """Bytes that the viewer was too slow for."""
        return self.window.skipped + self._waiting.skipping

    def begin(self, lines: int) -> None:
        """Show the last lines, then what comes. At the moment at which the viewer is attached."""
        self._place = self._console.log.offset
        if lines:
            self._state = State.REPLAY
            self._waiting.take()
            self._waiting.take_skipped()
            self._spawn(self._replay(opened(self._console.log), lines))
        else:
            self._go_live()

    def begin_with(self, stream: LogStream) -> None:
        """Show what a stream reads, then what comes."""
        self._state = State.CATCHING_UP
        self._place = stream.position
        self.past = _Past(self)
        self._spawn(self._catch_up(self.past, self._reading(self.past, stream), stream))

    def end(self) -> None:
        """Show nothing more."""
        self._leave(State.OVER)

    def _leave(self, state: State) -> None:
        self._state = state
        self.past = None
        if self._reader is not None:
            self._reader.wake()
            self._reader = None
        self._fanout.leave(self)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        spawn(work).addErrback(self.broken)

    def broken(self, failure: Failure) -> None:
        """End, because of this fault."""
        _log.failure("a websocket of {who} failed", failure=failure, who=self.who)
        self.failed()

    def failed(self) -> None:
        """End, because of a fault."""
        self._socket.fail()

    # What comes.

    def take(self, data: bytes) -> None:
        """The VM has said something."""
        if self._state is State.LIVE:
            self._fanout.offer(data)
        elif self._state is State.REPLAY:
            self._waiting.put(0.0, data, self._console.log.received)
        elif self._reader is not None:
            self._reader.output(data)

    def frame(self, frame: bytes, data: bytes) -> None:
        """Take output, and the frame with it that all viewers share."""
        fits = self.window.fit(len(data))
        if fits:
            self._forgiven += 1
            self._socket.send(frame if fits == len(data) else binary_frame(data[:fits]))

    def cursor(self, frame: bytes) -> None:
        """Take the cursor of the place behind the output so far."""
        if not self.window.skipping:  # else what was skipped has still to be told
            self._socket.send(frame)

    def acknowledge(self, size: int) -> None:
        """The terminal has processed output.

        :raises BadAcknowledgement: if that was not sent.
        """
        self.window.acknowledge(size)
        if self._forgiven:
            self._forgiven -= 1
            self._socket.forgive()
        self._tell_skipped()
        if self._reader is not None and self.past is not None and not self.past.queued:
            self._reader.wake()

    def _tell_skipped(self, now: bool = False) -> None:
        if self.window.skipping and (skipped := self.window.take_skipped(now)):
            self._socket.send(message_frame("skipped", bytes=skipped))

    # The past.

    def send_past(self, data: bytes) -> None:
        """Send bytes that are behind what was sent; the client is told that they are past."""
        if data:
            self._say_past(True)
            self.frame(binary_frame(data), data)
            if self._place is not None:
                self._place += len(data)

    def _say_past(self, on: bool) -> None:
        if on != self._in_past:
            self._in_past = on
            self._socket.send(message_frame("replay", on=on))

    async def find(self, cursor: str) -> LogStream | None:
        """Have the log read from a cursor on.

        :returns: None if that place is not there any more, or too much is behind it.
        """
        try:
            place = place_of(cursor, self._console)
        except BadCursor:
            return None
        if not is_known(self._console.log.file, place) and not await self._is_good(place):
            return None
        return await self._read_from(place.offset)

    async def _is_good(self, place: Place) -> bool:
        log, services = self._console.log, self._services

        def is_good() -> bool:
            # Anybody may bring any number of such places: no more logs are open than there are threads for that.
            with open_segments(log.path) as files:
                try:
                    check(log.file, place, files)
                except PlaceGone:
                    return False
                return True

        return await services.readings.threads.run(services.in_thread, is_good)

    async def _read_from(self, offset: int | None) -> LogStream | None:
        log = self._console.log
        if offset is None or log.offset is None or not offset <= log.offset <= offset + RESUME_LIMIT:
            return None
        stream = LogStream(log, offset)
        try:
            await stream.refresh()
            await self._services.in_thread(stream.check)
        except (NotInLog, OSError):
            self.drop(stream)
            return None
        return stream

    def drop(self, stream: LogStream | None) -> None:
        """Close a stream that is not used."""
        if stream is not None:
            self._services.in_thread(stream.close)

    async def _replay(self, files: Deferred[Segments], lines: int) -> None:
        filtered = ReplayFilter(self._console.options.encoding)

        def shown(data: bytes) -> bytes:
            # The beginning of a sequence at the end is shown as it is, for its rest is live.
            return filtered.feed(data) + filtered.settle() + filtered.cut if data else b""

        waiting = self._waiting
        try:
            data = await last_lines(files, lines, self._services.in_thread, shown)
        except OSError as error:
            data = b""
            text = f"[-- no replay: {error.strerror} --]"
            self._socket.send(message_frame("notice", event="no-replay", essential=False, text=text))
        if self._state is not State.REPLAY or waiting is not self._waiting:
            return
        if data:
            self._say_past(True)
            self.frame(binary_frame(data), data)
        self._go_live()

    def _reading(self, past: _Past, stream: LogStream) -> LateReader:
        reader = LateReader(past, self._console.log, self._services, stream=stream, recent=RECENT, lag=LAG_LIMIT)
        self._reader = reader
        return reader

    async def _catch_up(self, past: _Past, reader: LateReader, stream: LogStream) -> None:
        log = self._console.log
        while True:
            try:
                rest = await reader.run()
                break
            except (NotInLog, OSError) as error:
                live = log.offset
                if past.over or live is None or self._place is None:
                    rest = b""
                    break
                hole = error.missing if isinstance(error, NotInLog) else 0
                # Where the log gives nothing more, perhaps for long, the viewer goes on with what the VM says now.
                missing = hole or live - self._place
                self._place += missing
                self.window.skip(missing)
                self._tell_skipped(now=True)
                if not hole:
                    rest = b""
                    break
                stream = LogStream(log, self._place)
                reader = self._reading(past, stream)
        if not past.over:
            self.past = self._reader = None
            self.send_past(rest)
            self._go_live()

    def _go_live(self) -> None:
        """Everything up to now is sent, but for what waits."""
        self._say_past(False)
        self._state = State.LIVE
        for _, data in self._waiting.take():
            self.frame(binary_frame(data), data)
        self.window.skip(self._waiting.take_skipped())
        self._fanout.join(self)
        self._tell_skipped()
        if (frame := self._fanout.cursor_frame()) is not None:
            self.cursor(frame)

    # Pauses.

    def pause(self) -> None:
        """Send no output; what is missed is remembered by its place."""
        if self._state is State.PAUSED:
            return
        if self._state is State.LIVE:
            self._fanout.catch_up(self)
            self._place = self._console.log.offset
            self._tell_skipped(now=True)
        self._say_past(False)
        self._leave(State.PAUSED)
        self._waiting = self._queue()

    async def resume(self, cursor: str, lines: int, answer: Callable[[bool], None]) -> None:
        """Send output again.

        :param cursor: from where on; empty: from where it was paused.
        :param lines: are shown instead if the log cannot give it.
        :param answer: is told whether it can.
        """
        stream = None
        if self._state is State.PAUSED:
            stream = await (self.find(cursor) if cursor else self._read_from(self._place))
        if self._state is not State.PAUSED:
            self.drop(stream)
            answer(True)
        elif stream is not None:
            answer(True)
            self.begin_with(stream)
        else:
            answer(False)
            self.begin(lines)
