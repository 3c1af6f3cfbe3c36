"""Access rules, and the options of consoles: values, read once, asked often.

Rules are in an order, and the first one that names both the operator and the console decides; where none does, the
console does not exist for the operator. Options (whether several may write, the input of a named
sequence) are found by the same selectors. Names are compared without regard to capitals, as vSphere itself does.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any
from weakref import WeakValueDictionary

from vmproxy.access.console_options import USUAL, ConsoleOptions
from vmproxy.access.groups import NO_GROUPS, Groups
from vmproxy.access.idle_times import NO_LIMITS, IdleTimes
from vmproxy.access.labels import NO_LABELS, Labels, Pair, over, told_by
from vmproxy.access.selector import Selector, Subject, given
from vmproxy.base import values
from vmproxy.base.form import any_of, formed
from vmproxy.base.schema import InvalidValue, group, required

LABELS_KEPT = 50_000


class Right(enum.Flag):
    """What an operator may do on a console. Most rights include lesser ones; :meth:`closure` says which."""

    NONE = 0
    SEE = enum.auto()
    SPY = enum.auto()
    WRITE = enum.auto()
    FORCE = enum.auto()
    RAW = enum.auto()
    MANY = enum.auto()
    ADMIN = enum.auto()

    def closure(self) -> Right:
        """These rights and all that they include."""
        rights = self
        for right in Right:
            if right in self:
                rights |= _INCLUDES[right]
        return rights

    @property
    def words(self) -> list[str]:
        """The names of the rights as they are written in rules."""
        return list(_spelled(self))  # each row of a list has them


@lru_cache(256)
def _spelled(rights: Right) -> tuple[str, ...]:
    return tuple(str(right.name).lower() for right in Right if right in rights)


_SPY = Right.SEE | Right.SPY
_WRITE = _SPY | Right.WRITE
EVERYTHING = _WRITE | Right.FORCE | Right.RAW | Right.MANY | Right.ADMIN
_INCLUDES = {
    Right.SEE: Right.SEE,
    Right.SPY: _SPY,
    Right.WRITE: _WRITE,
    Right.FORCE: _WRITE | Right.FORCE,
    Right.RAW: _WRITE | Right.RAW,
    Right.MANY: _WRITE | Right.MANY,
    Right.ADMIN: EVERYTHING,
}


_WORDS = ", ".join(EVERYTHING.words)
_NAMES = 'operators, "@groups" or "*"'
_GLOBS = 'globs such as "web*", "uuid:564d*" or "tag:team=blue"'
_names = values.list_of(values.word, _NAMES)
_words = values.list_of(values.word, f"rights of {_WORDS}", may_be_empty=True)


@formed(any_of({"enum": EVERYTHING.words}, {"type": "array", "items": {"enum": EVERYTHING.words}}))
def _rights(value: Any) -> Right:
    words = _words(value)
    wrong = [word for word in words if word not in EVERYTHING.words]
    if wrong:
        raise InvalidValue(*(f"{word!r} is not a right; there are {_WORDS}" for word in wrong))
    rights = Right.NONE
    for word in words:
        rights |= Right[word.upper()]
    return rights.closure()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    :ivar number: its place, from 1.
    :ivar who: operators, ``@groups``, or ``*``.
    :ivar may: the rights, those that they include too; none: it hides.
    :ivar on: which consoles.
    :ivar idle: how long the operators may type nothing there.
    """

    number: int
    who: frozenset[str] = required(values.then(_names, frozenset), _NAMES)
    may: Right = required(_rights, f"rights of {_WORDS}")
    on: tuple[Selector, ...] = required(given, _GLOBS)
    idle: IdleTimes = group(IdleTimes)

    def concerns(self, name: str, groups: Iterable[str]) -> bool:
        return bool({"*", name, *(f"@{group}" for group in groups)} & self.who)

    def selects(self, console: Subject) -> bool:
        return any(selector.selects(console) for selector in self.on)

    def __str__(self) -> str:
        may = f"{', '.join(self.may.words)} on" if self.may else "not see"
        on = ", ".join(selector.text for selector in self.on)
        return f"rule {self.number}: {', '.join(sorted(self.who))} may {may} {on}"


EVERYBODY = Rule(0, frozenset("*"), EVERYTHING, (Selector("*"),))
"""What holds where no rules are written."""


