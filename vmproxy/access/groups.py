"""Groups: labels that an administrator gives to consoles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmproxy.access.labels import LABELS_LIMIT, VALUE_LIMIT, Pair, is_key, merged
from vmproxy.access.selector import BadRule, Selector, Subject
from vmproxy.base import values
from vmproxy.base.form import form_of, formed
from vmproxy.base.schema import InvalidValue, required

GROUPS_LIMIT = 20_000
MADE_LIMIT = 50_000
_KEYS = "a key has letters, digits, '_', '.' and '-', 64 at most, and begins with none of the last two"


def _selector(value: Any) -> Selector:
    selector = Selector(values.word(value))
    if selector.kind == "tag":
        raise BadRule(f"{selector.text!r}: a group gives labels, and cannot select by them")
    return selector


def _value(value: Any) -> str:
    text = values.word(value)
    if not text.isprintable() or len(text) > VALUE_LIMIT or text != text.strip():
        raise InvalidValue(f"{text!r} is not the value of a label: at most {VALUE_LIMIT} characters that can be shown")
    return text


_values = values.list_of(_value, "")


@formed({"type": "object", "additionalProperties": form_of(_values)})
def _labels(value: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(value, dict) or not value:
        raise InvalidValue('give labels such as { team = "web", role = ["proxy", "cache"] }')
    if wrong := [key for key in value if not is_key(key)]:
        raise InvalidValue(*(f"{key!r}: {_KEYS}" for key in wrong))
    found = tuple((key, _values(text)) for key, text in value.items())
    if sum(len(texts) for _, texts in found) > LABELS_LIMIT:
        raise InvalidValue(f"at most {LABELS_LIMIT} labels")
    return found


@dataclass(frozen=True, slots=True)
class Group:
    """One group.

    :ivar on: which consoles.
    :ivar labels: values by key.
    """

    on: tuple[Selector, ...] = required(
        values.list_of(_selector, ""), 'globs such as "web*", "uuid:564d*" or "query:team=blue"'
    )
    labels: tuple[tuple[str, tuple[str, ...]], ...] = required(_labels, 'labels such as { team = "web" }')


class Groups:
    """All groups, in order: of each key the first group that has a console counts.

    A console costs two look-ups and one comparison for each glob: names and UUIDs without ``*``, ``?`` and ``[`` are
    looked up. So an inventory may give each VM a group of its own.
    """

    __slots__ = ("_globs", "_labels", "_made", "_names", "_uuids", "all")

    def __init__(self, groups: Sequence[Group] = ()) -> None:
        self.all = tuple(groups)
        self._labels: list[Mapping[str, tuple[str, ...]]] = [dict(group.labels) for group in groups]
        self._names: dict[str, list[int]] = {}
        self._uuids: dict[str, list[int]] = {}
        self._globs: list[tuple[int, Selector]] = []
        self._made: dict[tuple[int, ...], tuple[Pair, ...]] = {(): ()}
        for number, group in enumerate(groups):
            for selector in group.on:
                table = {"name": self._names, "uuid": self._uuids}.get(selector.kind)
                if table is None or any(char in selector.glob for char in "*?["):
                    self._globs.append((number, selector))
                else:
                    table.setdefault(selector.glob.casefold(), []).append(number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Groups) and other.all == self.all

    def __hash__(self) -> int:
        return hash(self.all)

    def __bool__(self) -> bool:
        return bool(self.all)

    def labels(self, console: Subject) -> tuple[Pair, ...]:
        """The labels that groups give to a console; consoles of the same groups share the result."""
        if not self.all:
            return ()
        numbers: set[int] = set()
        if self._names:
            name = console.name.casefold()
            numbers.update(self._names.get(name, ()))
            numbers.update(self._names.get(f"{name}.{console.port}", ()))
        if self._uuids:
            numbers.update(self._uuids.get(str(console.uuid), ()))
        numbers.update(
            number for number, selector in self._globs if number not in numbers and selector.selects(console)
        )
        fitting = tuple(sorted(numbers))
        made = self._made.get(fitting)
        if made is None:
            if len(self._made) >= MADE_LIMIT:
                self._made.clear()
            made = self._made[fitting] = merged(self._labels[number] for number in fitting)
        return made


NO_GROUPS = Groups()
