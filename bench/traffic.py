"""What the machines do once they are connected: print lines, print as much as is taken, move, and ask for answers.

Each is a task of the loop, or hangs on a connection's events, and keeps the times that it measures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bench import canned
from bench.machines import Connection, Fleet, Machine
from bench.text import LINES

TICK = 0.001
BURST = 400  # lines in one turn, at most: what is late is made up for in the next ones
DIALLED = 40  # connections in one turn, at most
PIECE = 64 * 1024


class Lines:
    """Lines, at a rate, one machine after the other.

    :ivar rate: lines a second; may be changed with :meth:`at_rate`.
    :ivar sent: how many there were.
    """

    def __init__(self, machines: Sequence[Machine], rate: float) -> None:
        self._machines = machines
        self._next = 0
        self.sent = 0
        self.at_rate(rate)

    def at_rate(self, rate: float) -> None:
        """Go on at another rate, from now on; what was owed is forgotten."""
        self.rate = rate
        self._began = self.due = time.perf_counter()
        self._owed_from = self.sent

    @property
    def behind(self) -> float:
        """The part of the lines that should have been sent and were not."""
        wanted = (time.perf_counter() - self._began) * self.rate
        return max(0.0, 1 - (self.sent - self._owed_from) / wanted) if wanted >= 1 else 0.0

    def run(self, now: float) -> None:
        """Print what is due."""
        machines, at, count = self._machines, self._next, len(self._machines)
        due = min(int((now - self._began) * self.rate) - self.sent + self._owed_from, BURST)
        skipped = done = 0
        while done < due and skipped < count:
            machine = machines[at]
            at = at + 1 if at + 1 < count else 0
            if machine.frozen:
                skipped += 1
                continue
            machine.print_line()
            done += 1
        self._next = at
        self.sent += done
        self.due = now + TICK


class Stream:
    """One machine prints as fast as the server reads.

    :ivar done: whether everything has been sent; in whole lines.
    """

    def __init__(self, machine: Machine, lines: int) -> None:
        """:param lines: how many, unless it is told to :meth:`stop` before."""
        self._machine = machine
        self._text = machine.text
        self._at = machine.at * machine.text.width
        self._said = machine.said
        self._left = lines * machine.text.width
        self._sent = 0
        self.done = False
        assert machine.connection is not None
        machine.connection.wait_writable(self._writable)

    def _writable(self, connection: Connection) -> None:
        try:
            sent = connection.send(self._text.wire[self._at : self._at + min(PIECE, self._left)])
        except BlockingIOError:
            return
        except OSError:
            self._end(connection)
            return
        self._sent += sent
        self._left -= sent
        self._at = (self._at + sent) % (LINES * self._text.width)
        self._machine.said = self._said + self._sent // self._text.width
        self._machine.at = self._at // self._text.width
        if not self._left:
            self._end(connection)

    def _end(self, connection: Connection) -> None:
        self.done = True
        connection.wait_writable(None)

    def stop(self) -> None:
        """Finish the line."""
        if not self.done:
            self._left = -self._sent % self._text.width
            if not self._left:
                assert self._machine.connection is not None
                self._end(self._machine.connection)


class Newcomers:
    """Machines that say their first words all at once, a moment from now."""

    def __init__(self, machines: Sequence[Machine], delay: float) -> None:
        self._left = list(machines)
        self.due = time.perf_counter() + delay

    def run(self, now: float) -> None:
        """Let some of them speak: in portions, so that the load's own clock does not stand still."""
        for machine in self._left[:40]:
            machine.hello()
        del self._left[:40]
        self.due = now if self._left else float("inf")


class Arrivals:
    """Machines that connect and say who they are, so many a second.

    :ivar total: how many there are; ``up`` how many of them have been dealt with, identity included.
    :ivar seconds: how long that took.
    """

    def __init__(self, fleet: Fleet, machines: Sequence[Machine], rate: float) -> None:
        self._fleet = fleet
        self._rate = rate
        self._waiting = [fleet.connection(machine, fleet.handshake.joining) for machine in reversed(machines)]
        self.total = len(self._waiting)
        self.up = self._ended = 0
        self.seconds = 0.0
        self.begin()

    def begin(self) -> None:
        """Dial the first one now."""
        self._began = self.due = time.perf_counter()

    def run(self, now: float) -> None:
        """Dial what is due."""
        waiting = len(self._waiting)
        due = min(int((now - self._began) * self._rate) - self.total + waiting, DIALLED, waiting)
        for _ in range(due):
            connection = self._waiting.pop()
            connection.ready = self._ready
            connection.lost = self._lost
            connection.connect(self._fleet.port)
        self.due = now + TICK if self._waiting else float("inf")

    @property
    def dialling(self) -> bool:
        """Whether some are still to come."""
        return bool(self._waiting)

    @property
    def done(self) -> bool:
        """Whether all of them are there, or have failed."""
        return self._ended == self.total

    def _ready(self, connection: Connection) -> None:
        self.up += 1
        self.seconds = time.perf_counter() - self._began
        self._ended += 1
        connection.machine.carried_by(connection)
        connection.lost = self._fleet.dropped

    def _lost(self, connection: Connection) -> None:
        self._ended += 1
        self._fleet.dropped(connection)


