"""A viewer that reads from the log what it is told of: it is never too slow, and nothing is skipped.

A console's output is in its log before any viewer is told. So the follower only takes note that there is more, and
reads it when its client has taken what came before. Bound: one block of output in memory, and a few notices.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from zope.interface import implementer

from vmproxy.access.idle_times import IdleTimes
from vmproxy.access.policy import Right
from vmproxy.base.wakeup import Wakeup
from vmproxy.console.console import Console
from vmproxy.console.interfaces import IViewer
from vmproxy.console.notices import Kicked, Notice, ShuttingDown
from vmproxy.log.stream import LogStream, NotInLog
from vmproxy.operators.client import Client
from vmproxy.operators.commands.context import now, refusal, sleep
from vmproxy.operators.commands.errors import CommandError

LOOK_SECONDS = 0.05
NOTICES_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes from the VM.

    :ivar end: the offset behind them.
    """

    data: bytes
    end: int


@dataclass(frozen=True, slots=True)
class Missing:
    """Bytes from the VM that were not recorded.

    :ivar end: the offset behind them.
    """

    size: int
    end: int


@implementer(IViewer)
class LogFollower:
    """A follower; a context manager that attaches it and detaches it.

    :ivar over: whether nothing more comes: it was disconnected, or the server stops.
    """

    def __init__(self, client: Client, console: Console, offset: int) -> None:
        """:param offset: where to begin."""
        self._client = client
        self.console = console
        self.who = client.operator.who
        self.front = client.operator.front
        self.since = self.last_input = now(client)
        self.skipped = 0
        self.over = False
        self._stream = LogStream(console.log, offset)
        self._notices: deque[Notice] = deque()
        self._error: CommandError | None = None
        self._wakeup = Wakeup()
        self._seen = -1  # of what the console has received
        self._looked = -LOOK_SECONDS
        self._may_have_more = False

    def __enter__(self) -> LogFollower:
        self.console.viewers.attach(self, write=False)
        return self

    def __exit__(self, *args: object) -> None:
        self.console.viewers.detach(self)
        self.close()

    def close(self) -> None:
        """Close the files; also one that has looked, and was never attached."""
        self._client.services.in_thread(self._stream.close)  # the last to close a removed file waits for the disk

    async def next(self, patience: float) -> Output | Missing | Notice | None:
        """What comes next; None if nothing has for so many seconds.

        :raises CommandError: if the operator may not read it any more.
        :raises NotInLog: if the log cannot give it.
        """
        client, log = self._client, self.console.log
        while True:
            if self._error is not None:
                raise self._error
            if self._may_have_more and (item := await self._read()) is not None:
                return item
            if self._notices:
                return self._notices.popleft()
            if self._seen != log.received:
                wait = self._looked + LOOK_SECONDS - client.services.clock.seconds()
                if wait > 0:  # what comes meanwhile is read at once
                    await sleep(client, wait)
                self._looked = client.services.clock.seconds()
                await self.look()
            elif not await self._wakeup.wait(client.services.clock, patience):
                return None

    async def look(self) -> None:
        """See what there is, so that it is there though the files are rotated away."""
        self._seen = self.console.log.received
        await self.console.log.on_writer(lambda _path: self._stream.look())
        self._may_have_more = True

    async def _read(self) -> Output | Missing | None:
        try:
            data = await self._client.services.in_thread(self._stream.read)
        except NotInLog as error:
            if not error.missing:
                raise
            self._stream.skip(error.missing)
            return Missing(error.missing, self._stream.position)
        if data:
            return Output(data, self._stream.position)
        self._may_have_more = self._stream.has_more
        if self._may_have_more:  # there is room for other files now
            await self.look()
        return None

    # From the console.

    def output(self, data: bytes) -> None:
        self._wakeup.wake()

    def notice(self, notice: Notice) -> None:
        if isinstance(notice, Kicked | ShuttingDown):
            self.over = True
        wanted = notice.essential or not self._client.operator.quiet
        if self.over or (wanted and len(self._notices) < NOTICES_LIMIT):
            self._notices.append(notice)
            self._wakeup.wake()

    def hold_input(self, on: bool) -> None:
        """It never types."""

    def idle_times(self) -> IdleTimes:
        return self._client.operator.view.idle_times(self.console)

    def rules_changed(self) -> None:
        """Leave if the operator may not read it any more."""
        self._error = self._error or refusal(self._client, self.console, Right.SPY)
        if self._error is not None:
            self.console.viewers.detach(self)
            self._wakeup.wake()
