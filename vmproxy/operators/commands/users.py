"""``who`` and ``whoami``: operators and their consoles.

An operator on a console that the asking operator may not see is shown as on none.
"""

from __future__ import annotations

import json

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import human_bytes, visible
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import in_turns, now, print_all, table_row
from vmproxy.operators.commands.declaration import GLOBS, JSON, Arguments, Command
from vmproxy.operators.messages import idle, local_time, mode
from vmproxy.operators.presentation import json_array, operator_fields, viewer_fields
from vmproxy.operators.session import Session
from vmproxy.operators.terminal.width import cells
from vmproxy.operators.who import present


async def _who(session: Session, args: Arguments) -> int:
    return await print_users(session, args[GLOBS], JSON in args)


async def print_users(session: Session, globs: list[str], as_json: bool) -> int:
    """Print operators and their consoles; without globs, operators on no console too."""
    at = now(session)
    found = await present(session, globs)
    if as_json:
        await print_all(session, json_array(viewer_fields(one.who, one.console, one.viewer, at) for one in found))
        return exit_status.OK
    table: list[tuple[str, ...]] = [("OPERATOR", "CONSOLE", "MODE", "IDLE", "SINCE", "SKIPPED")]
    async for one in in_turns(session, found):
        viewer = one.viewer
        if one.console is None or viewer is None:
            table.append((one.who, *"-----"))
            continue
        skipped = human_bytes(viewer.skipped) if viewer.skipped else "-"
        how = mode(viewer.writes, viewer.waits)
        table.append((one.who, one.console.title, how, idle(viewer, at), local_time(viewer.since), skipped))
    if len(table) == 1:
        session.print("nobody is on these consoles\n")
    else:
        widths = [0] * len(table[0])
        async for row in in_turns(session, table):
            widths = [max(width, cells(text)) for width, text in zip(widths, row, strict=True)]
        await print_all(session, (table_row(row, widths) for row in table))
    return exit_status.OK


async def _whoami(session: Session, args: Arguments) -> int:
    operator = session.operator
    counts = dict.fromkeys(Right, 0)
    async for console in in_turns(session, operator.view):
        rights = operator.view.rights(console)
        for right in counts:
            counts[right] += right in rights
    consoles = {right.words[0]: number for right, number in counts.items()}
    if JSON in args:
        session.print(json.dumps(operator_fields(operator, consoles)) + "\n")
    else:
        session.print(
            f"operator: {visible(operator.name)}\n"
            f"groups: {', '.join(map(visible, operator.groups)) or '-'}\n"
            f"from: {operator.peer}\n"
            f"logged in as: {visible(operator.user)}\n"
            f"consoles on which you may: {', '.join(f'{word} {number}' for word, number in consoles.items())}\n"
        )
    return exit_status.OK


COMMANDS = (
    Command("who", "show who is on which console", _who, (GLOBS, JSON), Right.SEE),
    Command("whoami", "show who you are and what you may do", _whoami, (JSON,)),
)
