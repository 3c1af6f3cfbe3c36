"""Operators who type nothing for a time lose write access to whoever waits for it, or are disconnected.

``idle-write`` and ``idle-disconnect`` of the rule by which they are there, and of the console's options; the shorter
one applies. All consoles with viewers are looked at every few seconds, in turns of the reactor: there may be thousands
of viewers. What counts is the time between two looks that saw the same last input: a clock that is set disconnects
nobody.
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.interfaces import IReactorTime

from vmproxy.access.idle_times import IdleTimes
from vmproxy.base.countdown import Countdown
from vmproxy.base.sanitize import human_span
from vmproxy.base.turns import Turns
from vmproxy.console.console import Console
from vmproxy.console.interfaces import IViewer
from vmproxy.console.notices import Demoted
from vmproxy.console.registry import ConsoleRegistry

LOOK_SECONDS = 5.0
BY = "the time limit"


class IdleLimits:
    """Looks for idle operators, where a rule or a console's options have a limit."""

    def __init__(self, clock: IReactorTime, registry: ConsoleRegistry) -> None:
        self._clock = clock
        self._turns = Turns(clock)
        self._look_on: Iterator[None] | None = None  # the rest of a look that is under way
        self._registry = registry
        self._looks = Countdown(clock)
        self._seen: dict[IViewer, tuple[float, float]] = {}  # the last input, and when it was first seen

    def reconfigure(self) -> None:
        """See whether there is anything to do by the rules of now."""
        wanted = self._registry.policy.has_idle_limits
        if wanted and not self._looks.is_running:
            self._looks.start(LOOK_SECONDS, self._look)
        elif not wanted:
            self.stop()

    def stop(self) -> None:
        """Disconnect nobody any more."""
        self._seen, self._look_on = {}, None
        self._looks.stop()

    def _look(self) -> None:
        self._looks.start(LOOK_SECONDS, self._look)
        if self._look_on is None:
            self._look_on = self._steps()
            self._go_on()

    def _go_on(self) -> None:
        look = self._look_on
        for _ in look or ():
            if not self._turns.open():
                self._turns.wait("", self._go_on)
                return
        self._look_on = None

    def _steps(self) -> Iterator[None]:
        """Look at each viewer."""
        before, self._seen = self._seen, {}
        for console in list(self._registry):
            for viewer in console.watchers:
                if (own := viewer.idle_times()) is not None and (limits := own.shorter(console.options.idle)):
                    self._judge(console, viewer, limits, before.get(viewer))
                yield

    def _judge(self, console: Console, viewer: IViewer, limits: IdleTimes, seen: tuple[float, float] | None) -> None:
        now, last = self._clock.seconds(), viewer.last_input
        if seen is None or seen[0] != last:
            seen = (last, now)
        self._seen[viewer] = seen
        idle, viewers = now - seen[1], console.viewers
        if limits.idle_disconnect and idle >= limits.idle_disconnect:
            del self._seen[viewer]
            if viewer not in console.watchers:
                return  # it has left since the look began
            viewers.kick(viewer, BY, _typed_nothing(limits.idle_disconnect))
        elif (
            limits.idle_write
            and idle >= limits.idle_write
            and viewers.write_access.waiting
            and viewers.write_access.writes(viewer)
        ):
            viewers.drop_write(viewer)
            viewers.tell_one(viewer, Demoted(BY, _typed_nothing(limits.idle_write)))


def _typed_nothing(seconds: float) -> str:
    return f"nothing typed for {human_span(seconds)}"
