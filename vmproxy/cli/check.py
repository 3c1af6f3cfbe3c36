"""``vmproxy check``: what is wrong with a configuration, what a reload would change, and who may do what by which rule.

All that the daemon would refuse or warn about at its start is told at once, by file and line: the configuration, and
the files that it names.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import cast

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher

from vmproxy.alerts.watch import Watch
from vmproxy.alerts.watch_file import doubts, read_watches
from vmproxy.app.privileges import account_name
from vmproxy.app.startup import tls_warnings
from vmproxy.auth.accounts_file import NOWHERE, Operators, the_only_one
from vmproxy.auth.keyring import Keyring, KeyringReader
from vmproxy.auth.password_sources import usable_sources
from vmproxy.base.nearest import did_you_mean
from vmproxy.base.sanitize import visible
from vmproxy.cli import check_rights, check_watches
from vmproxy.config.advice import advise
from vmproxy.config.difference import IN_FORCE, changes, read_in_force
from vmproxy.config.settings import SETTINGS, ConfigFile, read_config
from vmproxy.errors import ConfigError
from vmproxy.log.pattern import EXPRESSIONS, PLAIN_ONLY
from vmproxy.operators.messages import local_time
from vmproxy.ssh.known_clients import shut_out
from vmproxy.vm import certificates
from vmproxy.vm.certificates import CertificateError, Credentials

_WIDTH = 79
_RUNNING = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the configuration")
    parser.add_argument("--strict", action="store_true", help="warnings are errors: exit status 1")
    parser.add_argument("--advise", action="store_true", help="show what to decide before production")
    parser.add_argument(
        "--diff",
        nargs="?",
        const=_RUNNING,
        metavar="OLD",
        help="show what a reload would change: since the daemon has read its configuration, or since the file OLD",
    )
    parser.add_argument(
        "--watch-log",
        type=Path,
        metavar="LOG",
        help="show what the watches find in a log, whatever consoles they are for",
    )
    parser.add_argument("--as", dest="operator", metavar="OPERATOR", help="show what an operator may do")
    parser.add_argument(
        "--console", metavar="NAME", help="on this console, a name or a VC UUID; alone: who may do what"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command.

    :returns: the exit status: 1 if something is wrong, or with ``--strict`` dubious.
    """
    try:
        found = read_config(args.file, {})
    except ConfigError as error:
        return _tell(args.file, error.problems, [])
    errors = list(found.problems)
    warnings: list[str] = []
    shown = _certificates(found, errors, warnings)
    keyring = _keyring(found, errors, warnings)
    clients = _clients(found, errors)
    warnings += _unknown_sources(found, keyring, errors)
    watches = _watches(found, errors, warnings)
    config = found.config
    operators = keyring.operators if keyring is not None and config.ssh.accounts.operators_file is not None else None
    warnings += _unknown_names(found, operators)
    if errors:
        return _tell(args.file, errors, warnings)
    _tell(args.file, [], warnings)
    status = 1 if warnings and args.strict else 0
    if args.operator or args.console:
        return check_rights.explain(config, operators, args.operator, args.console) or status
    if args.watch_log is not None:
        return check_watches.explain(watches, args.watch_log) or status
    if args.diff is not None:
        return _say_difference(found, args.diff) or status
    for one in shown.certificates if shown is not None else ():
        names = ", ".join(visible(name) for name in one.names) or "no name"
        print(f"{one.file}: for {names}, until {one.valid_until:%Y-%m-%d}, #thumbprint={one.thumbprint}")
    print(*clients, sep="\n", end="\n" if clients else "")
    if not EXPRESSIONS:
        print(*wrap(f"search, expect and watches find plain text only: {PLAIN_ONLY}", _WIDTH), sep="\n")
    told = _count(len(warnings), "warning")
    print(f"{args.file}: " + (f"{told}, no errors" if warnings else "nothing is wrong with it"))
    _say_advice(found, keyring, args.advise)
    return status


def _tell(file: Path, errors: list[str], warnings: list[str]) -> int:
    errors.sort(key=lambda text: _line(text, file))
    for text in (*errors, *(f"{warning} (warning)" for warning in warnings)):
        print(text, file=sys.stderr)
    if errors and warnings:
        print(f"{file}: {_count(len(errors), 'error')}, {_count(len(warnings), 'warning')}", file=sys.stderr)
    return 1 if errors or warnings else 0


def _line(text: str, file: Path) -> int:
    line = text.removeprefix(f"{file}:").partition(":")[0]
    return int(line) if line.isdecimal() else sys.maxsize


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


# The files that the configuration names.


def _certificates(found: ConfigFile, errors: list[str], warnings: list[str]) -> Credentials | None:
    try:
        shown = certificates.load(found.config.vm.tls)
    except CertificateError as error:
        errors += _placed(found, error.by_setting)
        return None
    warnings += _placed(found, tls_warnings(found.config, shown, time.time()))
    return shown


