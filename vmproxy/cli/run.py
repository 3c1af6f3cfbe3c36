"""``vmproxy run``: the concentrator in the foreground, without twistd and its search for plugins.

Exit statuses: 0 after SIGTERM or SIGINT, 1 if it cannot start, 2 if the command line makes no sense.
"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

from vmproxy.errors import ConfigError, StartError

_OPTIONS = (
    ("--state-dir", "store", "FOLDER", "where keys and the list of consoles are kept"),
    ("--log-dir", "store", "FOLDER", "where the VMs' logs are written"),
    ("--vm-listen", "append", "ENDPOINT", "where VMs connect, such as tcp:13370; may be given several times"),
    ("--ssh-listen", "append", "ENDPOINT", "where operators connect, such as tcp:2222; may be given several times"),
    ("--service-uri", "append", "WORD", "a service URI to accept, * for any; may be given several times"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``vmproxy run``; the same as those of ``twistd vmproxy``."""
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="the configuration (default: none)")
    for name, action, metavar, help_text in _OPTIONS:
        parser.add_argument(name, action=action, metavar=metavar, help=help_text)


def run(args: argparse.Namespace) -> int:
    """Run the concentrator until SIGINT or SIGTERM.

    :returns: the exit status.
    """
    gc.disable()  # until all is there: what modules make stays
    # Imported late: it loads the reactor, which the other commands do not need.
    from vmproxy import tap

    given = {option[0][2:]: getattr(args, option[0][2:].replace("-", "_")) for option in _OPTIONS}
    overrides = {name: value for name, value in given.items() if value is not None}
    try:
        tap.run_in_foreground(args.config.absolute() if args.config else None, overrides)
    except (ConfigError, StartError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        gc.enable()
    return 0
