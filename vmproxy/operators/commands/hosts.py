"""``hosts``: the ESXi hosts, and how many consoles each of them carries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import chain

from vmproxy.access.policy import Right
from vmproxy.base.turns import sort_steps
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import in_turns, print_all, table_row
from vmproxy.operators.commands.declaration import JSON, Arguments, Command
from vmproxy.operators.presentation import Fields
from vmproxy.operators.session import Session

_HEAD = ("HOST", "UP", "TLS", "DOWN")


@dataclass(slots=True)
class _Host:
    """Consoles of one host: ``up`` are connected from it, ``tls`` of them encrypted; ``down`` were so last."""

    address: str
    up: int = 0
    tls: int = 0
    down: int = 0

    @property
    def row(self) -> tuple[str, ...]:
        return self.address, str(self.up), str(self.tls), str(self.down)

    @property
    def fields(self) -> Fields:
        return {"host": self.address, "up": self.up, "tls": self.tls, "down": self.down}


async def _hosts(session: Session, args: Arguments) -> int:
    found: dict[str, _Host] = {}
    async for console in in_turns(session, session.operator.view):
        if console.host:
            host = found.setdefault(console.host, _Host(console.host))
            if console.link is None:
                host.down += 1
            else:
                host.up += 1
                host.tls += console.link.encrypted
    hosts = list(found.values())
    async for _ in in_turns(session, sort_steps(hosts, lambda host: _order(host.address))):
        pass
    if JSON in args:
        await print_all(session, (json.dumps(host.fields) + "\n" for host in hosts))
    elif not hosts:
        session.print("no host has connected yet\n")
    else:
        widths = [len(word) for word in _HEAD]
        async for host in in_turns(session, hosts):
            widths = [max(width, len(text)) for width, text in zip(widths, host.row, strict=True)]
        await print_all(session, (table_row(row, widths) for row in chain([_HEAD], (host.row for host in hosts))))
    return exit_status.OK


def _order(address: str) -> tuple[int, int, str]:
    """Addresses by number, and what is none behind them."""
    try:
        number = ip_address(address)
    except ValueError:
        return 9, 0, address
    return number.version, int(number), ""


COMMANDS = (
    Command(
        "hosts",
        "list the ESXi hosts, with the number of consoles",
        _hosts,
        (JSON,),
        Right.SEE,
        notes="UP: connected from there, TLS: of these encrypted; DOWN: were there last.\n",
    ),
)
