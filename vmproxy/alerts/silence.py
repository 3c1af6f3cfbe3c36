"""Silence: consoles that should talk and do not.

Nothing is done for each piece of output. The consoles that watches are about are looked at from time to time, a few in
a turn of the reactor: one that has printed as many bytes as when it was looked at before has been silent since then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from twisted.internet.interfaces import IReactorTime

from vmproxy.alerts.watch import Watch
from vmproxy.base.countdown import Countdown
from vmproxy.base.sanitize import human_span
from vmproxy.console.console import Console

LOOKS = 10  # in the shortest time of a watch
LOOK_LEAST, LOOK_MOST = 1.0, 60.0
LOOKED_AT_PER_TURN = 500


class _Heard:
    """When a console was last heard.

    :ivar received: the bytes that it had printed by then; -1 while it is down.
    :ivar told: when the watches have told of its silence: of this one, or of one before for which they are quiet yet.
    """

    __slots__ = ("at", "received", "told")

    def __init__(self, at: float, received: int, told: dict[Watch, float]) -> None:
        self.at = at
        self.received = received
        self.told = {watch: then for watch, then in told.items() if at - then < watch.quiet}


class SilenceWatcher:
    """Looks for silent consoles while there is a watch that wants it."""

    def __init__(
        self,
        clock: IReactorTime,
        consoles: Callable[[], Iterable[Console]],
        tell: Callable[[Watch, Console, str], object],
    ) -> None:
        """:param tell: called with the watch, the console and a text for people."""
        self._clock = clock
        self._consoles = consoles
        self._tell = tell
        self._watches: tuple[Watch, ...] = ()
        self._heard: dict[Console, _Heard] = {}
        self._left: Iterator[Console] = iter(())
        self._seen: dict[Console, _Heard] = {}
        self._looks = Countdown(clock)

    def use(self, watches: Iterable[Watch]) -> None:
        """Look for silence by other watches from now on. What is the same as before is not told again."""
        self._watches = tuple(watch for watch in watches if watch.silent)
        if not self._watches:
            self.stop()
        elif not self._looks.is_running:
            self._look()

    def stop(self) -> None:
        """Look no more, and forget what was heard."""
        self._looks.stop()
        self._heard, self._seen, self._left = {}, {}, iter(())

    def _look(self) -> None:
        self._left, self._seen = iter(list(self._consoles())), {}
        self._step()

    def _step(self) -> None:
        some = list(islice(self._left, LOOKED_AT_PER_TURN))
        for console in some:
            self._look_at(console)
        if some:
            self._looks.start(0, self._step)
            return
        self._heard = self._seen
        shortest = min(watch.silent for watch in self._watches)
        self._looks.start(min(LOOK_MOST, max(LOOK_LEAST, shortest / LOOKS)), self._look)

    def _look_at(self, console: Console) -> None:
        is_down = console.state == "down"
        now, received = self._clock.seconds(), -1 if is_down else console.bytes_out
        heard = self._heard.get(console)
        if heard is None or is_down or heard.received != received:
            heard = _Heard(now, received, {} if heard is None else heard.told)
        if heard.told or not is_down:
            self._seen[console] = heard
        if is_down:
            return
        silent = now - heard.at
        for watch in self._watches:
            if silent >= watch.silent and self._may_tell(watch, heard, now) and watch.selects(console):
                heard.told[watch] = now
                self._tell(watch, console, f"silent for {human_span(silent)}")

    @staticmethod
    def _may_tell(watch: Watch, heard: _Heard, now: float) -> bool:
        told = heard.told.get(watch)
        return told is None or (told < heard.at and now - told >= watch.quiet)