class _ByName:
    """Rules in a row that select by name, as one expression: one look finds the first of them that fits."""

    __slots__ = ("_dotted", "_match", "_match_dotted", "_rules")

    def __init__(self, found: Sequence[tuple[Selector, Rule]]) -> None:
        self._rules = [rule for _, rule in found]
        self._dotted = [number for number, (selector, _) in enumerate(found, 1) if selector.dotted]
        self._match = _first_of([selector for selector, _ in found])
        self._match_dotted = _first_of([selector for selector, _ in found if selector.dotted])

    def decides(self, console: Subject) -> Rule | None:
        name, port = console.name.casefold(), console.port
        match = self._match(name)
        numbers = [match.lastindex or 0] if match is not None else []
        if port != "1":
            if (match := self._match(f"{name}.{port}")) is not None:
                numbers.append(match.lastindex or 0)
        elif self._dotted and (match := self._match_dotted(f"{name}.1")) is not None:
            numbers.append(self._dotted[(match.lastindex or 0) - 1])
        return self._rules[min(numbers) - 1] if numbers else None


def _first_of(selectors: Iterable[Selector]) -> Callable[[str], re.Match[str] | None]:
    return re.compile("|".join(f"({selector.pattern})" for selector in selectors)).match


class _ByTag:
    """Rules in a row that select by labels; many consoles have the same.

    Bound: the rules for :data:`LABELS_KEPT` sets of labels are remembered. What is only told is not among these: a host
    could tell something else each time.
    """

    __slots__ = ("_found", "_known")

    def __init__(self, found: Sequence[tuple[Selector, Rule]]) -> None:
        self._found = found
        self._known: dict[tuple[str, ...], Rule | None] = {}

    def decides(self, console: Subject) -> Rule | None:
        given = console.labels.given
        if not given:
            return None
        try:
            return self._known[given]
        except KeyError:
            if len(self._known) >= LABELS_KEPT:
                self._known.clear()
            rule = next((rule for selector, rule in self._found if selector.selects(console)), None)
            self._known[given] = rule
            return rule


class _ByOther:
    """One selector by something else than a name or a label."""

    __slots__ = ("_rule", "_selects")

    def __init__(self, selector: Selector, rule: Rule) -> None:
        self._selects = selector.selects
        self._rule = rule

    def decides(self, console: Subject) -> Rule | None:
        return self._rule if self._selects(console) else None


def _step(kind: str, found: Sequence[tuple[Selector, Rule]]) -> _ByName | _ByTag | _ByOther:
    match kind:
        case "name":
            return _ByName(found)
        case "tag":
            return _ByTag(found)
    ((selector, rule),) = found
    return _ByOther(selector, rule)


class Grants:
    """The rules that concern one operator.

    :ivar see_all: whether every console is seen, whatever it is.
    :ivar administers: whether a rule makes the operator an administrator of anything, known or not.
    """

    __slots__ = ("_steps", "administers", "see_all")

    def __init__(self, rules: Iterable[Rule]) -> None:
        steps: list[tuple[str, list[tuple[Selector, Rule]]]] = []
        self.see_all = self.administers = hidden = False
        for rule in rules:
            self.administers = self.administers or Right.ADMIN in rule.may
            hidden = hidden or rule.may is Right.NONE
            self.see_all = self.see_all or (not hidden and _has_any(rule))
            for selector in sorted(rule.on, key=lambda selector: selector.kind):  # of one rule the order is the same
                if not steps or steps[-1][0] != selector.kind or selector.kind not in ("name", "tag"):
                    steps.append((selector.kind, []))
                steps[-1][1].append((selector, rule))
        self._steps = tuple(_step(kind, found) for kind, found in steps)

    def decides(self, console: Subject) -> Rule | None:
        """The rule that decides about a console; None if there is none."""
        for step in self._steps:
            if (rule := step.decides(console)) is not None:
                return rule
        return None

    def rights(self, console: Subject) -> Right:
        """What the operator may do."""
        rule = self.decides(console)
        return Right.NONE if rule is None else rule.may

    def idle_times(self, console: Subject) -> IdleTimes:
        """How long the operator may type nothing."""
        rule = self.decides(console)
        return NO_LIMITS if rule is None else rule.idle

    def see(self, console: Subject) -> bool:
        rule = self.decides(console)
        return rule is not None and rule.may is not Right.NONE


