"""``vmproxy check --as`` and ``--console``: who may do what on which console, and by which rule.

It needs no running daemon: the known consoles are read from the journal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from vmproxy.access.labels import Labels
from vmproxy.access.policy import Policy, Rule
from vmproxy.auth.accounts_file import Account, Operators
from vmproxy.base.nearest import did_you_mean
from vmproxy.base.sanitize import visible
from vmproxy.config.settings import Config
from vmproxy.console.journal import read_journal

LISTED = 40
"""As many consoles are listed one by one; of more, a line for each rule."""

_NOBODY = UUID(int=0)
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class KnownConsole:
    """A console as the journal knows it, or one that is only a name."""

    uuid: UUID
    port: str
    name: str
    uri: str
    policy: Policy

    @property
    def labels(self) -> Labels:
        """Its labels, as far as the configuration and the journal know them."""
        return self.policy.labels(self)

    @property
    def title(self) -> str:
        """The console's name for people."""
        name = visible(self.name) or str(self.uuid)
        return name if self.port == "1" else f"{name}.{self.port}"

    def __str__(self) -> str:
        return self.title if self.uuid == _NOBODY else f"{self.title} ({self.uuid}, {visible(self.uri)})"


def explain(config: Config, operators: Operators | None, operator: str | None, console: str | None) -> int:
    """Print the rights of an operator, of all on one console, or of one on one.

    :param operators: None where there is one operator, who is not in a file.
    :returns: the exit status.
    """
    policy = config.policy
    accounts = [entry.account for entry in operators.entries.values()] if operators is not None else []
    if operator is not None:
        # Without a file, whoever logs in is the account that runs the daemon, whatever it is called.
        known = {one.name: one for one in accounts} if operators is not None else {operator: Account(operator)}
        if operator not in known:
            near = did_you_mean(operator, known)
            print(f"{visible(operator)}: there is no such operator{near}", file=sys.stderr)
            return 1
        accounts = [known[operator]]
    try:
        consoles = _known(config.state_dir, policy)
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    if console is None:
        _say_all(policy, accounts[0], sorted(consoles, key=lambda c: (c.title.casefold(), c.port)))
        return 0
    for one in _chosen(consoles, console, policy):
        if operator is None:
            _say_everybody(policy, accounts or [Account("the operator")], one)
        else:
            _say_why(policy, accounts[0], one)
    return 0


def _known(state_dir: Path, policy: Policy) -> list[KnownConsole]:
    known = read_journal(state_dir / "consoles.jsonl").records.values()
    return [KnownConsole(UUID(one.uuid), one.port, one.name, one.uri, policy) for one in known]


def _chosen(consoles: list[KnownConsole], wanted: str, policy: Policy) -> list[KnownConsole]:
    exact = [one for one in consoles if wanted in (one.name, one.title, str(one.uuid), one.uuid.hex)]
    found = exact or [one for one in consoles if one.name.casefold() == wanted.casefold()]
    if found:
        return found
    near = did_you_mean(wanted, [one.title for one in consoles])
    print(f"{visible(wanted)} is not known; rules by UUID or service URI do not match it{near}")
    return [KnownConsole(_NOBODY, "1", wanted, "", policy)]


def _who(account: Account) -> str:
    groups = f" ({', '.join(f'@{group}' for group in account.groups)})" if account.groups else ""
    return f"{account.name}{groups}"


def _words(rule: Rule | None) -> str:
    words = ", ".join(rule.may.words) if rule is not None and rule.may else "no access (hidden)"
    return words + (f" (rule {rule.number})" if rule is not None and rule.number else "")


def _say_all(policy: Policy, account: Account, consoles: list[KnownConsole]) -> None:
    grants = policy.grants(account.name, account.groups)
    print(f"{_who(account)} may, on the consoles that are known:" if consoles else "no console is known yet")
    if len(consoles) <= LISTED:
        _say_table((one.title, _words(grants.decides(one))) for one in consoles)
        return
    by_rule: dict[str, list[str]] = {}
    for one in consoles:
        by_rule.setdefault(_words(grants.decides(one)), []).append(one.title)
    for words, titles in sorted(by_rule.items(), key=lambda item: -len(item[1])):
        more = ", ..." if len(titles) > _EXAMPLES else ""
        print(f"  on {len(titles)}: {words}\n      {', '.join(titles[:_EXAMPLES])}{more}")
    print("--console NAME says why, for one of them")


def _say_everybody(policy: Policy, accounts: list[Account], console: KnownConsole) -> None:
    print(f"on {console}:")
    _say_table(
        (_who(one), _words(policy.grants(one.name, one.groups).decides(console)))
        for one in sorted(accounts, key=lambda one: one.name.casefold())
    )


def _say_table(rows: Iterable[tuple[str, str]]) -> None:
    for left, right in rows:
        print(f"  {left:<30} {right}")


def _say_why(policy: Policy, account: Account, console: KnownConsole) -> None:
    print(f"{_who(account)} on {console}:")
    for rule in policy.rules:
        if not rule.concerns(account.name, account.groups):
            print(f"  not: {rule} -- it does not name the operator")
        elif not rule.selects(console):
            print(f"  not: {rule} -- it does not name the console")
        else:
            print(f"  may {', '.join(rule.may.words)}" if rule.may else "  no access (hidden)")
            print(f"  by {rule}" if rule.number else "  because there are no rules")
            return
    print("  no access (hidden): no rule names both")
