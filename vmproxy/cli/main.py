"""The ``vmproxy`` command, with its subcommands."""

from __future__ import annotations

import argparse
import getpass
import re
import sys
from collections.abc import Mapping

import vmproxy
from vmproxy.auth.passwords import BadHash, hash_password
from vmproxy.base.nearest import did_you_mean
from vmproxy.base.sanitize import visible
from vmproxy.cli import check, completion, demo, init, make_cert, probe, run, schema, simulate, token, trace


def parsers() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """The parser of the command, and those of its subcommands by name."""
    parser = argparse.ArgumentParser(
        prog="vmproxy",
        description="A virtual serial port concentrator for VMware virtual machines, and its tools.",
        epilog="`vmproxy COMMAND --help' says more. `twistd vmproxy' runs the concentrator as a background process.",
    )
    parser.add_argument("--version", action="version", version=f"vmproxy {vmproxy.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module, help_text in (
        ("run", run, "run the concentrator in the foreground"),
        ("init", init, "write a first configuration, from five questions"),
        ("check", check, "check a configuration; show who may do what"),
        ("make-cert", make_cert, "make a certificate for hosts; show what to enter in vSphere"),
        ("schema", schema, "print the JSON schema of a configuration file, for editors"),
        ("probe", probe, "play a host against any concentrator, and say what is wrong with it"),
        ("trace", trace, "show what a host, or the host of a VM, negotiates with the concentrator here"),
        ("token", token, "make, list and revoke tokens for scripts that use the HTTP API"),
        ("simulate", simulate, "simulate ESXi hosts with VMs"),
        ("demo", demo, "a concentrator with simulated VMs, for a first look"),
    ):
        command = commands.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    password = commands.add_parser("hash-password", help="make the hash of a password for the operators file")
    password.set_defaults(run=_hash_password)
    shell = commands.add_parser("completion", help="print what has a shell complete the words of vmproxy")
    completion.add_arguments(shell)
    shell.set_defaults(run=_completion)
    return parser, commands.choices


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    :param arguments: those of the process, if None.
    :returns: the exit status.
    """
    parser, commands = parsers()
    words = sys.argv[1:] if arguments is None else arguments
    if not words:
        parser.error(f"give a command: {', '.join(commands)}")
    if not words[0].startswith("-") and words[0] not in commands:
        near = did_you_mean(words[0], commands) or f"; there are {', '.join(commands)}"
        parser.error(f"{visible(words[0])}: no such command{near}")
    args, unknown = parser.parse_known_args(words)
    if unknown:
        command = commands[args.command]
        known = re.findall(r"(?<!\w)--?\w[\w-]*", command.format_help())
        near = did_you_mean(unknown[0].partition("=")[0], known) if unknown[0].startswith("--") else ""
        command.error(f"{visible(unknown[0])}: not expected here{near}")
    status: int = args.run(args)
    return status


def _completion(args: argparse.Namespace) -> int:
    print(completion.script(args.shell, parsers()[1], args.ssh), end="")
    return 0


def _hash_password(_: argparse.Namespace) -> int:
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
