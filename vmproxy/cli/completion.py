"""``vmproxy completion``: what has a shell complete the words of ``vmproxy``, made from its options.

With ``--ssh HOST`` the words behind ``ssh HOST`` too: the concentrator there is asked, by its command ``complete``.
"""

from __future__ import annotations

import argparse
import re
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

# What the shell has completed behind `ssh' before goes on for all other hosts.
_BASH_SSH = """\
_vmproxy_ssh() {{
    local left=${{COMP_LINE:0:COMP_POINT}} current=${{COMP_WORDS[COMP_CWORD]}} word last
    local -a typed found
    read -ra typed <<<"$left"
    for word in "${{typed[@]:1}}"; do
        if [[ $word == {host} || $word == *@{host} ]] && [[ $left == *[[:space:]]"$word"[[:space:]]* ]]; then
            last=${{left##*[[:space:]]}}
            left=${{left#*[[:space:]]"$word"}}
            left=${{left#"${{left%%[![:space:]]*}}"}}
            mapfile -t found < <({ask} "$word" complete "$(printf %q "$left")" 2>/dev/null </dev/null)
            COMPREPLY=()
            for word in "${{found[@]#"${{last%"$current"}}"}}"; do
                COMPREPLY+=("$(printf %q "$word")")
            done
            return
        fi
    done
    if declare -F _comp_load >/dev/null; then
        _comp_load ssh
    elif declare -F _completion_loader >/dev/null; then
        _completion_loader ssh
    fi
    complete -F _vmproxy_ssh ssh
    if declare -F _comp_cmd_ssh >/dev/null; then
        _comp_cmd_ssh "$@"
    elif declare -F _ssh >/dev/null; then
        _ssh "$@"
    fi
}}
complete -F _vmproxy_ssh ssh
"""
_ZSH_SSH = """\
_vmproxy_ssh() {{
    local place=${{words[(I){host}]}} line
    (( place )) || place=${{words[(I)*@{host}]}}
    if (( place > 1 && CURRENT > place )); then
        line=${{(j: :)words[place+1,CURRENT]}}
        compadd -- ${{(f)"$({ask} $words[place] complete ${{(qq)line}} 2>/dev/null </dev/null)"}}
    else
        _ssh "$@"
    fi
}}
autoload -Uz _ssh && compdef _vmproxy_ssh ssh
"""
_FISH_SSH = """\
function __vmproxy_ssh_place
    set -l words (commandline -opc)
    for place in (seq 2 (count $words))
        if string match -qr '^([^@]+@)?{pattern}$' -- $words[$place]
            echo $place
            return
        end
    end
    return 1
end
function __vmproxy_ssh
    set -l words (commandline -opc)
    set -l place (__vmproxy_ssh_place)
    set -l line (string join ' ' -- $words[(math $place + 1)..] (commandline -ct))
    {ask} $words[$place] complete (string escape -- $line) 2>/dev/null </dev/null
end
complete -c ssh -f -n __vmproxy_ssh_place -a '(__vmproxy_ssh)'
"""
_SSH = {"bash": _BASH_SSH, "zsh": _ZSH_SSH, "fish": _FISH_SSH}
_ASK = "command ssh -o BatchMode=yes -o ConnectTimeout=3"
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no host")
    return text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="which shell; put the output where it looks for completions")
    parser.add_argument(
        "--ssh", metavar="HOST", type=_host, help="complete what stands behind `ssh HOST' too, by asking vmproxy there"
    )


def script(shell: str, commands: Mapping[str, argparse.ArgumentParser], host: str | None = None) -> str:
    """The lines for a shell.

    :param commands: the parsers of the subcommands, by name.
    :param host: behind which ``ssh`` is completed too.
    """
    own = _own(shell, commands)
    return own if host is None else own + _SSH[shell].format(host=host, pattern=host.replace(".", "[.]"), ask=_ASK)


def _own(shell: str, commands: Mapping[str, argparse.ArgumentParser]) -> str:
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
