"""``hosts``: the ESXi hosts, and how many consoles each of them carries."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from vmproxy.access.policy import Right
from vmproxy.base.turns import sort_steps
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import in_turns, print_all, table_row
from vmproxy.operators.commands.declaration import JSON, Arguments, Command
from vmproxy.operators.presentation import json_array
from vmproxy.operators.session import Session
from vmproxy.operators.terminal.width import cells


@dataclass(slots=True)
class _Host:
    """Consoles of one host: ``up`` are connected from it, ``tls`` of them encrypted; ``down`` were so last."""

    address: str
    up: int = 0
    tls: int = 0
    down: int = 0


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
        fields = ({"host": one.address, "up": one.up, "tls": one.tls, "down": one.down} for one in hosts)
        await print_all(session, json_array(fields))
    elif not hosts:
        session.print("no host has connected yet\n")
    else:
        table = [("HOST", "UP", "TLS", "DOWN"), *((h.address, str(h.up), str(h.tls), str(h.down)) for h in hosts)]
        widths = [max(map(cells, column)) for column in zip(*table, strict=True)]
        await print_all(session, (table_row(row, widths) for row in table))
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
