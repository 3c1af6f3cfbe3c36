"""Declarations of commands: name, arguments, options and right as data, one entry for each command.

Parsing, help, completion, the reference in ``docs/`` and the check of the right are made from them; see
:mod:`~vmproxy.operators.commands.parser`. An option is written once: where it is declared. Functions ask for its value
with the declaration itself, ``args[SINCE]``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Generic, Protocol, TypeVar, cast, overload

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import visible
from vmproxy.base.timeparse import BadTime, parse_when
from vmproxy.operators.commands.errors import UsageError
from vmproxy.operators.session import Session
from vmproxy.operators.target import Target

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
D = TypeVar("D")


# Kinds of values.


class Kind(Protocol[T_co]):
    """A kind of value that an option may have."""

    def read(self, option: str, text: str, now: float) -> T_co:
        """The value that a text means.

        :param option: the option's name, for the error.
        :param now: seconds since the epoch.
        :raises UsageError: if it means none; the text says what would be right.
        """


@dataclass(frozen=True, slots=True)
class Text:
    """A text of at most so many characters."""

    most: int = 4096

    def read(self, option: str, text: str, now: float) -> str:
        if len(text) > self.most:
            raise UsageError(f"{option}: at most {self.most} characters")
        return text


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within bounds."""

    least: int
    most: int

    def read(self, option: str, text: str, now: float) -> int:
        if not (len(text) <= 9 and text.isascii() and text.isdecimal() and self.least <= int(text) <= self.most):
            raise UsageError(f"{option} needs a number from {self.least} to {self.most}, not {visible(text)!r}")
        return int(text)


@dataclass(frozen=True, slots=True)
class Real:
    """A number within bounds."""

    least: float
    most: float

    def read(self, option: str, text: str, now: float) -> float:
        try:
            number = float(text if len(text) < 20 and text.isascii() else "")
        except ValueError:
            number = -1.0
        if not self.least <= number <= self.most:
            bounds = f"{self.least:.10g} to {self.most:.10g}"
            raise UsageError(f"{option} needs a number from {bounds}, not {visible(text)!r}")
        return number


@dataclass(frozen=True, slots=True)
class Time:
    """A moment as people write it, as seconds since the epoch."""

    def read(self, option: str, text: str, now: float) -> float:
        try:
            return parse_when(text, now)
        except BadTime as error:
            raise UsageError(f"{option}: {error}") from None


# Arguments and options.


@dataclass(frozen=True, slots=True)
class Flag:
    """An option without a value.

    :ivar group: of all options of a group at most one may be given.
    :ivar hidden: not shown in the usage: conserver's forms, and what another command explains.
    :ivar right: the right that it may need, beyond that of the command.
    :ivar instead: the command that is meant with this option.
    """

    name: str
    help: str = ""
    group: str = ""
    hidden: bool = False
    right: Right | None = None
    instead: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def usage(self) -> str:
        return f"[{self.name}]"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Option(Generic[T_co]):
    """An option with a value; see :class:`Flag`.

    :ivar metavar: the value in the usage.
    :ivar long: another spelling.
    """

    name: str
    metavar: str
    kind: Kind[T_co]
    help: str = ""
    long: str = ""
    group: str = ""
    hidden: bool = False
    right: Right | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, self.long) if self.long else (self.name,)

    @property
    def usage(self) -> str:
        return f"[{self.name} {self.metavar}]"

    def __str__(self) -> str:
        return self.name


class Takes(Enum):
    """The words that an argument takes."""

    CONSOLE = auto()  # the words of a console's name; without any, that of the user name; None where `missing` is empty
    WORD = auto()
    OPTIONAL = auto()  # a word, or none
    LIST = auto()  # all that are left
    REST = auto()  # all that are left, whatever they look like: no options among them
    TEXT = auto()  # all that are left, as one text


