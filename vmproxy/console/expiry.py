"""Consoles that are forgotten by themselves, after they have been down for a time.

All are looked at once an hour, a few in a turn of the reactor. One that somebody waits for stays. The time is that of
day; where that was set in the meantime, nothing is forgotten until the next hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.base.clock import wall_of
from vmproxy.base.countdown import Countdown
from vmproxy.console.console import Console
from vmproxy.console.registry import ConsoleRegistry, StillThere

LOOK_SECONDS = 3600.0
LOOKED_AT_PER_TURN = 500
FORGOTTEN_PER_TURN = 20
SET_SECONDS = 60.0
"""How far the time of day may be from what it should be; beyond, somebody has set it."""
BY = "forget-after"

_log = Logger()


class Expiry:
    """Forgets consoles whose options have ``forget-after``."""

    def __init__(self, clock: IReactorTime, registry: ConsoleRegistry, record: Callable[..., None]) -> None:
        """:param record: records an event in the audit trail."""
        self._clock = clock
        self._wall = wall_of(clock)
        self._registry = registry
        self._record = record
        self._started = self._wall()
        self._looks = Countdown(clock)
        self._left: Iterator[Console] = iter(())
        self._offset = 0.0

    def reconfigure(self) -> None:
        """See whether there is anything to do by the rules of now."""
        wanted = self._registry.policy.forgets
        if wanted and not self._looks.is_running:
            self._wait()
        elif not wanted:
            self.stop()

    def stop(self) -> None:
        """Forget nothing any more."""
        self._looks.stop()

    def _wait(self) -> None:
        self._offset = self._wall() - self._clock.seconds()
        self._looks.start(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        steady = abs(self._wall() - self._clock.seconds() - self._offset) < SET_SECONDS
        self._left = iter(list(self._registry)) if steady else iter(())
        self._step()

    def _step(self) -> None:
        some = list(islice(self._left, LOOKED_AT_PER_TURN))
        over = [console for console in some if self._is_over(console)]
        for console in over[:FORGOTTEN_PER_TURN]:
            self._forget(console)
        self._left = chain(over[FORGOTTEN_PER_TURN:], self._left)
        if some:
            self._looks.start(0, self._step)
        else:
            self._wait()

    def _is_over(self, console: Console) -> bool:
        span = console.options.forget_after
        if not span or console.watchers or not console.can_be_forgotten:
            return False
        if not console.since:  # it was up when the process before this one ended
            console.has_not_come(self._started)
        return self._wall() - console.since >= span

    def _forget(self, console: Console) -> None:
        title, uuid, log = console.title, str(console.uuid), console.log.name
        try:
            self._registry.forget(console, BY).addErrback(_failed)
        except StillThere:
            return  # a vMotion of it is not over
        self._registry.process_log.tell("consoles forgotten", "{console}: forgotten, it was down", console=title)
        self._record("forget", who=BY, console=title, uuid=uuid, port=console.port, log=log, removed=False)


def _failed(failure: Failure) -> None:
    _log.failure("a console is forgotten, its log is not closed", failure=failure)