def _keyring(found: ConfigFile, errors: list[str], warnings: list[str]) -> Keyring | None:
    """Who may log in, by the daemon's own reader: what it would write to its log is told here."""
    events: list[LogEvent] = []
    observer = cast(ILogObserver, events.append)
    globalLogPublisher.addObserver(observer)
    try:
        keyring = KeyringReader(found.config.ssh.accounts, account_name()).read()
    except ConfigError as error:
        errors += _placed(found, error.problems)
        return None
    finally:
        globalLogPublisher.removeObserver(observer)
    for event in events:
        text = formatEvent(event)
        grave = event["log_level"] is LogLevel.error
        (errors if grave else warnings).extend(_placed(found, [text]))
    return keyring


def _clients(found: ConfigFile, errors: list[str]) -> list[str]:
    """What the algorithms of SSH mean for clients. No warnings: it may be meant."""
    chosen = found.config.ssh.algorithms
    try:
        usable = chosen.usable()
    except ConfigError as error:
        errors += _placed(found, error.problems)
        return []
    missing = chosen.missing(usable)
    told = [f"SSH: the libraries here cannot do {', '.join(missing)}"] if missing else []
    return [*told, *_placed(found, [f"{key}: {text}" for key, text in shut_out(usable)])]


def _unknown_sources(found: ConfigFile, keyring: Keyring | None, errors: list[str]) -> Iterator[str]:
    """The operators whose password nothing can check."""
    try:
        usable = usable_sources(found.config.ldap, found.config.pam)
    except ConfigError as error:
        errors += _placed(found, error.problems)
        return
    operators = keyring.operators if keyring is not None else the_only_one("", ())
    for name in operators.entries:
        source, _ = operators.source_of(name)
        if source not in {NOWHERE, *usable}:
            yield f"{visible(name)}'s password is to be checked by {source}, and nothing is set up in [{source}]"


def _watches(found: ConfigFile, errors: list[str], warnings: list[str]) -> tuple[Watch, ...]:
    path = found.config.alerts.watch_file
    try:
        watches = read_watches(path)
    except ConfigError as error:
        errors += _placed(found, error.problems)
        return ()
    warnings += _placed(found, list(doubts(watches, path)))
    return watches


def _placed(found: ConfigFile, texts: list[str]) -> Iterator[str]:
    """The texts, each behind the line of the setting that it is about, or of the file."""
    for text in texts:
        key = text.partition(":")[0]
        yield f"{found.place(key)}: {text}" if key in SETTINGS else text


def _unknown_names(found: ConfigFile, operators: Operators | None) -> Iterator[str]:
    # Not an error: the operator may be about to be added, or have been removed. But it may be a misspelling.
    if operators is None:
        return
    names = list(operators.entries)
    groups = [f"@{group}" for entry in operators.entries.values() for group in entry.account.groups]
    rules = found.file.table.get("rule", [])  # as they are written: one of them may be wrong otherwise
    for number, rule in enumerate(rules if isinstance(rules, list) else []):
        line = found.file.line(("rule", number, "who"))
        written = rule.get("who") if isinstance(rule, dict) else None
        words = {word for word in (written if isinstance(written, list) else [written]) if isinstance(word, str)}
        for who in sorted(words - {*names, *groups, "*"}):
            what, known = ("group", groups) if who.startswith("@") else ("operator", names)
            text = f"there is no {what} {visible(who)} in the operators file{did_you_mean(who, known)}"
            yield f"{found.file.name}:{line}: rule {number + 1}: {text}"


# What else can be asked.


def _say_advice(found: ConfigFile, keyring: Keyring | None, whole: bool) -> None:
    advice = list(advise(found.config, keyring))
    if advice and not whole:
        things = _count(len(advice), "thing")
        print(f"{things} to decide before production: vmproxy check {found.file.name} --advise")
    if not whole:
        return
    print(f"{_count(len(advice), 'thing')} to decide before production{':' if advice else ''}")
    for number, one in enumerate(advice, 1):
        print(*wrap(f"{number:>2}. {one.key}: {one.text}", _WIDTH, subsequent_indent="    "), sep="\n")


def _say_difference(found: ConfigFile, old: str) -> int:
    """Print what a reload would change.

    :returns: the exit status: 1 if there is nothing to compare with.
    """
    try:
        if old == _RUNNING:
            before, at = read_in_force(found.config.state_dir)
            # A reload has the command line of the daemon too.
            found = read_config(Path(found.file.name), before.config.source.options)
            what = f"since the daemon has read {before.file.name}, {local_time(at)}"
        else:
            before, what = read_config(Path(old), {}), f"since {old}"
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        if old == _RUNNING:
            print(f"the daemon writes {IN_FORCE} into its state-dir; name the old file instead", file=sys.stderr)
        return 1
    told = list(changes(before, found))
    print(f"{what}: " + ("nothing would change" if not told else f"{_count(len(told), 'change')}"))
    for change in told:
        print(*wrap(f"  {change}", _WIDTH, subsequent_indent="      "), sep="\n")
    return 0
