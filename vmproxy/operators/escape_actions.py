"""The escape command ``!``: actions of the console that one is at."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from vmproxy.errors import VMProxyError
from vmproxy.operators.action import Action
from vmproxy.operators.actions import Outcome
from vmproxy.operators.console_session import ConsoleSession
from vmproxy.operators.terminal.line_editor import Completion


def possible(session: ConsoleSession) -> list[Action]:
    """The actions that the operator may have done here, as things are now."""
    return session.session.services.actions.possible(session.operator, session.console)


def offer(session: ConsoleSession) -> None:
    """Show the actions, and ask which one."""
    actions = possible(session)
    if not actions:
        session.say("[there are no actions for you here]")
        return
    session.say("[actions]")
    for number, action in enumerate(actions, 1):
        session.say(f" {number:<4}{action.name}{f'  {action.text}' if action.text else ''}")
    names = [action.name for action in actions]

    def complete(left: str) -> Completion:
        return Completion(0, [name for name in names if name.startswith(left)])

    session.ask("action: ", lambda answer: _chosen(session, names, answer), complete)


def _chosen(session: ConsoleSession, names: list[str], answer: str | None) -> None:
    typed = (answer or "").strip()
    if typed.isascii() and typed.isdecimal() and len(typed) < 4 and 1 <= int(typed) <= len(names):
        typed = names[int(typed) - 1]
    action = next((action for action in possible(session) if action.name == typed), None)
    if action is None:
        session.say(f"[there is no action {typed}]" if typed else "[nothing done]")
    elif action.confirm:
        session.ask(f"{action.name} {session.console.title}? [y/N] ", lambda answer: _answered(session, action, answer))
    else:
        _run(session, action)


def _answered(session: ConsoleSession, action: Action, answer: str | None) -> None:
    if (answer or "").strip().casefold() not in ("y", "yes"):
        session.say("[nothing done]")
    elif action not in possible(session):
        session.say("[the rules have changed, you may no longer do that]")
    else:
        _run(session, action)


def _run(session: ConsoleSession, action: Action) -> None:
    console = session.console
    try:
        running: Deferred[Outcome] = session.session.services.actions.run(session.operator, console, action)
    except VMProxyError as error:
        session.say(f"[{error}]")
        return
    if not running.called:
        session.say(f"[{action.name}: under way]")

    def done(outcome: Outcome) -> None:
        if not session.gone and session.console is console:
            for line in outcome.lines:
                session.say(f" {line}")
            session.say(f"[-- {action.name}: {outcome.problem or 'done'} --]")

    running.addCallback(done)
