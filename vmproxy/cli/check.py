"""``vmproxy check``: the problems of a configuration, and the rights of an operator with the rules behind them."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from vmproxy.access.policy import Policy
from vmproxy.app.startup import tls_warnings
from vmproxy.auth.accounts_file import Account, Operators, load_operators
from vmproxy.auth.revocation import read_revoked
from vmproxy.base.sanitize import visible
from vmproxy.config import settings
from vmproxy.console.journal import read_records
from vmproxy.errors import ConfigError
from vmproxy.vm import certificates
from vmproxy.vm.certificates import Credentials

_NOBODY = UUID(int=0)


@dataclass(frozen=True, slots=True)
class KnownConsole:
    """A console as the journal knows it, or one that is only a name."""

    uuid: UUID
    port: str
    name: str
    uri: str

    @property
    def title(self) -> str:
        """The console's name for people."""
        name = visible(self.name) or str(self.uuid)
        return name if self.port == "1" else f"{name}.{self.port}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the configuration")
    parser.add_argument("--as", dest="operator", metavar="OPERATOR", help="show what an operator may do")
    parser.add_argument("--console", metavar="NAME", help="on this console: a name or a VC UUID")


def run(args: argparse.Namespace) -> int:
    """Run the command.

    :returns: the exit status: 1 if something is wrong.
    """
    try:
        found = settings.load(args.file, {})
        shown = certificates.load(found.vm.tls)
        file = found.ssh.accounts.operators_file
        operators = load_operators(file) if file is not None else None
        consoles = _known(found) if args.operator or args.console else []
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    if operators is not None and operators.revoked is not None:
        problem = read_revoked(operators.revoked).everything
        if problem:
            print(f"{operators.revoked}: {problem}; every key is refused because of that", file=sys.stderr)
            return 1
    for warning in (*_unknown_names(found.policy, operators), *tls_warnings(found, shown, time.time())):
        print(f"{args.file}: {warning}", file=sys.stderr)
    if args.operator or args.console:
        return _explain(found.policy, operators, consoles, args.operator, args.console)
    _say_certificates(shown)
    print(f"{args.file}: nothing is wrong with it")
    return 0


def _say_certificates(shown: Credentials | None) -> None:
    for one in shown.certificates if shown is not None else ():
        names = ", ".join(visible(name) for name in one.names) or "no name"
        print(f"{one.file}: for {names}, until {one.valid_until:%Y-%m-%d}, #thumbprint={one.thumbprint}")


def _known(found: settings.Config) -> list[KnownConsole]:
    known, _ = read_records(found.state_dir / "consoles.jsonl")
    return [KnownConsole(UUID(one.uuid), one.port, one.name, one.uri) for one in known]


def _unknown_names(policy: Policy, operators: Operators | None) -> Iterator[str]:
    # Not an error: the operator may be about to be added, or have been removed. But it may be a misspelling.
    if operators is None:
        return
    names = set(operators.entries)
    groups = {f"@{group}" for entry in operators.entries.values() for group in entry.account.groups}
    for rule in policy.rules:
        for who in sorted(rule.who - names - groups - {"*"}):
            what = "group" if who.startswith("@") else "operator"
            yield f"rule {rule.number}: there is no {what} {visible(who)} in the operators file"


def _explain(
    policy: Policy, operators: Operators | None, consoles: list[KnownConsole], operator: str | None, console: str | None
) -> int:
    if operator is None:
        print("--console needs --as OPERATOR", file=sys.stderr)
        return 2
    account = _account(operators, operator)
    if account is None:
        print(f"{visible(operator)}: there is no such operator", file=sys.stderr)
        return 1
    groups = f" ({', '.join(f'@{group}' for group in account.groups)})" if account.groups else ""
    grants = policy.grants(account.name, account.groups)
    if console is None:
        print(f"{account.name}{groups} may, on the consoles that are known:")
        for one in sorted(consoles, key=lambda c: (c.title.casefold(), c.port)):
            rule = grants.decides(one)
            words = ", ".join(rule.may.words) if rule is not None and rule.may else "no access (hidden)"
            print(f"  {one.title:<30} {words}" + (f" (rule {rule.number})" if rule is not None and rule.number else ""))
        return 0
    chosen = _chosen(consoles, console)
    if not chosen:
        print(f"{visible(console)} is not known; rules by UUID or service URI do not match it")
        chosen = [KnownConsole(_NOBODY, "1", console, "")]
    for one in chosen:
        uuid = "" if one.uuid == _NOBODY else f" ({one.uuid}, {visible(one.uri)})"
        print(f"{account.name}{groups} on {one.title}{uuid}:")
        _say(policy, account, one)
    return 0


def _say(policy: Policy, account: Account, one: KnownConsole) -> None:
    for rule in policy.rules:
        if not rule.concerns(account.name, account.groups):
            print(f"  not: {rule} -- it does not name the operator")
        elif not rule.selects(one):
            print(f"  not: {rule} -- it does not name the console")
        else:
            print(f"  may {', '.join(rule.may.words)}" if rule.may else "  no access (hidden)")
            print(f"  by {rule}" if rule.number else "  because there are no rules")
            return
    print("  no access (hidden): no rule names both")


def _account(operators: Operators | None, name: str) -> Account | None:
    if operators is None:
        return Account(name)  # the account that runs the concentrator
    entry = operators.entries.get(name)
    return None if entry is None else entry.account


def _chosen(consoles: list[KnownConsole], wanted: str) -> list[KnownConsole]:
    exact = [one for one in consoles if wanted in (one.name, one.title, str(one.uuid), one.uuid.hex)]
    return exact or [one for one in consoles if one.name.casefold() == wanted.casefold()]
