"""Filters of consoles as people type them: a part of the name, and words about columns, ``state:down host:esx03``.

What a filter asks of a column the operator may not read, it does not find.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import translate

from vmproxy.console.console import Console
from vmproxy.operators.visible import VisibleConsoles

Values = Callable[[VisibleConsoles, Console], Iterable[str]]
"""What a column has for a console, without capitals; nothing where the operator may not read it."""

Fits = Callable[[str], object]


def _tags(view: VisibleConsoles, console: Console) -> Iterable[str]:
    return console.labels.all


def _who(view: VisibleConsoles, console: Console) -> Iterable[str]:
    return [viewer.who.casefold() for viewer in console.watchers]


def _writer(view: VisibleConsoles, console: Console) -> Iterable[str]:
    return [writer.who.casefold() for writer in console.writers]


def _alerts(view: VisibleConsoles, console: Console) -> Iterable[str]:
    marks = view.alerts(console)
    return [name for name, number in marks.fields().items() if number]


COLUMNS: dict[str, Values] = {
    "state": lambda view, console: (console.state,),
    "host": lambda view, console: (console.host.casefold(),),
    "tag": _tags,
    "uri": lambda view, console: (console.uri.casefold(),),
    "uuid": lambda view, console: (str(console.uuid), console.uuid.hex),
    "who": _who,
    "writer": _writer,
    "alerts": _alerts,
}
"""The columns that words of a filter may be about; ``tag`` is a label."""

_BEGINNINGS = ("state", "uuid", "alerts")  # of these a text has to be the beginning
_WORD = re.compile(rf"(?:^| )({'|'.join(COLUMNS)}):([^ ]*)(?= |$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ConsoleFilter:
    """A filter that has been read.

    :ivar name: what the name has to have in it.
    :ivar columns: columns with tests, of which one has to be true in each.
    """

    name: str
    columns: tuple[tuple[Values, tuple[Fits, ...]], ...] = ()

    @classmethod
    def read(cls, text: str) -> ConsoleFilter:
        """Read what somebody has typed; anything means something."""
        columns: list[tuple[Values, tuple[Fits, ...]]] = []
        found = list(_WORD.finditer(text))
        for match in found:
            column = match[1].casefold()
            if wanted := [one for one in match[2].casefold().split(",") if one]:
                columns.append((COLUMNS[column], tuple(_fits(column, one) for one in wanted)))
        return cls(_WORD.sub("", text).strip() if found else text, tuple(columns))

    def fits(self, view: VisibleConsoles, console: Console) -> bool:
        """Whether the columns of a console fit; its name is not looked at."""
        for values, tests in self.columns:
            if not any(fits(value) for value in values(view, console) for fits in tests):
                return False
        return True


def _fits(column: str, wanted: str) -> Fits:
    return (lambda text: text.startswith(wanted)) if column in _BEGINNINGS else finder(wanted)


def is_glob(pattern: str) -> bool:
    """Whether a pattern has ``*`` or ``?`` in it."""
    return "*" in pattern or "?" in pattern


def finder(pattern: str) -> Fits:
    """A function that tells whether a text has a pattern in it; both without capitals."""
    if not is_glob(pattern):
        return lambda text: pattern in text
    # translate() makes an atomic group of each *, so no pattern backtracks for long.
    return re.compile(translate(f"*{pattern.replace('[', '[[]')}*")).match


def begins_column(text: str) -> bool:
    """Whether a colon behind a text belongs to the filter: it ends with the name of a column."""
    return text.rpartition(" ")[2].casefold() in COLUMNS
