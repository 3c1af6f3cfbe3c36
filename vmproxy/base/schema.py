"""Settings as fields of frozen dataclasses: read from TOML, with everything that is wrong told at once.

A settings class is defined where its settings are used. Its fields say what may be written::

    @dataclass(frozen=True, slots=True)
    class VMSettings:
        keep_idle: int = setting(whole(0, 32767), 300)      # keep-idle
        limits: Limits = group(Limits)                      # settings in the same table

The key is the name of the field with dashes. A *kind* turns what TOML gives into what the program uses, or raises a
:class:`VMProxyError` that says what would be right. A class may have a method ``contradictions(wrong)``, which yields
a key and a text for each value that does not go with the others; fields in ``wrong`` have no value to judge by.

Invariant: an unknown key is a problem too, because a misspelt setting that is ignored is worse than no start.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from vmproxy.base.sanitize import visible
from vmproxy.base.toml import KeyPath, TomlFile
from vmproxy.errors import VMProxyError

T = TypeVar("T")

_NO_SETTING = "there is no such setting"


class InvalidValue(VMProxyError):
    """A value that cannot be used; each text says what would be right."""

    def __init__(self, *texts: str) -> None:
        super().__init__("; ".join(texts))
        self.texts = texts


class Problem(NamedTuple):
    """Something that is wrong with a file."""

    path: KeyPath
    text: str

    def __str__(self) -> str:
        return f"{label(self.path)}: {self.text}"


def told(problems: Iterable[Problem], file: TomlFile) -> list[str]:
    """The problems with the file and the line in front of each, in the order of the lines."""
    placed = sorted(((file.line(problem.path) or 0, problem) for problem in problems), key=lambda pair: pair[0])
    return [f"{file.name}:{line}: {problem}" if line else f"{file.name}: {problem}" for line, problem in placed]


def label(path: KeyPath) -> str:
    """The way to a value as people read it: ``vm.listen``, ``rule 2: who``."""
    text = separator = ""
    for part in path:
        if isinstance(part, int):
            text, separator = f"{text} {part + 1}", ": "
        else:
            text, separator = text + separator + visible(part), "."
    return text


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a class.

    :ivar attributes: the way to its value, from an object of the class.
    :ivar kind: turns what TOML gives into what the program uses.
    :ivar option: the command line option that overrides it, if there is one.
    :ivar restart: whether a change waits for a restart.
    :ivar needed: what to give, where there is no default.
    """

    key: str
    kind: Callable[[Any], Any]
    option: str = ""
    restart: bool = False
    needed: str = ""
    attributes: tuple[str, ...] = ()

    def of(self, settings: Any) -> Any:
        """The value in an object of the class."""
        for name in self.attributes:
            settings = getattr(settings, name)
        return settings

    def put(self, settings: T, value: Any) -> T:
        """The same object with another value."""
        return cast(T, _put(settings, self.attributes, value))


def setting(
    kind: Callable[[Any], T],
    default: T,
    *,
    key: str = "",
    option: str = "",
    restart: bool = False,
    secret: bool = False,
) -> T:
    """A field that is a setting.

    :param default: what the program uses, not what TOML gives.
    :param secret: whether the object's ``repr`` leaves it out.
    """
    return field(default=default, repr=not secret, metadata={Setting: Setting(key, kind, option, restart)})


def required(kind: Callable[[Any], T], needed: str, *, key: str = "") -> T:
    """A field that is a setting without a default; ``needed`` is what to give."""
    return cast(T, field(metadata={Setting: Setting(key, kind, needed=needed)}))


def group(settings: type[T], **defaults: Any) -> T:
    """A field that holds another settings class, whose keys are in the same table."""
    return field(default_factory=partial(settings, **defaults), metadata={group: settings})


def section(settings: type[T]) -> T:
    """A field that holds another settings class, whose keys are in a table of its own."""
    return field(default_factory=settings, metadata={section: settings})


def settings_of(settings: type) -> Mapping[str, Setting]:
    """All settings of a class, groups and sections included, by key."""
    found: dict[str, Setting] = {}
    for one in fields(settings):
        name = one.name.replace("_", "-")
        own = one.metadata.get(Setting)
        inner = one.metadata.get(group) or one.metadata.get(section)
        if own is not None:
            found[own.key or name] = replace(own, key=own.key or name, attributes=(one.name,))
        elif inner is not None:
            prefix = f"{name}." if section in one.metadata else ""
            for key, deep in settings_of(inner).items():
                found[prefix + key] = replace(deep, key=prefix + key, attributes=(one.name, *deep.attributes))
    return found


