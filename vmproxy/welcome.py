"""What the concentrator says when it has started: where everything is, who may come in, what to enter in vSphere."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from twisted.conch.ssh.keys import Key

import vmproxy
from vmproxy.config import Config
from vmproxy.ssh.hostkeys import fingerprint
from vmproxy.ssh.keyring import Keyring

SHOWN = 5  # operators' names


def welcome(
    config: Config,
    vm_addresses: Sequence[str],
    ssh_addresses: Sequence[str],
    host_keys: Sequence[Key],
    keyring: Keyring,
    known: int,
) -> list[str]:
    """The lines to say.

    :param keyring: who may log in, and with what.
    :param known: how many consoles are known from before.
    """
    lines = [
        f"vmproxy {vmproxy.__version__} is ready.",
        f"  Virtual machines connect to  {', '.join(vm_addresses)}",
    ]
    for address in vm_addresses[:1]:
        host, number = _reachable(address)
        if number:
            uri = next((word for word in config.vm.service_uri if word != "*"), "vmproxy")
            lines.append(
                f"  In vSphere, serial port:     Direction: Server, Port URI: {uri}, vSPC URI: telnet://{host}:{number}"
            )
    lines.append(f"  Operators connect to         {', '.join(ssh_addresses)}")
    for address in ssh_addresses[:1]:
        host, number = _reachable(address)
        if number:
            lines.append(f"  To reach a console:          ssh -p {number} NAME@{host}")
            lines.append(f"  To see what there is:        ssh -p {number} {host} list")
    lines.append(f"  Who may log in:              {_who(config, keyring)}")
    for key in host_keys:
        lines.append(f"  SSH host key:                {fingerprint(key)} ({key.type()})")
    lines.append(f"  Logs:                        {config.log.dir}  (by name: {config.log.dir / 'by-name'})")
    lines.append(f"  State:                       {config.state_dir}  ({_count(known, 'console')} known)")
    return lines


def _who(config: Config, keyring: Keyring) -> str:
    names = sorted(keyring.operators.entries)
    keys = _count(len(keyring.owners), "key")
    if config.ssh.operators_file is None:
        files = ", ".join(config.ssh.authorized_keys)
        if keyring.owners:
            return f"{names[0]}, with {keys} from {files}; nobody else"
        return f"NOBODY: there is no public key in {files} (ssh-keygen makes one)"
    means = [keys] if keyring.owners else []
    if keyring.passwords:
        means.append(_count(len(keyring.passwords), "password"))
    if keyring.authorities:
        means.append(f"certificates of {_count(len(keyring.authorities), 'authority', 'authorities')}")
    if not names or not means:
        return f"NOBODY: {config.ssh.operators_file} has no operator with a key, a certificate or a password"
    who = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return f"{who}, with {', '.join(means)} ({config.ssh.operators_file})"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _reachable(address: str) -> tuple[str, str]:
    """The host that others may use for an address, and the port; empty where it is no TCP address."""
    host, _, number = address.rpartition(":")
    if not number.isdecimal():
        return "", ""
    return (socket.gethostname() if host in ("0.0.0.0", "[::]") else host), number
