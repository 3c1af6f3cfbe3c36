"""The reference in ``docs/commands.rst``: its table and its synopses, made from the declarations of commands.

``python -m vmproxy.operators.commands.reference docs/commands.rst`` puts them into the page; the prose stays.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from vmproxy.operators.commands.declaration import Command
from vmproxy.operators.commands.help import rights, synopsis
from vmproxy.operators.commands.registry import TABLE

_WIDTHS = (36, 55, 15)
_RULE = "  ".join("=" * width for width in _WIDTHS) + "\n"
_TABLE = re.compile(rf"{_RULE}Command .*?\n{_RULE}.*?\n{_RULE}", re.DOTALL)
_WITHOUT_OWN_LINE = ("version", "help", "exit")


def overview_table() -> str:
    """All commands with their summaries and rights, as a table of reStructuredText."""
    rows = ["".join((_RULE, _row("Command", "What it does", "Right"), _RULE))]
    for command in TABLE:
        names = ", ".join(f"``{name}``" for name in (command.name, *command.aliases))
        rows.append(_row(names, command.summary, rights(command)))
    return "".join([*rows, _RULE])


def _row(*texts: str) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(texts, _WIDTHS, strict=True)).rstrip() + "\n"


def updated(page: str) -> str:
    """A page with the table and the synopses as they are declared now.

    :raises ValueError: if it has no place for one of them.
    """
    page, places = _TABLE.subn(lambda _: overview_table(), page)
    if places != 1:
        raise ValueError("the page has no table of commands, or several")
    for command in TABLE:
        if command.name not in _WITHOUT_OWN_LINE:
            page = _with_synopsis(page, command)
    return page


def _with_synopsis(page: str, command: Command) -> str:
    line = re.compile(rf"^``{re.escape(command.name)}(?: [^`\n]*)?``$", re.MULTILINE)
    page, places = line.subn(lambda _: f"``{synopsis(command)}``", page)
    if places != 1:
        raise ValueError(f"the page has no line ``{synopsis(command)}``, or several")
    return page


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(updated(path.read_text("utf-8")), "utf-8")
