"""The ``vmproxy`` command: check a configuration, simulate hosts, and a demonstration of the whole.

The daemon itself is ``twistd vmproxy``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import vmproxy
from vmproxy import config, demo
from vmproxy.errors import ConfigError
from vmproxy.sim import command as simulate


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    :param arguments: those of the process, if None.
    :returns: the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="vmproxy",
        description="Tools of the virtual serial port concentrator.",
        epilog="The concentrator itself is `twistd -n vmproxy', or `twistd vmproxy' as a daemon; --help says more.",
    )
    parser.add_argument("--version", action="version", version=f"vmproxy {vmproxy.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="say all that is wrong with a configuration file")
    check.add_argument("file", type=Path, metavar="FILE")
    simulate.add_arguments(commands.add_parser("simulate", help="play ESXi hosts with VMs against a concentrator"))
    demo.add_arguments(commands.add_parser("demo", help="a concentrator with simulated VMs, to look around"))
    args = parser.parse_args(arguments)
    if args.command == "check":
        return _check(args.file)
    if args.command == "simulate":
        return simulate.run(args)
    return demo.run(args)


def _check(file: Path) -> int:
    try:
        config.load(file, {})
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{file}: nothing is wrong with it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
