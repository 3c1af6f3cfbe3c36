"""The words of a command: whatever they are, they are values or a usage error that says what would be right."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.access.policy import Right
from vmproxy.operators.commands.declaration import (
    GLOBS,
    JSON,
    NAME,
    SINCE,
    Argument,
    Arguments,
    Command,
    Flag,
    Option,
    Real,
    Takes,
    Text,
    Whole,
)
from vmproxy.operators.commands.errors import UsageError
from vmproxy.operators.commands.parser import meant_instead, read_arguments, split
from vmproxy.operators.commands.registry import COMMANDS, TABLE
from vmproxy.operators.session import Session
from vmproxy.operators.target import BadTarget, Target

NOW = 1_700_000_000.0
OWN = Target("own")


async def nothing(session: Session, args: Arguments) -> int:
    raise AssertionError


FOLLOW = Flag("-f")
FIXED = Flag("-F", group="kind")
PLAIN = Flag("-i", group="kind")
OTHER = Flag("-u", hidden=True, instead="list")
LINES = Option("-n", "LINES", Whole(0, 100))
SPEED = Option("--speed", "N", Real(0.5, 10))
COLUMNS = Option("-c", "COLUMNS", Text(10), long="--columns", group="kind")
WORD: Argument[str] = Argument("WORD", Takes.WORD, missing="give a word")
MAYBE: Argument[str] = Argument("MAYBE", Takes.OPTIONAL)
TEXT: Argument[str] = Argument("TEXT", Takes.TEXT, missing="give a text")
OPTIONS = (FOLLOW, FIXED, PLAIN, OTHER, LINES, SPEED, SINCE, COLUMNS, JSON)


def read(words: str | list[str], *arguments: Argument[object], own: Target | None = None) -> Arguments:
    command = Command("test", "", nothing, (*arguments, *OPTIONS), Right.SPY)
    return read_arguments(command, shlex.split(words) if isinstance(words, str) else words, NOW, lambda: own)


def error(words: str | list[str], *arguments: Argument[object], own: Target | None = None) -> str:
    with pytest.raises(UsageError) as raised:
        read(words, *arguments, own=own)
    return str(raised.value)


@pytest.mark.parametrize("words", ["-n 5 -f x", "-n5 -f x", "-f -n5 x", "x -fn5", "-n5 x -f", "-f -n 4 -n 5 -- x"])
def test_forms_of_options_are_the_same(words: str) -> None:
    if words == "x -fn5":
        assert "no such option" in error(words, GLOBS)
        return
    args = read(words, GLOBS)
    assert (args[LINES], FOLLOW in args, PLAIN in args, args[GLOBS]) == (5, True, False, ["x"])


def test_values() -> None:
    args = read("--speed=2.5 --since 10m -c a=b --json -f -i".replace(" -i", ""), GLOBS)
    assert (args[SPEED], args[SINCE], args[COLUMNS], JSON in args) == (2.5, NOW - 600, "a=b", True)
    assert read("--columns x", GLOBS)[COLUMNS] == read("--columns=x", GLOBS)[COLUMNS] == "x"
    assert read("", GLOBS)[LINES] is None
    assert read("", GLOBS).get(LINES, 7) == 7
    assert read("-n0", GLOBS).get(LINES, 7) == 0
    assert read("-- -f", GLOBS)[GLOBS] == ["-f"]
    assert read("- -fF", GLOBS)[GLOBS] == ["-"]
    assert read("").right == Right.SPY


@each(
    ("words", "told"),
    [
        ("-n", "-n needs a value"),
        ("-n x", "-n needs a number from 0 to 100, not 'x'"),
        ("-n101", "-n needs a number from 0 to 100, not '101'"),
        ("-n \u0661", "-n needs a number from 0 to 100, not '\u0661'"),
        ("-n 99999999999999999999", "-n needs a number from 0 to 100, not '99999999999999999999'"),
        ("--speed nan", "--speed needs a number from 0.5 to 10, not 'nan'"),
        ("--speed=", "--speed needs a number from 0.5 to 10, not ''"),
        ("--since never", "--since: never: no such time"),
        ("-c 12345678901", "-c: at most 10 characters"),
        ("-iF", "give one of -F, -i and -c"),
        ("-i -c x", "give one of -F, -i and -c"),
        ("-z", "-z: no such option; there is -f, -F, -i, -u, -n, --speed, --since, -c, --columns, --json"),
        ("--json=1", "--json=1: no such option"),
        ("--spee 1", "--spee: no such option"),
        ("-\x1b[2J", "-\\x1b[2J: no such option"),
    ],
)
def test_errors_name_the_option_and_what_would_be_right(words: str, told: str) -> None:
    assert error(words.split(" "), GLOBS).startswith(told)


def test_a_console_is_named_by_all_words_or_by_the_user_name() -> None:
    assert read("VM (old) -f".replace("(", "'(").replace(")", ")'"), NAME)[NAME] == Target("VM (old)")
    assert read("web01,ro", NAME)[NAME] == Target("web01", read_only=True)
    assert read("", NAME, own=OWN)[NAME] == OWN
    assert error("", NAME) == "which console? give its name"
    with pytest.raises(BadTarget):
        read("web01,ro,force", NAME)


def test_a_console_and_a_word() -> None:
    for last in (WORD, MAYBE):
        args = read("web01 login:", NAME, last)
        assert (args[NAME], args[last]) == (Target("web01"), "login:")
        args = read("login:", NAME, last, own=OWN)
        assert (args[NAME], args[last]) == (OWN, "login:")
        assert error("a b c", NAME, last).startswith("too many words; quote a name with blanks: NAME ")
    assert error("web01", NAME, WORD) == "give NAME WORD"
    assert error("", NAME, WORD, own=OWN) == "give NAME WORD"
    assert read("web01", NAME, MAYBE)[NAME] == Target("web01")
    assert read("", NAME, MAYBE, own=OWN)[MAYBE] == ""
    assert error("", NAME, MAYBE) == "which console? give its name"


def test_words_of_other_arguments() -> None:
    args = read("x a b", WORD, GLOBS)
    assert (args[WORD], args[GLOBS]) == ("x", ["a", "b"])
    assert error("", WORD, GLOBS) == "give a word"
    assert read("one  two", TEXT)[TEXT] == "one two"
    assert error("' '", TEXT) == "give a text"
    assert read("", MAYBE)[MAYBE] == ""
    assert "too many words" in error("a b", MAYBE)
    assert error("a") == "takes no names"


def test_an_option_of_another_command_is_meant_for_that() -> None:
    assert meant_instead(COMMANDS["console"], ["-u", "web*", "db*"]) == "list"
    assert meant_instead(COMMANDS["console"], ["-f", "web01"]) == ""
    assert meant_instead(COMMANDS["list"], ["-u"]) == ""


WORDS = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from([name for command in TABLE for option in command.options for name in option.names]),
        st.sampled_from(["-", "--", "-fF", "-n5", "--since=1h", "10m", "web01", "web01,ro", "x,force,ro", "--json"]),
    ),
    max_size=6,
)


@given(st.sampled_from(TABLE), WORDS, st.sampled_from([None, OWN]))
def test_any_words_are_values_or_a_usage_error(command: Command, words: list[str], own: Target | None) -> None:
    try:
        meant_instead(command, words)
        args = read_arguments(command, words, NOW, lambda: own)
    except (UsageError, BadTarget):
        return
    for argument in command.arguments:
        args[argument]
    for option in command.options:
        assert option in args or isinstance(option, Flag) or args[option] is None


@given(st.sampled_from(TABLE), st.data())
def test_what_is_declared_is_read(command: Command, data: st.DataObject) -> None:
    values = {"T": "1h", "SPAN": "1h"} | {
        "COLUMNS": "name",
        "COLUMN": "name",
        "H": "host",
        "P": "22",
        "STATES": "up",
        "BAUD": "9600",
    }
    words: list[str] = []
    groups: set[str] = set()
    for option in data.draw(st.permutations(command.options)):
        if (option.group and option.group in groups) or not data.draw(st.booleans()):
            continue
        groups.add(option.group)
        name = data.draw(st.sampled_from(option.names))
        if isinstance(option, Flag):
            words.append(name)
        else:
            words += [name, values.get(option.metavar, "1")]
    given_names = [word for word in words if word.startswith("-")]
    words += ["x"] * len(command.arguments)
    args = read_arguments(command, words, NOW, lambda: None)
    for option in command.options:
        assert (option in args) == any(name in given_names for name in option.names)


@given(st.lists(st.text(max_size=10), max_size=5))
def test_quoted_words_are_taken_apart_again(words: list[str]) -> None:
    assert split(shlex.join(words)) == words


@given(st.text(max_size=30))
def test_any_line_has_words(line: str) -> None:
    assert all(isinstance(word, str) for word in split(line))


def test_an_apostrophe_in_a_name_is_no_quoting() -> None:
    assert split("status bob's VM") == ["status", "bob's", "VM"]


# The table.


def test_names_of_commands_and_options_are_used_once() -> None:
    names = [name for command in TABLE for name in (command.name, *command.aliases)]
    assert len(set(names)) == len(names)
    for command in TABLE:
        spelled = [name for option in command.options for name in option.names]
        assert len(set(spelled)) == len(spelled)


@each("command", TABLE)
def test_a_declaration_makes_sense(command: Command) -> None:
    metavars = [argument.metavar for argument in command.arguments]
    assert len(set(metavars)) == len(metavars)
    assert all(argument.missing for argument in command.arguments if argument.takes is Takes.WORD)
    assert all(argument.missing for argument in command.arguments[:1] if argument.takes is Takes.CONSOLE)
    assert (command.right is None) == (command.name in ("whoami", "version", "help", "complete", "exit"))
    assert command.summary
    assert all(option.help for option in command.options)
    assert not command.notes or command.notes.endswith("\n")
    assert all(flag.instead in ("", *COMMANDS) for flag in command.options if isinstance(flag, Flag))