class Answers:
    """Waits for a suboption on a connection that also carries other things, and hands on its parameters."""

    def __init__(self, connection: Connection, wanted: bytes, then: Callable[[bytes], None]) -> None:
        self._wanted = wanted
        self._then = then
        self._received = b""
        self._connection = connection
        connection.heard = self._heard

    def _heard(self, _connection: Connection, data: bytes) -> None:
        self._received += data
        start = self._received.find(self._wanted)
        if start < 0:
            if canned.NOT_NOW in self._received:
                self._connection.heard = None
            return
        end = self._received.find(canned.END, start)
        if end >= 0:
            self._connection.heard = None
            self._then(self._received[start + len(self._wanted) : end])


class Migrations:
    """Machines that move to another connection, so many a second.

    :ivar ahead: seconds from each BEGIN to its GOAHEAD; ``over`` from PEER to PEER-OK.
    :ivar begun: how many began; ``finished`` how many ended well.
    """

    def __init__(self, fleet: Fleet, machines: Sequence[Machine], rate: float) -> None:
        self._fleet = fleet
        self._machines = machines
        self._next = 0
        self._rate = rate
        self._began = self.due = time.perf_counter()
        self.begun = self.finished = 0
        self.ahead: list[float] = []
        self.over: list[float] = []

    def run(self, now: float) -> None:
        """Begin what is due."""
        due = int((now - self._began) * self._rate) - self.begun
        looked = 0
        while due > 0 and looked < len(self._machines):
            machine = self._machines[self._next]
            self._next = (self._next + 1) % len(self._machines)
            looked += 1
            if not machine.frozen and machine.connection is not None and not machine.connection.behind:
                _Move(self, self._fleet, machine, canned.sequence(self.begun))
                self.begun += 1
                due -= 1
        self.due = now + max(TICK, (self.begun + 1) / self._rate - (now - self._began))

    @property
    def settled(self) -> bool:
        """Whether all that began have ended well."""
        return self.finished == self.begun


class _Move:
    """One vMotion, as hosts do it: the source closes just before COMPLETE."""

    def __init__(self, owner: Migrations, fleet: Fleet, machine: Machine, sequence: bytes) -> None:
        assert machine.connection is not None
        self._owner = owner
        self._fleet = fleet
        self._machine = machine
        self._sequence = sequence
        self._source = machine.connection
        machine.print_line()  # the guest's last words are right in front of it
        machine.frozen = True
        Answers(self._source, canned.WENT_AHEAD, self._went_ahead)
        self._at = time.perf_counter()
        self._source.say(canned.sub(canned.BEGIN, sequence))

    def _went_ahead(self, pair: bytes) -> None:
        self._owner.ahead.append(time.perf_counter() - self._at)
        if not pair.startswith(self._sequence):
            return  # it stays unfinished, and that is told
        self._pair = pair
        destination = self._fleet.connection(self._machine, self._fleet.handshake.arriving)
        destination.ready = self._arrived
        destination.connect(self._fleet.port)

    def _arrived(self, destination: Connection) -> None:
        Answers(destination, canned.WENT_OVER, lambda sequence: self._went_over(destination, sequence))
        self._at = time.perf_counter()
        destination.say(canned.sub(canned.PEER, self._pair))

    def _went_over(self, destination: Connection, sequence: bytes) -> None:
        self._owner.over.append(time.perf_counter() - self._at)
        if sequence != self._sequence:
            return
        self._fleet.gone(self._source)
        self._source.finish()
        destination.say(canned.sub(canned.COMPLETE, sequence))
        self._machine.carried_by(destination)
        self._machine.frozen = False
        self._owner.finished += 1


class Probe:
    """Asks for the start of a vMotion and takes it back, again and again: how long answers take.

    :ivar times: seconds from each BEGIN to its GOAHEAD since they were last taken.
    """

    def __init__(self, machine: Machine, interval: float) -> None:
        assert machine.connection is not None
        self._connection = machine.connection
        self._interval = interval
        self._number = 0
        self._asked = 0.0
        self._waiting = False
        self.times: list[float] = []
        self.due = time.perf_counter()

    def run(self, now: float) -> None:
        """Ask, unless the last answer is still to come."""
        self.due = now + self._interval
        if self._waiting:
            return
        self._number += 1
        self._waiting = True
        Answers(self._connection, canned.WENT_AHEAD, self._answered)
        self._asked = time.perf_counter()
        self._connection.say(canned.sub(canned.BEGIN, canned.sequence(self._number)))

    def _answered(self, _pair: bytes) -> None:
        self.times.append(time.perf_counter() - self._asked)
        self._waiting = False
        self._connection.say(canned.sub(canned.ABORT))

    def take(self) -> list[float]:
        """The times, with that of a question that is not answered yet; they are forgotten."""
        times, self.times = self.times, []
        return [*times, time.perf_counter() - self._asked] if self._waiting else times


def all_movable(fleet: Fleet, machines: Sequence[Machine], in_flight: int, patience: float) -> int:
    """Ask for the start of a vMotion of every machine, so many at a time, and take it back.

    :returns: how many got a GOAHEAD.
    """
    waiting = list(machines)
    total, answered = len(waiting), 0

    def ask() -> None:
        machine = waiting.pop()
        connection = machine.connection
        assert connection is not None
        sequence = canned.sequence(len(waiting))

        def went_ahead(_pair: bytes) -> None:
            nonlocal answered
            answered += 1
            connection.say(canned.sub(canned.ABORT))
            if waiting:
                ask()

        Answers(connection, canned.WENT_AHEAD, went_ahead)
        connection.say(canned.sub(canned.BEGIN, sequence))

    for _ in range(min(in_flight, total)):
        ask()
    fleet.loop.run(lambda: answered >= total, patience)
    return answered
