"""The order of the consoles that an operator sees is kept, and right again after each change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from tests.support.fakes import VM_B
from tests.support.ssh import SSHWorld
from vmproxy.auth.accounts_file import Account
from vmproxy.base.tasks import spawn
from vmproxy.operators.operator import Operator
from vmproxy.operators.visible_order import ORDERS, OrderedConsole


def operator(w: SSHWorld, name: str = "alice") -> Operator:
    return w.services.operator(Account(name), name, "10.1.2.9")


def order(w: SSHWorld, one: Operator) -> Sequence[OrderedConsole]:
    found: list[Sequence[OrderedConsole]] = []
    spawn(w.services.orders.of(one.view, w.services.turns, one.name)).addCallback(found.append)
    for _ in range(500):
        if found:
            break
        w.clock.advance(0)
    return found[0]


def titles(w: SSHWorld, one: Operator) -> list[str]:
    return [entry.console.title for entry in order(w, one)]


def test_it_is_made_once_as_long_as_nothing_changes(w: SSHWorld) -> None:
    for number in range(300):
        w.vm(f"{'Web' if number % 2 else 'db'}{number:03}", uuid=UUID(int=number + 1))
    w.rules(("alice carol", "see", "web*"), ("bob", "see", "*"))
    alice, bob, carol = (operator(w, name) for name in ("alice", "bob", "carol"))
    first = order(w, alice)
    assert titles(w, alice) == [f"Web{number:03}" for number in range(1, 300, 2)]
    assert order(w, alice) is first
    assert order(w, carol) is first
    assert len(order(w, bob)) == 300
    assert order(w, bob) is not first


def test_it_is_made_anew_when_a_console_a_name_or_the_rules_change(w: SSHWorld) -> None:
    w.vm("web01")
    alice = operator(w)
    changes: list[tuple[Callable[[], object], list[str]]] = [
        (lambda: w.vm("app01", uuid=VM_B), ["app01", "web01"]),
        (lambda: w.directory.rename(w.console("app01"), "zoo"), ["web01", "zoo"]),
        (lambda: w.rules(("alice", "see", "z*")), ["zoo"]),
        (lambda: w.rules(("alice", "see", "none")), []),
    ]
    assert titles(w, alice) == ["web01"]
    for change, after in changes:
        change()
        assert titles(w, alice) == after


def test_a_few_orders_are_kept(w: SSHWorld) -> None:
    w.vm()
    names = [f"o{number}" for number in range(2 * ORDERS)]
    w.rules(*((name, "see", f"web* {name}") for name in names))
    first = [order(w, operator(w, name)) for name in names]
    again = [order(w, operator(w, name)) for name in reversed(names)]
    kept = sum(one is two for one, two in zip(first, reversed(again), strict=True))
    assert kept == ORDERS
