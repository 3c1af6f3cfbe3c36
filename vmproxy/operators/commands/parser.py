"""Parsing: the words of a command line to the values of a command's arguments and options.

Whatever the words are, they are values or a :class:`UsageError`. Forms of an option: ``-n 5`` and ``-n5``,
``--since 1h`` and ``--since=1h``, ``-iF`` and ``-i -F``; ``--`` ends the options, and so does the first word of a text
that is typed.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vmproxy.access.policy import Right
from vmproxy.base.nearest import did_you_mean
from vmproxy.base.sanitize import visible
from vmproxy.operators.commands.declaration import Argument, Arguments, Command, Flag, Option, Takes
from vmproxy.operators.commands.errors import HelpWanted, UsageError
from vmproxy.operators.target import Target, parse

HELP = ("-h", "--help")


def split(line: str) -> list[str]:
    """The words of a line, with quotes as a shell knows them."""
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()  # an apostrophe in a name is no quoting


def read_arguments(command: Command, words: Sequence[str], now: float, own: Callable[[], Target | None]) -> Arguments:
    """Read the words behind a command's name.

    :param now: seconds since the epoch.
    :param own: the console of the user name, for commands that are about one console.
    :raises HelpWanted: if help is asked for instead.
    :raises UsageError: if an option is unknown or has no value, or if there are too few words or too many.
    :raises BadTarget: if a console is named with options that mean nothing.
    """
    given: dict[str, str] = {}
    rest = list(_options(command, iter(words), given))
    values: dict[str, object] = {}
    for option in command.options:
        if option.name in given:
            values[option.name] = (
                option.kind.read(option.name, given[option.name], now) if isinstance(option, Option) else True
            )
    _check_groups(command, values)
    values.update(_positional(command, rest, own))
    return Arguments(values, command.right or Right.SEE)


def meant_instead(command: Command, words: Sequence[str]) -> str:
    """The other command that the options mean, as ``console -u`` means ``list -u``; empty if they mean this one.

    :raises UsageError: if an option is unknown or has no value.
    """
    given: dict[str, str] = {}
    list(_options(command, iter(words), given))
    flags = (option for option in command.options if isinstance(option, Flag) and option.instead)
    return next((flag.instead for flag in flags if flag.name in given), "")


def _options(command: Command, words: Iterator[str], given: dict[str, str]) -> Iterator[str]:
    """Take the options out of words; the others are left."""
    flags = {option.name for option in command.options if isinstance(option, Flag)}
    valued = {name: option.name for option in command.options if isinstance(option, Option) for name in option.names}
    arguments = iter(command.arguments)
    for word in words:
        long, equals, value = word.partition("=")
        if word == "--":
            yield from words
        elif not word.startswith("-") or word == "-":
            yield word
            if (argument := next(arguments, None)) is not None and argument.takes is Takes.REST:
                yield from words
        elif word in flags:
            given[word] = ""
        elif word in valued:
            following = next(words, None)
            if following is None:
                raise UsageError(f"{word} needs a value")
            given[valued[word]] = following
        elif equals and long.startswith("--") and long in valued:
            given[valued[long]] = value
        elif not word.startswith("--") and word[:2] in valued:
            given[valued[word[:2]]] = word[2:]
        elif not word.startswith("--") and all(f"-{letter}" in flags for letter in word[1:]):
            given.update((f"-{letter}", "") for letter in word[1:])
        elif word in HELP:
            raise HelpWanted
        else:
            raise UsageError(f"{visible(word)}: no such option{_advice(command, word, long)}")


def _advice(command: Command, word: str, long: str) -> str:
    """What was meant by an option that there is not."""
    names = [name for option in command.options for name in option.names]
    if near := did_you_mean(long, names) if word.startswith("--") else "":
        return near
    if word == "-t" and command.terminal:
        return f"; ssh takes it: ssh -t ... {command.name} NAME"
    return f"; there is {', '.join(names) or 'none'}"


def _check_groups(command: Command, values: dict[str, object]) -> None:
    groups: dict[str, list[str]] = {}
    for option in command.options:
        if option.group:
            groups.setdefault(option.group, []).append(option.name)
    for names in groups.values():
        if sum(name in values for name in names) > 1:
            raise UsageError(f"give one of {', '.join(names[:-1])} and {names[-1]}")


def _positional(
    command: Command, words: Sequence[str], own: Callable[[], Target | None]
) -> Iterator[tuple[str, object]]:
    arguments: Sequence[Argument[Any]] = command.arguments
    if not arguments and words:
        raise UsageError("takes no names")
    if arguments and arguments[0].more and len(words) > 2:
        yield "more", list(words[1:-1])
        words = [words[0], words[-1]]
    if arguments and arguments[0].takes is Takes.CONSOLE:
        name, words = _name(arguments, words, own)
        yield arguments[0].metavar, _target(arguments[0], name, own)
        arguments = arguments[1:]
    for argument in arguments:
        match argument.takes:
            case Takes.WORD:
                if not words:
                    raise UsageError(argument.missing)
                value, words = words[0], words[1:]
                yield argument.metavar, value
            case Takes.OPTIONAL:
                if len(words) > 1 and argument is arguments[-1]:
                    raise UsageError(f"too many words; give {command.usage}")
                yield argument.metavar, "".join(words[:1])
                words = words[1:]
            case Takes.CONSOLE:
                yield argument.metavar, _target(argument, " ".join(words), own) if words or argument.missing else own()
            case Takes.TEXT:
                text = " ".join(words)
                if not text.strip():
                    raise UsageError(argument.missing)
                yield argument.metavar, text
            case Takes.LIST | Takes.REST:
                yield argument.metavar, list(words)


def _name(
    arguments: Sequence[Argument[Any]], words: Sequence[str], own: Callable[[], Target | None]
) -> tuple[str, Sequence[str]]:
    """The name of the console among words, empty for that of the user name; and the words that are left.

    A name may have blanks where nothing follows it. Where something does, it is one word; with a console in the user
    name, a single word is what follows.
    """
    if len(arguments) == 1:
        return " ".join(words), ()
    _, other = arguments
    if other.takes is Takes.REST:
        return "".join(words[:1]), words[1:]
    if len(words) > 2:
        raise UsageError(f"too many words; quote a name with blanks: NAME {other.metavar}")
    if len(words) == 2:
        return words[0], words[1:]
    if words and own() is not None:
        return "", words
    if other.takes is Takes.WORD:
        raise UsageError(f"give NAME {other.metavar}")
    return "".join(words), ()


def _target(argument: Argument[Any], name: str, own: Callable[[], Target | None]) -> Target:
    if name:
        return parse(name)
    target = own()
    if target is None:
        raise UsageError(argument.missing)
    return target