@dataclass(frozen=True, slots=True)
class Argument(Generic[T_co]):
    """Words that are no option.

    :ivar metavar: the argument in the usage.
    :ivar missing: the error where there is none of it.
    :ivar completes: how it is completed: ``console``, ``command``, ``action``, or not at all.
    """

    metavar: str
    takes: Takes
    help: str = ""
    missing: str = ""
    completes: str = ""
    more: bool = False

    @property
    def usage(self) -> str:
        if self.more:
            return f"{self.metavar}..."
        match self.takes:
            case Takes.LIST | Takes.REST:
                return f"[{self.metavar}...]"
            case Takes.OPTIONAL:
                return f"[{self.metavar}]"
            case Takes.CONSOLE if not self.missing:
                return f"[{self.metavar}]"
        return self.metavar


Parameter = Flag | Option[Any] | Argument[Any]


class Arguments:
    """Values of one call of a command.

    :ivar right: the right that the command needs on the consoles that it is about.
    """

    __slots__ = ("_values", "right")

    def __init__(self, values: dict[str, object], right: Right) -> None:
        self._values = values
        self.right = right

    @overload
    def __getitem__(self, key: Argument[T]) -> T: ...
    @overload
    def __getitem__(self, key: Option[T]) -> T | None: ...
    def __getitem__(self, key: Any) -> Any:
        """The value of an argument, or of an option; None where the option was not given."""
        return self._values[key.metavar] if isinstance(key, Argument) else self._values.get(key.name)

    def get(self, option: Option[T], default: D) -> T | D:
        """The value of an option, or another where it was not given."""
        return cast("T | D", self._values.get(option.name, default))

    @property
    def more(self) -> list[str]:
        """The words that follow the first of an argument that may have more."""
        return cast("list[str]", self._values.get("more", []))

    def __contains__(self, option: Flag | Option[Any]) -> bool:
        return option.name in self._values


# Commands.


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    :ivar summary: what it does, in a line.
    :ivar run: the function: it prints to the session and returns the exit status.
    :ivar parameters: arguments and options, in the order of the usage.
    :ivar right: the right that it needs on the consoles that it is about; None where it is about none.
    :ivar aliases: other names.
    :ivar notes: the rest of its help, lines for people.
    :ivar terminal: whether it is of use only at a terminal.
    """

    name: str
    summary: str
    run: Callable[[Session, Arguments], Awaitable[int]]
    parameters: tuple[Parameter, ...] = ()
    right: Right | None = None
    aliases: tuple[str, ...] = ()
    notes: str = ""
    terminal: bool = False

    @property
    def arguments(self) -> list[Argument[Any]]:
        return [one for one in self.parameters if isinstance(one, Argument)]

    @property
    def options(self) -> list[Flag | Option[Any]]:
        """The options, the hidden ones too."""
        return [one for one in self.parameters if not isinstance(one, Argument)]

    @property
    def json(self) -> bool:
        """Whether it can answer scripts."""
        return JSON in self.parameters

    @property
    def usage(self) -> str:
        """Arguments and options as ``help`` and the reference show them; flags of one group together."""
        parts: list[str] = []
        group = ""
        for one in self.parameters:
            if isinstance(one, Argument):
                parts.append(one.usage)
                group = ""
            elif not one.hidden:
                if isinstance(one, Flag) and one.group and one.group == group:
                    parts[-1] = f"{parts[-1][:-1]}|{one.name}]"
                else:
                    parts.append(one.usage)
                group = one.group if isinstance(one, Flag) else ""
        return " ".join(parts)


JSON = Flag("--json", "JSON, for scripts")
NAME: Argument[Target] = Argument("NAME", Takes.CONSOLE, missing="which console? give its name", completes="console")
GLOBS: Argument[list[str]] = Argument(
    "GLOB",
    Takes.LIST,
    "a name with * and ?, or tag:GLOB (a label), uuid:GLOB, query:GLOB (of the service URI)",
    completes="console",
)
SINCE = Option("--since", "T", Time(), "from then on: 10m, 1d12h, 16:00, yesterday, 2026-11-22, 2026-11-22T16:09:13Z")
UNTIL = Option("--until", "T", Time(), "up to then")
