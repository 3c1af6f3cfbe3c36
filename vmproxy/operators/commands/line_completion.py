"""Completion of a line with a command, whoever asks: the menu's command line, or a shell of the client.

The first word may be a command or a console; only consoles that the operator may see are ever offered. Names that a
shell would take apart come in quotes, as commands are taken apart in the same way.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence

from vmproxy.console.console import Console
from vmproxy.operators.commands.declaration import Command
from vmproxy.operators.commands.parser import split
from vmproxy.operators.terminal.line_editor import Completion
from vmproxy.operators.visible import VisibleConsoles

OFFERED = 100  # each is looked up, as it might be meant by another console's name too


def complete(
    left: str,
    commands: Mapping[str, Command],
    starting: Callable[[str, int], Sequence[Console]],
    view: VisibleConsoles,
    actions: Iterable[str] = (),
) -> Completion:
    """The completion of a line by a command, an option, an action or a console, as the table of commands has it.

    :param left: the text left of the cursor.
    :param commands: the table, by name and alias.
    :param starting: gives consoles whose names begin so, and no more than it is asked for.
    :param actions: the names of actions.
    """
    start, quote, word = last_word(left)
    before = split(left[:start])
    names = tuple(dict.fromkeys(command.name for command in commands.values()))
    found: list[str] = []
    if not before and not quote:
        found = [name for name in names if name.startswith(word)]
        if not word:
            return Completion(start, found)
    elif before and (command := commands.get(before[0])) is not None:
        if word.startswith("-") and not quote:
            options = [name for option in command.options if not option.hidden for name in option.names]
            return Completion(start, [name for name in options if name.startswith(word)], " ")
        kinds = {argument.completes for argument in command.arguments}
        if "command" in kinds:
            return Completion(start, [name for name in names if name.startswith(word)], " ")
        if "action" in kinds and all(one.startswith("-") for one in before[1:]):
            return Completion(start, [name for name in actions if name.startswith(word)], " ")
        if "console" not in kinds:
            return Completion(start, ())
    # An alias begins as the name does, and goes on with a tilde.
    prefix = word if "~" not in word or starting(word, 1) else word[: word.rindex("~")]
    typed = [view.typed(console) for console in starting(prefix, OFFERED)]
    if prefix != word:
        typed = [name for name in typed if name.casefold().startswith(word.casefold())]
    if quote or any(_needs_quotes(name) for name in typed):
        # All in the same quotes, so that their common beginning can be filled in.
        mark = quote or "'"
        typed = [_quoted(name, mark) for name in typed]
    return Completion(start, [*found, *typed], " ")


def last_word(left: str) -> tuple[int, str, str]:
    """The word that is being typed.

    :returns: its offset, the quote that is open in it (empty if none), and the word without quotes.
    """
    start, quote, word = 0, "", ""
    escaped = False
    for at, char in enumerate(left):
        if escaped:
            word += char if not quote or char in '"\\' else "\\" + char
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            if char == quote:
                quote = ""
            else:
                word += char
        elif char in "'\"":
            quote = char
        elif char.isspace():
            start, word = at + 1, ""
        else:
            word += char
    return start, quote, word


def _needs_quotes(name: str) -> bool:
    return shlex.quote(name) != name and any(char in " \t'\"\\" for char in name)


def _quoted(name: str, mark: str) -> str:
    if mark == "'":
        return "'" + name.replace("'", "'\"'\"'") + "'"
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
