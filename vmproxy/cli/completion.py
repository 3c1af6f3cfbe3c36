"""``vmproxy completion``: what has a shell complete the words of ``vmproxy``, made from its options."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

SHELLS = ("bash", "zsh", "fish")

_BASH = """\
_vmproxy() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} words
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    else
        case ${{COMP_WORDS[1]}} in
{cases}
        esac
    fi
    if [ "$COMP_CWORD" -eq 1 ] || [ "${{current#-}}" != "$current" ]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    else
        local IFS=$'\\n'
        COMPREPLY=($(compgen -f -- "$current"))
    fi
}}
complete -o filenames -F _vmproxy vmproxy
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("shell", choices=SHELLS, help="which shell; put the output where it looks for completions")


def script(shell: str, commands: Mapping[str, argparse.ArgumentParser]) -> str:
    """The lines for a shell.

    :param commands: the parsers of the subcommands, by name.
    """
    options = {name: _options(command) for name, command in commands.items()}
    if shell == "fish":
        return "".join(_fish(options))
    cases = "\n".join(f'            {name}) words="{" ".join(words)}" ;;' for name, words in options.items())
    text = _BASH.format(commands=" ".join(commands), cases=cases)
    return text if shell == "bash" else f"autoload -U +X bashcompinit && bashcompinit\n{text}"


def _options(parser: argparse.ArgumentParser) -> list[str]:
    usage = parser.format_help()
    known = [word.strip("[],|()") for word in usage.split()]
    return sorted({word.partition("=")[0] for word in known if word.startswith("--") and len(word) > 2})


def _fish(options: Mapping[str, list[str]]) -> list[str]:
    first = "not __fish_seen_subcommand_from " + " ".join(options)
    lines = [f"complete -c vmproxy -f -n '{first}' -a '{' '.join(options)}'\n"]
    for name, words in options.items():
        lines += [f"complete -c vmproxy -n '__fish_seen_subcommand_from {name}' -l {word[2:]}\n" for word in words]
    return lines
