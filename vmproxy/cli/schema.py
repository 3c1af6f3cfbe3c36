"""``vmproxy schema``: the JSON schema of a TOML file, for editors."""

from __future__ import annotations

import argparse
import json

from vmproxy.config.json_schema import SCHEMAS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", choices=list(SCHEMAS), default="vmproxy", help="of which file: FILE.toml")


def run(args: argparse.Namespace) -> int:
    """Run the command; :returns: the exit status."""
    print(json.dumps(SCHEMAS[args.file](), indent=1))
    return 0
