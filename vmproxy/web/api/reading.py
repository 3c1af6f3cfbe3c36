"""What the routes have in common that read logs: rights, places, and bytes that come as the client takes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

from twisted.internet.interfaces import IDelayedCall

from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.errors import VMProxyError
from vmproxy.log.place import Place, PlaceGone, check
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import chosen, refusal, require_right
from vmproxy.operators.commands.errors import CommandError
from vmproxy.operators.log_reading import OpenedLog, on_disk, open_log
from vmproxy.operators.readings import UNREAD_SECONDS
from vmproxy.operators.resolve import TargetError
from vmproxy.web.call import Call
from vmproxy.web.dispatch import NOT_FOUND
from vmproxy.web.parameters import too_many
from vmproxy.web.problem import Problem, bad_request

T = TypeVar("T")


class BrokenOff(VMProxyError):
    """An answer that cannot be completed: the connection is cut."""


def problem_of(error: CommandError | TargetError, parameter: str = "on") -> Problem:
    """The problem that an error of the operators' part is."""
    match error.status:
        case exit_status.USAGE:
            return bad_request([(parameter, str(error))])
        case exit_status.NO_SUCH_CONSOLE:
            return Problem("not-found", NOT_FOUND)
        case exit_status.AMBIGUOUS:
            return Problem("ambiguous", str(error).partition("\n")[0])
        case exit_status.BUSY:
            return too_many(str(error))
    return Problem("forbidden", str(error))


async def consoles_of(call: Call, right: Right) -> list[Console]:
    """The consoles that ``on`` chooses, sorted by title.

    :raises Problem: if one of the names finds none, or the operator has the right on none.
    """
    return await asked(chosen(call, call.query["on"], right))


async def asked(work: Awaitable[T]) -> T:
    """The result of work; what goes wrong with it is a problem."""
    try:
        return await work
    except (CommandError, TargetError) as error:
        raise problem_of(error) from None


async def opened_log(call: Call, console: Console, since: float | None = None, number: int | None = None) -> OpenedLog:
    """The open log of a console, which is audited as over SSH.

    :param number: of the only file that is wanted; None: all.
    :raises Problem: if too many are read.
    """
    opened = await asked(open_log(call, console, since=since, number=number))
    call.operator.audit("log-read", console=console.title, uuid=str(console.uuid))
    return opened


class Body(AsyncIterator[bytes]):
    """The bytes of an answer, with what has to be closed when they end, or when nobody wants them any more.

    A client that reads nothing for a minute gives its place up if places are scarce.
    """

    def __init__(
        self,
        call: Call,
        opened: OpenedLog | None,
        pieces: AsyncGenerator[bytes, None],
        closed: Callable[[], object] = lambda: None,
    ) -> None:
        """
        :param opened: the log that they are read from, and that is closed behind them.
        :param closed: called when all is closed; perhaps several times.
        """
        self._closed = closed
        self._call = call
        self._opened = opened
        self._pieces = pieces
        self._unread = False
        self._timer: IDelayedCall | None = None

    async def __anext__(self) -> bytes:
        self._stop_watching()
        if self._unread:
            raise BrokenOff(f"the client has read nothing for {UNREAD_SECONDS:g} s")
        try:
            piece = await self._pieces.__anext__()
            require_login(self._call)
        except BaseException:
            self._close()
            raise
        self._watch()
        return piece

    def _watch(self) -> None:
        if self._opened is not None and not self._opened.closed:
            self._timer = self._call.services.clock.callLater(UNREAD_SECONDS, self._look)

    def _look(self) -> None:
        if self._call.services.readings.scarce_for(self._call.operator.name):
            self._unread = True
            self._close()
        else:
            self._watch()

    def _stop_watching(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    async def aclose(self) -> None:
        """Give everything up."""
        try:
            await self._pieces.aclose()
        finally:
            self._close()

    def _close(self) -> None:
        self._stop_watching()
        if self._opened is not None:
            self._opened.close()
        self._closed()


async def read_out(
    call: Call, opened: OpenedLog, make: Callable[[], Iterator[T]], size: Callable[[T], int]
) -> AsyncGenerator[list[T], None]:
    """What is made of a log, batch by batch, as long as the operator may read it.

    :raises CommandError: if they may not any more.
    :raises BrokenOff: behind what could be read, if something could not.
    """
    reading = opened.reading(make, size)
    while batch := await reading.batch():
        require_right(call, opened.console)
        yield batch
    if opened.files.problems:
        raise BrokenOff(opened.files.problems[0])


async def offset_in(call: Call, opened: OpenedLog, place: Place | None) -> int | None:
    """The offset of a place; None for none.

    :raises Problem: if it is not in the log any more.
    """
    if place is None:
        return None
    try:
        await on_disk(call, lambda: check(opened.console.log.file, place, opened.files))
    except PlaceGone as error:
        raise Problem("gone", str(error)) from None
    return place.offset


def require_login(call: Call) -> None:
    """Check that the login counts still, before more is sent.

    :raises BrokenOff: if it does not.
    """
    if call.credential is not None and not call.credential.counts():
        raise BrokenOff("the login has ended")


def still(call: Call, console: Console, right: Right = Right.SPY) -> None:
    """Check a right again, where something has been waited for.

    :raises Problem: if the operator has lost it.
    """
    if error := refusal(call, console, right):
        raise problem_of(error)
