"""Man pages that are made: the command-line tools from their options, the files from their samples.

The others are pages of this folder as they are. ``make man`` writes all of them to ``build/man``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from vmproxy.cli.main import parsers

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(__file__).parent / "man"
AUTHOR = "the vmproxy developers"
PAGES = [
    ("man/vmproxy.1", "vmproxy", "a virtual serial port concentrator, and its tools", AUTHOR, 1),
    ("running", "vmproxy", "running the concentrator", AUTHOR, 8),
    ("man/vmproxy.toml.5", "vmproxy.toml", "the configuration of vmproxy", AUTHOR, 5),
    ("man/operators.toml.5", "operators.toml", "the operators of vmproxy", AUTHOR, 5),
    ("operating", "vmproxy-console", "at the consoles of vmproxy", AUTHOR, 7),
    ("commands", "vmproxy-commands", "the commands of vmproxy over SSH", AUTHOR, 7),
]
"""As ``man_pages`` of Sphinx: source, name, description, author, section."""

_ORPHAN = ":orphan:\n\n"
_SAMPLES = {"vmproxy.toml.5": "vmproxy.toml", "operators.toml.5": "operators.toml"}
_RULER = re.compile(r"# -{4} (.+?) (?:\(\*\) )?-+")
_KEY = re.compile(r"#?([a-z][\w-]*) = ")
_TABLE = re.compile(r"#? ?(\[\[?[\w.-]+\]\]?)")


def write() -> None:
    """Write the sources of the pages that are made, for Sphinx."""
    FOLDER.mkdir(exist_ok=True)
    pages = {"vmproxy.1": tools()} | {page: settings(ROOT / "etc" / name) for page, name in _SAMPLES.items()}
    for name, text in pages.items():
        (FOLDER / f"{name}.rst").write_text(text, "utf-8")


def _title(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}\n\n"


def _literal(lines: list[str]) -> str:
    return "::\n\n" + "".join(f"   {line}\n" if line else "\n" for line in lines) + "\n"


# The tools.


def tools() -> str:
    """The page of the ``vmproxy`` command: all subcommands with their options."""
    parser, commands = parsers()
    parts = [_ORPHAN, _title("vmproxy"), _title("Synopsis", "-"), *_help_of(parser)]
    for name, command in commands.items():
        parts += [_title(f"vmproxy {name}", "-"), *_help_of(command)]
    return "".join(parts)


def _help_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=78)
    yield _literal(parser.format_help().rstrip().splitlines())


# The files.


def settings(sample: Path) -> str:
    """The page of a TOML file: its sample, whose comments explain each setting."""
    parts = [_ORPHAN, _title(sample.name), _title("Description", "-")]
    for block in re.split(r"\n{2,}", sample.read_text("utf-8").strip()):
        parts += _block(block.splitlines())
    return "".join(parts)


def _block(lines: list[str]) -> Iterator[str]:
    """A part of a sample between empty lines: a headline, prose, and the settings that it is about."""
    if ruler := _RULER.fullmatch(lines[0]):
        yield _title(ruler[1], "-")
        lines = lines[1:]
    at = next((n for n, line in enumerate(lines) if _KEY.match(line) or _TABLE.fullmatch(line)), len(lines))
    prose = [line.removeprefix("#").removeprefix(" ") for line in lines[:at]]
    told = lines[at:]
    if told and (keys := [found[1] for line in told if (found := _KEY.match(line))]):
        yield _title(", ".join(keys), "~")
    for indented, group in groupby(prose, lambda line: line.startswith(" ")):
        text = list(group)
        yield _literal(text) if indented else "".join(f"{_plain(line)}\n" for line in text) + "\n"
    if told:
        yield _literal(told)


def _plain(line: str) -> str:
    """A line without what reStructuredText would take for markup or for a link."""
    return re.sub(r"([\\*`|_:])", r"\\\1", line)
