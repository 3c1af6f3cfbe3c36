"""``vmproxy trace``: the operators' command ``trace``, typed on the machine that the concentrator runs on.

It is the SSH client that runs: who may trace is what the rules say, here as from anywhere else.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from pathlib import Path

from vmproxy.config.settings import Config, read_config
from vmproxy.errors import ConfigError

CONFIG = Path("/etc/vmproxy/vmproxy.toml")
_LOOPBACK = "127.0.0.1"
_ENDPOINT = re.compile(r"tcp(?P<six>6?):(?:port=)?(?P<port>\d+)(?::interface=(?P<interface>(?:[^:\\]|\\.)*))?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("what", metavar="HOST|NAME", help="a host's address or name, or a console")
    add("-c", "--config", type=Path, metavar="FILE", help=f"where ssh.listen is (default: {CONFIG})")
    add("-l", "--user", metavar="OPERATOR", default="", help="the operator to log in as")
    add("-i", "--identity", metavar="FILE", default="", help="the key to log in with")
    add("-n", "--count", metavar="N", default="", help="end after N lines")
    add("--for", dest="seconds", metavar="S", default="", help="end after so many seconds")


def run(args: argparse.Namespace) -> int:
    """Run the command.

    :returns: the exit status, if the SSH client cannot be started; else it is the client's.
    """
    path = args.config or (CONFIG if CONFIG.exists() else None)
    try:
        config = Config() if path is None else read_config(path, {}).config
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    command = client(config, args)
    if not command:
        print("no endpoint of ssh.listen has a port: log in by SSH and give `trace' there", file=sys.stderr)
        return 1
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        print(f"{command[0]}: {error.strerror}; log in by SSH and give `trace' there", file=sys.stderr)
        return 1


def client(config: Config, args: argparse.Namespace) -> list[str]:
    """The command line of the SSH client; empty if there is nowhere to connect to."""
    found = next((match for text in config.ssh.listen if (match := _ENDPOINT.match(text))), None)
    if found is None:
        return []
    address = (found["interface"] or "").replace("\\", "")
    if address in ("", "0.0.0.0", "::"):
        address = "::1" if found["six"] or address == "::" else _LOOPBACK
    words = ["trace", args.what]
    words += [word for name, value in (("-n", args.count), ("--for", args.seconds)) if value for word in (name, value)]
    # The key of this machine's own daemon needs no check: nobody is between.
    options = ["-o", "NoHostAuthenticationForLocalhost=yes", "-p", found["port"]]
    options += [word for name, value in (("-l", args.user), ("-i", args.identity)) if value for word in (name, value)]
    return ["ssh", *options, "--", address, shlex.join(words)]