class _Judge(Protocol):
    def contradictions(self, wrong: Collection[str]) -> Iterator[tuple[str, str]]: ...


def read(
    settings: type[T],
    table: Mapping[str, Any],
    problems: list[Problem],
    path: KeyPath = (),
    nearest: Callable[[KeyPath], str] | None = None,
    also: Collection[str] = (),
    **given: Any,
) -> T | None:
    """Read a table into a settings class, with defaults in place of wrong values.

    :param problems: gets everything that is wrong.
    :param path: the way to the table.
    :param nearest: what is said about a key that nothing knows, behind "there is no such setting".
    :param also: keys that the caller reads.
    :param given: values of fields that are not settings.
    :returns: None if a value without a default is missing or wrong.
    """
    sections = {one.name.replace("_", "-"): one for one in fields(cast(Any, settings)) if section in one.metadata}
    for key, one in sections.items():
        inner = table.get(key, {})
        if isinstance(inner, dict):
            given[one.name] = read(one.metadata[section], inner, problems, (*path, key), nearest)
        else:
            problems.append(Problem((*path, key), f"this is a section; write [{key}] and its settings below"))
    known = {key: own for key, own in settings_of(settings).items() if "." not in key}
    found: list[Problem] = []
    elsewhere = {*sections, *also}
    own = {key: value for key, value in table.items() if key not in elsewhere}
    nearest = nearest or partial(_nearest, [*known, *elsewhere])
    values = read_values(known, own, found, path, nearest)
    needed = {key: one.needed for key, one in known.items() if one.needed}
    found += [Problem((*path, key), f"is missing; give {what}") for key, what in needed.items() if key not in table]
    problems += found
    if needed.keys() - values.keys():
        return None
    made = make(settings, values, **given)
    if hasattr(made, "contradictions"):
        wrong = {str(problem.path[len(path)]) for problem in found}
        problems += [Problem((*path, key), text) for key, text in cast(_Judge, made).contradictions(wrong)]
    return made


def make(settings: type[T], checked: Mapping[str, Any], /, **given: Any) -> T:
    """An object of a settings class from checked values, of which there may be more than it has.

    :param given: values of fields that are not settings.
    """
    own = {key: one for key, one in settings_of(settings).items() if key in checked}
    deep = {key for key, one in own.items() if len(one.attributes) > 1}
    made = settings(**{one.attributes[0]: checked[key] for key, one in own.items() if key not in deep}, **given)
    for key in deep:
        made = own[key].put(made, checked[key])
    return made


def read_values(
    known: Mapping[str, Setting],
    table: Mapping[str, Any],
    problems: list[Problem],
    path: KeyPath = (),
    nearest: Callable[[KeyPath], str] | None = None,
) -> dict[str, Any]:
    """The good values of a table, by key."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        own = known.get(key)
        place = (*path, key)
        if own is None:
            problems.append(Problem(place, _NO_SETTING + (nearest(place) if nearest else _nearest(known, place))))
            continue
        try:
            values[key] = own.kind(value)
        except InvalidValue as error:
            problems += [Problem(place, text) for text in error.texts]
        except VMProxyError as error:
            problems.append(Problem(place, str(error)))
    return values


def tables(name: str, value: Any, problems: list[Problem]) -> list[dict[str, Any]]:
    """The tables that are written ``[[name]]``."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
        problems.append(Problem((name,), f"write [[{name}]], in double brackets, for each"))
        return []
    return value


def _nearest(known: Iterable[str], place: KeyPath) -> str:
    *path, key = place
    near = difflib.get_close_matches(str(key), known, 1, 0.6)
    if near:
        return f"; did you mean {near[0] if path and isinstance(path[-1], int) else label((*path, near[0]))}?"
    return f"; there are {', '.join(known)}"


def _put(settings: Any, attributes: tuple[str, ...], value: Any) -> Any:
    name, *rest = attributes
    return replace(settings, **{name: _put(getattr(settings, name), tuple(rest), value) if rest else value})
