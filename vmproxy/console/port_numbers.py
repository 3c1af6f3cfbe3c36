"""Which port of its VM a connection is, where its service URI has no label.

Such ports are told apart by different URIs, but only while both are open: a port whose URI was edited is still the same
port. Those with one URI displace each other, each time that the host dials again, until it is seen that they are two.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime

from vmproxy.base.ratelimit import REPEAT_SECONDS
from vmproxy.console.console import Console
from vmproxy.wire.dialuri import is_dialled
from vmproxy.wire.serviceuri import parse

DISPLACEMENTS = 3
REMEMBERED = 1024


class PortNumbers:
    """Finds the port of a connection without a label.

    Bound: :data:`REMEMBERED` consoles of which a connection was displaced.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._displaced: dict[Console, tuple[float, int]] = {}  # since when, how often; oldest first

    def port_of(self, there: Sequence[Console], uri: str, word: str | None, edited: bool = True) -> str:
        """The port of a connection.

        :param there: the consoles of its VM.
        :param edited: whether another URI than before may be that of the same port; else it is another one.
        :param word: the label for one that is not known by its URI; None: a number.
        """
        # One that is dialled for and one that waits to be reached are two ports in any case; so is one with a label,
        # also while it is down.
        dialled = is_dialled(uri)
        siblings = [c for c in there if not _has_label(c) and is_dialled(c.uri) is dialled]
        if alike := [c for c in (*siblings, *_named(there, word)) if c.uri == uri]:
            return next((c for c in alike if _is_free(c)), alike[0]).port
        if word is not None:
            return word
        for console in siblings if edited else ():
            if _is_free(console):
                return console.port
        return next_number(there)

    def are_two(self, console: Console, host: str) -> bool:
        """Whether a connection that is about to displace the one of a console is that of another port.

        :param host: the address of its host; two ports of one VM are on one host.
        """
        there = console.link
        if there is None or there.peer != host or console.migrating:
            return False
        now = self._clock.seconds()
        since, times = self._displaced.pop(console, (now, 0))
        if not 0 <= now - since < REPEAT_SECONDS:
            since, times = now, 0
        if times + 1 >= DISPLACEMENTS:
            return True
        if len(self._displaced) >= REMEMBERED:
            del self._displaced[next(iter(self._displaced))]
        self._displaced[console] = since, times + 1
        return False


def next_number(there: Sequence[Console]) -> str:
    """The first number that no port of a VM has."""
    taken = {console.port for console in there}
    return next(str(number) for number in range(1, len(taken) + 2) if str(number) not in taken)


def _is_free(console: Console) -> bool:
    return console.link is None and not console.migrating


def _has_label(console: Console) -> bool:
    if console.port == "1":
        return False
    uri = parse(console.uri)
    return uri.port is not None or uri.service == console.port


def _named(there: Sequence[Console], word: str | None) -> Sequence[Console]:
    return [c for c in there if c.port == word and c.port != "1"] if word is not None else ()
