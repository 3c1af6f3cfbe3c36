"""The ``vmproxy`` command: check a configuration, hash a password, make a certificate, simulate hosts, and a
demonstration of the whole.

The daemon itself is ``twistd vmproxy``.
"""

from __future__ import annotations

import argparse
import getpass
import sys

import vmproxy
from vmproxy.auth.passwords import BadHash, hash_password
from vmproxy.cli import check, demo, make_cert, simulate


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
    check.add_arguments(commands.add_parser("check", help="check a configuration; show who may do what"))
    commands.add_parser("hash-password", help="make the hash of a password for the operators file")
    make_cert.add_arguments(
        commands.add_parser("make-cert", help="make a certificate for hosts; show what to enter in vSphere")
    )
    simulate.add_arguments(commands.add_parser("simulate", help="simulate ESXi hosts with VMs"))
    demo.add_arguments(commands.add_parser("demo", help="a concentrator with simulated VMs, for a first look"))
    args = parser.parse_args(arguments)
    if args.command == "check":
        return check.run(args)
    if args.command == "hash-password":
        return _hash_password()
    if args.command == "make-cert":
        return make_cert.run(args)
    if args.command == "simulate":
        return simulate.run(args)
    return demo.run(args)


def _hash_password() -> int:
    try:
        if sys.stdin.isatty():
            secret = getpass.getpass("Password: ")
            if getpass.getpass("Again: ") != secret:
                print("the passwords differ", file=sys.stderr)
                return 1
        else:
            secret = sys.stdin.readline().rstrip("\n")
        print(hash_password(secret))
    except (BadHash, UnicodeError) as error:
        print(error, file=sys.stderr)
        return 1
    except (EOFError, KeyboardInterrupt):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
