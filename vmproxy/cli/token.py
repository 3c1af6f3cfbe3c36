"""``vmproxy token``: tokens for scripts that use the HTTP API.

The file of tokens is in the state folder; the daemon notices at once what is changed here.
"""

from __future__ import annotations

import argparse
import os
import stat
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from vmproxy.auth.tokens import FILE, SCOPES, Token, TokenError, TokenFile, make
from vmproxy.base import values
from vmproxy.base.sanitize import visible
from vmproxy.cli.trace import CONFIG
from vmproxy.config.settings import Config, read_config
from vmproxy.errors import ConfigError, VMProxyError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help=f"where state-dir is (default: {CONFIG})")
    actions = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
    create = actions.add_parser("create", help="make a token, and print it; it is never shown again")
    create.add_argument("operator", metavar="OPERATOR", help="whose rights it has")
    create.add_argument("--name", required=True, metavar="NAME", help="what it is for")
    create.add_argument("--expires", default="30d", metavar="SPAN", help="such as 12h or 30d, a year at most (30d)")
    create.add_argument("--scope", choices=SCOPES, default="read", help="what it is good for (read)")
    create.add_argument("--on", action="append", metavar="GLOB", help="the consoles it is for (all); may be repeated")
    listed = actions.add_parser("list", help="show the tokens that there are")
    listed.add_argument("operator", nargs="?", default="", metavar="OPERATOR", help="only this operator's")
    revoke = actions.add_parser("revoke", help="revoke a token")
    revoke.add_argument("operator", metavar="OPERATOR", help="whose it is")
    revoke.add_argument("name", metavar="NAME", help="its name, or its id")


def run(args: argparse.Namespace) -> int:
    """Run the command; :returns: the exit status."""
    path = args.config or (CONFIG if CONFIG.exists() else None)
    try:
        config = Config() if path is None else read_config(path, {}).config
        return _run(args, TokenFile(config.state_dir.absolute() / FILE))
    except (ConfigError, TokenError) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{error.filename or FILE}: {error.strerror}", file=sys.stderr)
    return 1


def _run(args: argparse.Namespace, file: TokenFile) -> int:
    now = time.time()
    match args.action:
        case "create":
            seconds = _span(args.expires)
            on = args.on or ["*"]
            _, shown = file.add(
                lambda others: make(args.operator, args.name, args.scope, on, seconds, now, others), now
            )
            _give_to_the_folders_owner(file.path)
            print(shown)
        case "list":
            _print([one for one in file.read().values() if args.operator in ("", one.operator)], now)
        case _:
            gone = file.revoke(lambda one: one.operator == args.operator and args.name in (one.name, one.token_id))
            if not gone:
                raise TokenError(f"{visible(args.operator)} has no token {visible(args.name)}")
    return 0


def _span(text: str) -> float:
    try:
        return values.span(text)
    except VMProxyError as error:
        raise TokenError(f"expires: {error}") from None


def _give_to_the_folders_owner(path: Path) -> None:
    """Let the daemon read and write the file, where root has made it.

    The folder is the daemon's, which may put anything in place of the file meanwhile; root gives it nothing else.
    """
    owner = path.parent.stat()
    if os.geteuid() != 0:
        return
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(fd)
        if found.st_uid != owner.st_uid and stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            os.fchown(fd, owner.st_uid, owner.st_gid)
    finally:
        os.close(fd)


def _print(tokens: list[Token], now: float) -> None:
    for one in sorted(tokens, key=lambda one: (one.operator, one.created)):
        until = datetime.fromtimestamp(one.expires, UTC).strftime("%Y-%m-%d %H:%M UTC")
        state = f"until {until}" if one.expires > now else f"expired {until}"
        print(f"{one.token_id}  {one.operator}  {visible(one.name)}  {one.scope}  {' '.join(one.on)}  {state}")
