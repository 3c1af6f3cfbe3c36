"""Lists that are read page by page: each is kept as it was at its first page.

So paging leaves out and repeats nothing that was there all the time, whatever moves in the list meanwhile.
Bound: :data:`LISTS` lists, :data:`EACH` of one operator; who has more gives up the oldest.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from secrets import token_urlsafe
from typing import Any

LISTS = 64
EACH = 8


class KeptLists:
    """The lists that are being read."""

    def __init__(self) -> None:
        self._lists: OrderedDict[str, tuple[str, str, Sequence[Any]]] = OrderedDict()

    def first(self, operator: str, kind: str, items: Sequence[Any], limit: int) -> str | None:
        """Keep a list of which the first page is given out.

        :param kind: of the items.
        :returns: what gives the next page; None if there is none.
        """
        if len(items) <= limit:
            return None
        own = [name for name, (owner, _, _) in self._lists.items() if owner == operator]
        if len(own) >= EACH:
            del self._lists[own[0]]
        elif len(self._lists) >= LISTS:
            self._lists.popitem(last=False)
        name = token_urlsafe(12)
        self._lists[name] = operator, kind, items
        return f"{name}.{limit}"

    def page(self, operator: str, kind: str, after: str, limit: int) -> tuple[Sequence[Any], str | None, int] | None:
        """A page of a list.

        :param after: what was given as the next page.
        :returns: the items, what gives the next page, and how many there are in all; None if the list is not kept, is
            somebody else's, or one of other things.
        """
        name, _, place = after.partition(".")
        owner, of, items = self._lists.get(name, ("", "", ()))
        if (owner, of) != (operator, kind) or not (len(place) <= 9 and place.isascii() and place.isdecimal()):
            return None
        self._lists.move_to_end(name)
        start = int(place)
        end = start + limit
        return items[start:end], f"{name}.{end}" if end < len(items) else None, len(items)
