"""Resolve targets: find the console that an operator names, and check that they may attach to it.

Consoles that the operator may not see are not found: see :class:`~vmproxy.operators.visible.VisibleConsoles`.
"""

from __future__ import annotations

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.console.naming import AmbiguousConsole, NoSuchConsole
from vmproxy.errors import VMProxyError
from vmproxy.operators import exit_status
from vmproxy.operators.target import Target
from vmproxy.operators.visible import VisibleConsoles
from vmproxy.operators.write_request import Answer, ask


class TargetError(VMProxyError):
    """A target that cannot be attached to; the text says why.

    :ivar status: the exit status for scripts.
    :ivar has_meaning: whether the text says which console was meant, and it was no command.
    """

    def __init__(self, text: str, status: int, has_meaning: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.has_meaning = has_meaning


def locate(view: VisibleConsoles, target: Target) -> Console:
    """The console of a target.

    :raises TargetError: if there is none, or several, or if force is asked for and the name is not a whole one.
    """
    try:
        console = view.find(target.console, target.port)
    except NoSuchConsole as error:
        meant = _meant(view, target.console)
        text = f"{error}{meant}\n(`list' shows the consoles, `help' the commands)"
        raise TargetError(text, exit_status.NO_SUCH_CONSOLE, bool(meant) and " " in target.console) from None
    except AmbiguousConsole as error:
        choices = [f"  {c.title}  {c.uuid}  port {c.port}  {c.state}" for c in error.choices]
        if error.more:
            choices.append(f"  and {error.more} more")
        raise TargetError("\n".join([str(error), *choices]), exit_status.AMBIGUOUS) from None
    if target.force and not view.is_exact(target.console, console):
        text = f"{visible(target.console)}: force needs a whole name; did you mean {view.typed(console)}?"
        raise TargetError(text, exit_status.USAGE)
    return console


def _meant(view: VisibleConsoles, word: str) -> str:
    near = view.near(word)
    if near is not None:
        return f"; did you mean {view.typed(near)}?"
    if any(char in word for char in "*?["):
        return "; give one name, not a pattern"
    first, _, more = word.partition(" ")
    try:
        typed = view.typed(view.find(first)) if more else ""
    except VMProxyError:
        return ""
    if more.startswith("-"):
        return f"; did you mean: console {more} {typed}"
    return f"; give one name, such as {typed}" if more else ""


def check(view: VisibleConsoles, console: Console, target: Target, can_ask: bool) -> None:
    """Check that the operator may attach in the wanted way.

    :param can_ask: whether there is a terminal at which a question can be answered.
    :raises TargetError: if not.
    """
    if not view.may(console, Right.SPY):
        raise TargetError(f"{console.title}: you may list it, but not read it", exit_status.FORBIDDEN)
    if not target.force:
        return
    answer = ask(view, console, target.write_request, contested=True)
    if answer in (Answer.NO_RIGHT, Answer.NO_FORCE):
        raise TargetError(f"{console.title}: you may not take over from others (force)", exit_status.FORBIDDEN)
    if answer is Answer.REASON and not can_ask:
        text = f"{console.title}: force needs a reason here: {view.typed(console)},force,reason=TEXT"
        raise TargetError(text, exit_status.USAGE)
