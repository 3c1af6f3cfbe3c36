"""Alerts as an operator may see and acknowledge them, whatever the front."""

from __future__ import annotations

from collections.abc import Container, Iterable

from vmproxy.access.policy import Right
from vmproxy.alerts.alert import Alert
from vmproxy.console.console import Console
from vmproxy.operators import exit_status
from vmproxy.operators.client import Client
from vmproxy.operators.commands.context import in_turns
from vmproxy.operators.commands.errors import CommandError

Key = tuple[object, str]


def key_of(console: Console) -> Key:
    """The console that an alert is about, as alerts name it."""
    return console.uuid, console.port


def may(client: Client, alert: Alert, right: Right) -> bool:
    """Whether an operator has a right on what an alert is about."""
    console = client.services.alerts.console_of(alert)
    if console is not None:
        return client.operator.view.may(console, right)
    # It is about vmproxy itself, or about a console that is forgotten, and may name a console.
    view = client.operator.view
    return view.administers and view.all_seen


async def alerts_of(
    client: Client, keys: Container[Key] | None, everything: bool = False, since: float | None = None
) -> list[Alert]:
    """The alerts that an operator may see, by their numbers.

    :param keys: the consoles that they are about; None: all.
    :param everything: whether those are among them that somebody has acknowledged.
    :param since: none that came before, seconds since the epoch.
    """
    found = [
        alert
        async for alert in in_turns(client, client.services.alerts.book)
        if (everything or alert.acknowledged is None)
        and (since is None or alert.at >= since)
        and (keys is None or alert.key in keys)
        and may(client, alert, Right.SPY)
    ]
    found.sort(key=lambda alert: alert.number)
    return found


def alert_of(client: Client, number: int) -> Alert | None:
    """The alert with a number; None if there is none that the operator may see."""
    alert = client.services.alerts.book.get(number)
    return alert if alert is not None and may(client, alert, Right.SPY) else None


async def acknowledge(client: Client, alerts: Iterable[Alert], note: str) -> int:
    """Acknowledge alerts, of those that may be seen; those that somebody has acknowledged stay as they are.

    :returns: how many were acknowledged.
    :raises CommandError: if there are any, and the operator may acknowledge none of them.
    """
    center, operator = client.services.alerts, client.operator
    found = [alert for alert in alerts if alert.acknowledged is None]
    mine = [alert async for alert in in_turns(client, found) if may(client, alert, Right.WRITE)]
    if found and not mine:
        raise CommandError("you may not acknowledge these", exit_status.FORBIDDEN)
    done = 0
    async for alert in in_turns(client, mine):
        if center.book.get(alert.number) is not alert:
            continue  # somebody else was faster, or it has made place
        done += 1
        center.acknowledge(alert, operator.who, note)
        operator.audit("ack", alert=alert.number, watch=alert.watch, console=alert.console or None, note=note)
    return done
