"""The load's event loop: epoll, a handler per descriptor, and a few tasks that are due at times.

As little as there can be between the kernel and what is sent. It watches itself: how long its turns took says how far
the times that it measures can be trusted.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Protocol

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
_LONG_TURN = 0.001
_LONGEST_WAIT = 0.002  # what is waited for may be something that has no descriptor here: a file's size


class Task(Protocol):
    """Something that is done again and again.

    :ivar due: when it is next to be done, on the loop's clock.
    """

    due: float

    def run(self, now: float) -> None:
        """Do it, and set ``due`` anew."""


class Loop:
    """The loop.

    :ivar now: the time when the events that are being handled were found, in seconds.
    :ivar tasks: what is due at times.
    :ivar turns: how many there were; ``long_turns`` those of more than a millisecond; ``longest`` in seconds.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self.now = time.perf_counter()
        self.tasks: list[Task] = []
        self.turns = self.long_turns = 0
        self.longest = 0.0

    def watch(self, fd: int, handler: Callable[[int], None], events: int = READ) -> None:
        """Call the handler, with the events, whenever there are some."""
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Wait for other events."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Watch it no longer; to be called before it is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def run(self, done: Callable[[], bool], seconds: float) -> bool:
        """Run until something has become true.

        :returns: whether it has, within so many seconds.
        """
        clock, poll, handlers, tasks = time.perf_counter, self._epoll.poll, self._handlers, self.tasks
        end = clock() + seconds
        while not done():
            now = clock()
            if now >= end:
                return False
            wait = min(end - now, _LONGEST_WAIT)
            for task in tasks:
                if task.due - now < wait:
                    wait = task.due - now
            events = poll(wait if wait > 0 else 0, 1024)
            self.now = started = clock()
            for fd, event in events:
                handler = handlers.get(fd)
                if handler is not None:
                    handler(event)
            for task in tasks:
                if task.due <= started:
                    task.run(started)
            took = clock() - started
            self.turns += 1
            if took > _LONG_TURN:
                self.long_turns += 1
                if took > self.longest:
                    self.longest = took
        return True

    def rest(self, seconds: float) -> None:
        """Go on for so long."""
        self.run(lambda: False, seconds)

    def close(self) -> None:
        """The loop is not used any more."""
        self._epoll.close()
