"""The consoles that some rules show, in the order of their titles: remembered, for there may be 16,000.

It is worked out in turns when somebody asks, and again when a console, a name or the rules have changed since.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from vmproxy.access.policy import Grants
from vmproxy.base.turns import Turns, sort_steps
from vmproxy.console.console import Console
from vmproxy.console.registry import ConsoleRegistry
from vmproxy.operators.visible import VisibleConsoles

ORDERS = 8
AT_ONCE = 64

Key = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class OrderedConsole:
    """A console in its place.

    :ivar key: what it is sorted by: its title without capitals, and what makes it the only one.
    """

    key: Key
    console: Console


class VisibleOrders:
    """The orders that were asked for last. Bound: :data:`ORDERS` sets of rules."""

    def __init__(self, registry: ConsoleRegistry) -> None:
        self._registry = registry
        self._orders: OrderedDict[Grants, tuple[int, Sequence[OrderedConsole]]] = OrderedDict()

    async def of(self, view: VisibleConsoles, turns: Turns, who: str) -> Sequence[OrderedConsole]:
        """The consoles that an operator sees.

        :param turns: has the time that it takes; ``who``: whose time.
        """
        await view.ready(turns, who)
        grants, version = view.grants, self._registry.names.version
        kept = self._orders.get(grants)
        if kept is not None and kept[0] == version:
            self._orders.move_to_end(grants)
            return kept[1]
        # What changes meanwhile is not in it, as if it had been asked for before; it is not kept then.
        found: list[OrderedConsole] = []
        consoles = list(view)
        for at in range(0, len(consoles), AT_ONCE):
            await view.ready(turns, who)
            found += [OrderedConsole(_key(console), console) for console in consoles[at : at + AT_ONCE]]
        for _ in sort_steps(found, lambda one: one.key):
            await view.ready(turns, who)
        if version == self._registry.names.version:
            self._orders[grants] = version, found
            self._orders.move_to_end(grants)
            while len(self._orders) > ORDERS:
                self._orders.popitem(last=False)
        return found


def _key(console: Console) -> Key:
    return console.title.casefold(), console.uuid.int, console.port
