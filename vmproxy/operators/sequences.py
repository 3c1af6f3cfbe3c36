"""Playing a named sequence: bytes, breaks and waits, one after the other."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from vmproxy.access.console_options import NamedSequence
from vmproxy.base.countdown import Countdown


class Player:
    """A named sequence under way."""

    def __init__(
        self,
        clock: IReactorTime,
        sequence: NamedSequence,
        deliver: Callable[[bytes | None], bool],
        done: Callable[[bool], None],
    ) -> None:
        """
        :param deliver: sends bytes, or for None a break; says whether it could.
        :param done: called at the end; with False if something could not be delivered, and the rest was left out.
        """
        self._pause = Countdown(clock)
        self._parts = iter(sequence.parts)
        self._deliver = deliver
        self._done = done

    def go_on(self) -> None:
        """Play up to the next wait, or to the end."""
        for part in self._parts:
            if isinstance(part, float):
                self._pause.start(part, self.go_on)
                return
            if not self._deliver(part):
                self._done(False)
                return
        self._done(True)

    def stop(self) -> None:
        """End without the rest, and tell nobody."""
        self._pause.stop()