@dataclass(frozen=True, slots=True)
class Restriction:
    """What a credential takes away from the rights of its operator.

    :ivar may: the rights that are left, where the operator has them.
    :ivar on: the consoles that are left; None for all.
    :ivar port: the serial port that is left of them; empty for all.
    """

    may: Right = EVERYTHING
    on: tuple[Selector, ...] | None = None
    port: str = ""

    def selects(self, console: Subject) -> bool:
        if self.port and console.port != self.port:
            return False
        return self.on is None or any(selector.selects(console) for selector in self.on)


class RestrictedGrants(Grants):
    """The rules that concern an operator, as far as a credential lets them count.

    Invariant: nothing is granted that the rules do not grant.
    """

    __slots__ = ("_of", "_restriction", "_rules")

    def __init__(self, of: Grants, restriction: Restriction) -> None:
        self._of = of
        self._restriction = restriction
        self._rules: dict[Rule, Rule] = {}
        on = restriction.on
        self.see_all = of.see_all and (on is None or any(selector.kind == "any" for selector in on))
        self.administers = of.administers and Right.ADMIN in restriction.may

    def decides(self, console: Subject) -> Rule | None:
        """The rule that decides about a console, with the rights that are left; None if there is none."""
        rule = self._of.decides(console) if self._restriction.selects(console) else None
        if rule is None:
            return None
        less = self._rules.get(rule)
        if less is None:
            less = self._rules[rule] = replace(rule, may=rule.may & self._restriction.may)
        return less


def _has_any(rule: Rule) -> bool:
    return any(selector.kind == "any" for selector in rule.on)


@dataclass(frozen=True, slots=True)
class ConsoleSection:
    """Options of some consoles; ``values`` are fields of :class:`ConsoleOptions`."""

    on: tuple[Selector, ...] = required(given, _GLOBS)
    values: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules, and all options of consoles.

    :ivar rules: in order; the first that fits decides.
    :ivar sections: in order; of each value the first that fits counts.
    :ivar groups: give labels to consoles.
    """

    rules: tuple[Rule, ...] = (EVERYBODY,)
    sections: tuple[ConsoleSection, ...] = ()
    groups: Groups = NO_GROUPS
    _labels: WeakValueDictionary[tuple[tuple[Pair, ...], ...], Labels] = field(
        default_factory=WeakValueDictionary, compare=False, repr=False
    )
    _made: dict[tuple[int, ...], ConsoleOptions] = field(default_factory=dict, compare=False, repr=False)
    _granted: dict[tuple[int, ...], Grants] = field(default_factory=dict, compare=False, repr=False)

    def grants(self, name: str, groups: Sequence[str] = ()) -> Grants:
        """The rules that concern an operator; operators with the same rules share the result."""
        concerning = tuple(n for n, rule in enumerate(self.rules) if rule.concerns(name, groups))
        if concerning not in self._granted:
            self._granted[concerning] = Grants(self.rules[n] for n in concerning)
        return self._granted[concerning]

    @property
    def forgets(self) -> bool:
        """Whether consoles are forgotten after some time."""
        return self._sets("forget_after")

    @property
    def has_idle_limits(self) -> bool:
        """Whether operators who type nothing lose something."""
        by_rule = any(rule.idle for rule in self.rules)
        return by_rule or self._sets("idle_write") or self._sets("idle_disconnect")

    def _sets(self, option: str) -> bool:
        return any(name == option and value for section in self.sections for name, value in section.values)

    def options(self, console: Subject) -> ConsoleOptions:
        """The options of a console; consoles with the same options share the result."""
        if not self.sections:
            return USUAL
        fitting = tuple(n for n, section in enumerate(self.sections) if any(s.selects(console) for s in section.on))
        options = self._made.get(fitting)
        if options is None:
            values: dict[str, Any] = {}
            for n in reversed(fitting):
                values.update(self.sections[n].values)
            options = self._made[fitting] = ConsoleOptions(**values)
        return options

    def labels(self, console: Subject, known: tuple[Pair, ...] = (), trusted: tuple[Pair, ...] = ()) -> Labels:
        """The labels of a console, on any thread; consoles with the same labels share the result, mostly.

        :param known: what else is known of it and only told; ``trusted``: what is known and given.
        """
        given = over(self.groups.labels(console), trusted)
        told = over(known, told_by(console.uri))
        if not given and not told:
            return NO_LABELS
        made = self._labels.get((given, told))
        if made is None:
            made = self._labels[given, told] = Labels(given, told)
        return made
