"""``vmproxy init``: the first configuration, made from five answers.

It writes a configuration, an operators file with the caller's key, and a certificate, all of them short: what is left
out has its default. Nothing that is there is overwritten.
"""

from __future__ import annotations

import argparse
import datetime
import getpass
import glob
import os
import pwd
import re
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vmproxy.auth.accounts_file import parse_operators
from vmproxy.base.sanitize import visible
from vmproxy.cli import make_cert
from vmproxy.config.settings import parse_config
from vmproxy.errors import ConfigError, VMProxyError
from vmproxy.vm.certificates import thumbprint

CONFIG, OPERATORS, CERTIFICATE = "vmproxy.toml", "operators.toml", "vm.pem"
VM_PORT, TLS_PORT, SSH_PORT = 13370, 13371, 2222
DAYS = 3650
KEY_LIMIT = 65536


class CannotWrite(VMProxyError):
    """No configuration can be made of the answers."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a first configuration is made of.

    :ivar folder: for the configuration.
    :ivar name: by which hosts and operators reach this machine.
    :ivar word: the service URI of the VMs.
    :ivar encrypt: whether there is to be a certificate.
    :ivar keys: public keys of the operator, as in ``authorized_keys``.
    """

    folder: Path
    state: Path
    log: Path
    name: str
    word: str
    encrypt: bool
    operator: str
    keys: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    root = os.geteuid() == 0
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path("/etc/vmproxy" if root else "vmproxy-config"),
        metavar="FOLDER",
        help="where the files are written (default: /etc/vmproxy for root, vmproxy-config for others)",
    )
    parser.add_argument("--name", help="the name by which ESXi hosts and operators reach this machine")
    parser.add_argument("--service-uri", metavar="WORD", help="the Port URI of the VMs (default: vmproxy)")
    tls = parser.add_mutually_exclusive_group()
    tls.add_argument("--tls", action="store_true", default=None, help="make a certificate (default)")
    tls.add_argument("--no-tls", action="store_false", dest="tls", help="hosts connect in clear")
    parser.add_argument("--operator", metavar="NAME", help="your name as an operator (default: that of your account)")
    parser.add_argument(
        "--key",
        action="append",
        metavar="FILE",
        help="your public key, may be given several times (default: all of ~/.ssh/*.pub)",
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing: what is not given has its default")


def run(args: argparse.Namespace) -> int:
    """Run the command.

    :returns: the exit status: 1 if nothing was written.
    """
    try:
        answers = _ask(args, sys.stdin.isatty() and not args.yes)
        told = write(answers)
    except (CannotWrite, make_cert.BadName) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except (EOFError, KeyboardInterrupt):
        print("\nNothing was written.", file=sys.stderr)
        return 1
    print(told)
    return 0


# The answers.


def _ask(args: argparse.Namespace, ask: bool) -> Answers:
    account = _account()
    found = sorted(glob.glob(str(Path(account.pw_dir) / ".ssh/*.pub")))
    folder = Path(_answer(ask, "Folder for the configuration", None, str(args.dir))).expanduser().absolute()
    _check_free(folder)
    name = _answer(ask, "Name by which ESXi hosts and operators reach this machine", args.name, socket.getfqdn())
    word = _answer(ask, "Service URI, the Port URI of the VMs", args.service_uri, "vmproxy")
    encrypt = args.tls
    if encrypt is None:
        encrypt = _yes(_answer(ask, "Make a certificate, so that hosts can use TLS (yes or no)", None, "yes"))
    operator = _answer(ask, "Your name as an operator", args.operator, account.pw_name)
    files = args.key
    if files is None and not found and ask:
        files = [_answer(ask, "File with your public key", None, "")]
    keys = tuple(_keys_in([str(Path(file).expanduser()) for file in files] if files else found))
    if not keys:
        raise CannotWrite(
            f"no public key in {account.pw_dir}/.ssh/*.pub: make one with ssh-keygen, or give its file with --key"
        )
    system = folder == Path("/etc/vmproxy")
    state = Path("/var/lib/vmproxy") if system else folder / "var"
    log = Path("/var/log/vmproxy") if system else folder / "log"
    return Answers(folder, state, log, name, word, encrypt, operator, keys)


def _account() -> pwd.struct_passwd:
    """Whoever sits at the terminal, also behind sudo."""
    try:
        return pwd.getpwnam(os.environ.get("SUDO_USER") or getpass.getuser())
    except (KeyError, OSError):
        home = os.path.expanduser("~")
        return pwd.struct_passwd(("operator", "x", os.getuid(), os.getgid(), "", home, "/bin/sh"))


def _answer(ask: bool, question: str, given: str | None, default: str) -> str:
    if given is not None or not ask:
        return default if given is None else given
    return input(f"{question} [{default}]: ").strip() or default


def _yes(answer: str) -> bool:
    said = answer.casefold()
    if said not in ("yes", "y", "no", "n"):
        raise CannotWrite(f"{visible(answer)}: answer yes or no")
    return said in ("yes", "y")


def _keys_in(files: list[str]) -> Iterator[str]:
    for file in files:
        with open(file, encoding="utf-8", errors="replace") as opened:
            for line in opened.read(KEY_LIMIT).splitlines():
                if line.strip() and not line.lstrip().startswith("#"):
                    if "PRIVATE KEY" in line:
                        raise CannotWrite(f"{file}: this is a private key; give the public one, {file}.pub")
                    yield line.strip()


# The files.


def _check_free(folder: Path) -> None:
    for name in (CONFIG, OPERATORS, CERTIFICATE):
        if (folder / name).exists():
            raise CannotWrite(f"{folder / name}: it is there already; give another folder with --dir, or remove it")


def write(answers: Answers) -> str:
    """Write the files.

    :returns: what to do next, for people.
    :raises CannotWrite: if they would not be right; nothing is written then.
    :raises BadName: if no host could find this machine by that name; nothing is written then.
    :raises OSError: if they cannot be written.
    """
    operators = _operators(answers)
    _judge(answers, operators)
    make_cert.general_name(answers.name)
    mark, pem = "", b""
    if answers.encrypt:
        certificate, pem = make_cert.make([answers.name], DAYS, make_cert.KIND, datetime.datetime.now(datetime.UTC))
        mark = f"#thumbprint={thumbprint(certificate)}"
    _check_free(answers.folder)
    answers.folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    if pem:
        _put(answers.folder / CERTIFICATE, pem, 0o600)
    _put(answers.folder / OPERATORS, operators.encode(), 0o640)
    _put(answers.folder / CONFIG, _config(answers).encode(), 0o644)
    return _next(answers, mark)


def _put(file: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
        opened.write(data)


def _judge(answers: Answers, operators: str) -> None:
    """Have the files read by those who will read them."""
    try:
        parse_operators(operators.encode(), OPERATORS, answers.folder)
        problems = parse_config(_config(answers).encode(), CONFIG, {}).problems
    except ConfigError as error:
        problems = error.problems
    if problems:
        raise CannotWrite("\n".join(problems))


def _config(answers: Answers) -> str:
    lines = [
        "# Made by `vmproxy init'. What is not here has its default; every setting is explained in the sample",
        "# etc/vmproxy.toml. After a change: vmproxy check FILE, then reload the service (SIGHUP).",
        f"state-dir = {_quoted(str(answers.state))}",
        "",
        "[vm]",
        f"service-uri = [{_quoted(answers.word)}]",
    ]
    if answers.encrypt:
        lines += [
            f"certificates = [{_quoted(str(answers.folder / CERTIFICATE))}]",
            f'tls-listen = ["tcp:{TLS_PORT}"]',
        ]
    lines += [
        "# Only your ESXi hosts, if you know their networks:",
        '#networks = ["10.20.0.0/16"]',
        "",
        "[ssh]",
        f"operators-file = {_quoted(str(answers.folder / OPERATORS))}",
        "",
        "[log]",
        f"dir = {_quoted(str(answers.log))}",
        "# Rotation, so that logs do not fill the disk:",
        'rotate-size = "100 MB"',
        "keep = 10",
        "",
        "# Rules say who may do what on which consoles; the first that matches decides.",
        "[[rule]]",
        'who = ["@admins"]',
        'may = ["admin"]',
        'on = ["*"]',
        "",
    ]
    return "\n".join(lines)


def _operators(answers: Answers) -> str:
    keys = "".join(f"    {_quoted(key)},\n" for key in answers.keys)
    return (
        "# Who may log in. Add an operator: a table like this one; no restart is needed.\n"
        f"[operators.{_quoted(answers.operator)}]\n"
        f"keys = [\n{keys}]\n"
        'groups = ["admins"]\n'
    )


def _quoted(text: str) -> str:
    """A TOML string."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\u{ord(found[0]):04x}", plain) + '"'


def _next(answers: Answers, mark: str) -> str:
    host = f"[{answers.name}]" if ":" in answers.name else answers.name
    config = answers.folder / CONFIG
    uri = f"telnets://{host}:{TLS_PORT}{mark}" if mark else f"telnet://{host}:{VM_PORT}"
    names = [CONFIG, OPERATORS, *([CERTIFICATE] if mark else [])]
    lines = [
        f"Written to {answers.folder}: {', '.join(names)}",
        f"{answers.operator} may do everything, with {len(answers.keys)} key{'s' if len(answers.keys) > 1 else ''}.",
        "",
        "Check it, and start:",
        f"  vmproxy check {config} --advise",
        f"  vmproxy run --config {config}",
    ]
    if answers.folder == Path("/etc/vmproxy"):
        lines += [
            "As a service: the head of etc/vmproxy.service says how. The account that runs it",
            "must be able to read these files: chown root:vmproxy and chmod 640 them.",
        ]
    lines += [
        "",
        "In vSphere, for each VM, add a serial port that uses the network:",
        "  Direction:  Server",
        f"  Port URI:   {answers.word}",
        f"  vSPC URI:   {uri}",
        "",
        "Then, from your own machine:",
        f"  ssh -p {SSH_PORT} {answers.operator}@{answers.name} list",
        f"  ssh -p {SSH_PORT} NAME@{answers.name}",
    ]
    return "\n".join(lines)
