"""Output that waits for its console, or for the connection before."""

from __future__ import annotations

from dataclasses import dataclass

from vmproxy.vm.extension import Terms

EARLY_LIMIT = 256 * 1024
EARLY_IN_ALL = 64 * 1024 * 1024  # thousands of those that have not said which VM they are may be nobody's
EARLY_LEAST = 4 * 1024  # of each of them, whatever the others have


@dataclass(frozen=True, slots=True)
class EarlyState:
    """Output that waits.

    :ivar lost: how many bytes more there were than could be kept.
    :ivar counted: how many of the bytes are in the sum of all sessions.
    """

    data: bytes
    lost: int
    counted: int


class EarlyOutput:
    """The output of one connection that waits.

    Bound: :data:`EARLY_LIMIT`, and :data:`EARLY_LEAST` where connections without a console have more than
    :data:`EARLY_IN_ALL` together. What waits for the connection before has no bound here: its host is not read from.
    """

    __slots__ = ("_counted", "_data", "_lost", "_terms")

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._data = bytearray()
        self._lost = 0
        self._counted = 0

    def keep(self, data: bytes, known: bool) -> None:
        """Keep what there is room for, and count the rest.

        Reading must go on, for the identity may stand behind this data.

        :param known: whether it is known which console it is for.
        """
        crowded = not known and self._terms.early >= EARLY_IN_ALL
        room = (EARLY_LEAST if crowded else EARLY_LIMIT) - len(self._data)
        kept = data[: 0 if self._lost else max(0, room)]
        self._data += kept
        self._lost += len(data) - len(kept)
        self._counted += len(kept)
        self._terms.count_early(len(kept))

    def keep_all(self, data: bytes) -> bool:
        """Keep it; :returns: whether the host should not be read from any more."""
        self._data += data
        return len(self._data) > EARLY_LIMIT

    def take(self) -> tuple[bytes, int]:
        """Empty it; :returns: what was kept, and how many bytes were not."""
        data, lost = bytes(self._data), self._lost
        self._data.clear()
        self._lost = 0
        self.discount()
        return data, lost

    def discount(self) -> None:
        """Take it out of the sum of all sessions."""
        self._terms.count_early(-self._counted)
        self._counted = 0

    def __len__(self) -> int:
        return len(self._data)

    def snapshot(self) -> EarlyState:
        """The output as a value."""
        return EarlyState(bytes(self._data), self._lost, self._counted)

    @classmethod
    def restore(cls, state: EarlyState, terms: Terms) -> EarlyOutput:
        """Go on where another connection was."""
        early = cls(terms)
        early._data += state.data
        early._lost = state.lost
        early._counted = state.counted
        terms.count_early(state.counted)
        return early
