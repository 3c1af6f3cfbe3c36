"""Activities of a session, one current at a time, and the router that gives them its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

AT_ONCE = 1024
"""Bytes that an activity gets in one piece: one packet of a client may hold 32 KiB of keys, some of which take long."""


class Activity(Protocol):
    """An occupation of a session: a console, the menu, a command, SFTP."""

    def typed(self, data: bytes) -> None:
        """Take input."""

    def drained(self) -> None:
        """All output is sent."""

    def send_break(self) -> None:
        """Send a break: the client asks for one (RFC 4335)."""

    def stop(self) -> None:
        """End: the session is over."""

    def resized(self, width: int, height: int) -> None:
        """The terminal has another size, in characters."""


class InputOnly:
    """The base of activities for which only input matters: no console gets a break, and nothing is drawn."""

    def drained(self) -> None:
        """The output is that of a command, which the session tells itself."""

    def send_break(self) -> None:
        """There is no console."""

    def resized(self, width: int, height: int) -> None:
        """Nothing is drawn."""


@runtime_checkable
class TakesEnd(Protocol):
    """An activity that wants to know that no more input comes."""

    def eof(self) -> None:
        """No more input comes."""


@runtime_checkable
class TakesScreen(Protocol):
    """An activity that has the terminal in a state of its own while it lasts."""

    def farewell(self) -> bytes:
        """The bytes that put the terminal right; none if it is."""


@runtime_checkable
class RunsCommand(Protocol):
    """An activity in which a command runs."""

    def interrupt(self) -> None:
        """End the command, as ^C does."""


class InputSource(Protocol):
    """The client, as far as its input goes."""

    @property
    def over(self) -> bool:
        """Whether the session is closed, or about to be."""

    def hold(self, on: bool) -> None:
        """Keep the client from sending more input, or let it go on."""


class _Over:
    """The client of a session that is over: the session has the router, so the router must not keep the session."""

    over = True

    def hold(self, on: bool) -> None: ...


_OVER = _Over()


class InputRouter:
    """A stack of activities. Input is for the one on top; it makes room for another, and is current again behind it.

    Invariant: input reaches the activities in the order in which it was typed.
    Bound: the client is held while input waits here, so no more can wait than its window lets in.
    """

    def __init__(
        self,
        source: InputSource,
        next_turn: Callable[[Callable[[], None]], object],
        has_time: Callable[[], bool] = lambda: True,
    ) -> None:
        """
        :param next_turn: has something done in the operator's next turn.
        :param has_time: whether there is time in this one.
        """
        self._source: InputSource = source
        self._next_turn = next_turn
        self._has_time = has_time
        self._stack: list[Activity] = []
        self._waiting: list[bytes] = []
        self._kept = False  # what waits is for the next activity; the current one goes on hearing what is typed
        self._hold_wanted = False
        self._ended = False  # what waits is the last of the input

    @property
    def activity(self) -> Activity | None:
        """The current activity."""
        return self._stack[-1] if self._stack else None

    def push(
        self, activity: Activity, start: Callable[[], None] = lambda: None, instead_of: Activity | None = None
    ) -> None:
        """Have an activity take the input from now on, with what was typed ahead.

        :param start: called in between, when the activity is current and has no input yet.
        :param instead_of: an activity that leaves the stack for it.
        """
        if instead_of in self._stack:
            self._stack.remove(instead_of)
        self._stack.append(activity)
        self._change(start)

    def pop(self, activity: Activity, then: Callable[[], None] = lambda: None) -> None:
        """Take an activity from the stack, wherever it is in it.

        :param then: called before the activity below gets any input.
        """
        if activity in self._stack:
            self._stack.remove(activity)
        self._change(then)

    def _change(self, then: Callable[[], None]) -> None:
        self._hold_wanted = False
        self._source.hold(bool(self._waiting))
        then()
        self._deliver()

    def hold(self, on: bool) -> None:
        """Keep the client from sending more, or let it go on as soon as what it has sent is dealt with."""
        self._hold_wanted = on
        self._source.hold(on or bool(self._waiting))

    def feed(self, data: bytes) -> None:
        """Take input from the client."""
        piece, rest = data[:AT_ONCE], data[AT_ONCE:]
        while not self._source.over:
            if not self._stack or self._put_off:
                self._wait(piece + rest)
                return
            self._stack[-1].typed(piece)
            if not rest:
                return
            if not self._has_time():
                self.put_off(rest)
                return
            piece, rest = rest[:AT_ONCE], rest[AT_ONCE:]

    def keep(self, data: bytes) -> None:
        """Keep input that the current activity does not want for the next one."""
        self._kept = True
        self._wait(data)

    def put_off(self, data: bytes) -> None:
        """Handle input in the operator's next turn, with all that comes behind it: there was much to do in this."""
        self._wait(data)
        self._next_turn(self._deliver)

    def _wait(self, data: bytes) -> None:
        self._waiting.append(data)
        self._source.hold(True)

    def _deliver(self) -> None:
        if not self._stack or self._source.over:
            return
        waiting, self._waiting = self._waiting, []
        self._kept = False
        for data in waiting:
            self.feed(data)
        self.hold(self._hold_wanted)
        if self._ended and not self._put_off:
            self._ended = False
            self.eof()

    @property
    def _put_off(self) -> bool:
        return bool(self._waiting) and not self._kept

    def eof(self) -> None:
        """Tell the current activity that no more input comes, when it has had all of it."""
        if self._put_off and self._stack:
            self._ended = True
        elif isinstance(self.activity, TakesEnd):
            self.activity.eof()

    def farewell(self) -> bytes:
        """The bytes that put the terminal right before the session ends."""
        return self.activity.farewell() if isinstance(self.activity, TakesScreen) else b""

    def close(self) -> None:
        """Stop all activities, and let go of the client: the session is over."""
        self._source = _OVER
        self._waiting.clear()
        while self._stack:
            self._stack.pop().stop()
