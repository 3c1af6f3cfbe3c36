"""What the concentrator says when it has started: where everything is, who may come in, what to enter in vSphere."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from twisted.conch.ssh.keys import Key

import vmproxy
from vmproxy.config import Config
from vmproxy.ssh.hostkeys import fingerprint


def welcome(
    config: Config,
    vm_addresses: Sequence[str],
    ssh_addresses: Sequence[str],
    host_keys: Sequence[Key],
    operator: str,
    authorized: int,
    known: int,
) -> list[str]:
    """The lines to say.

    :param operator: who may log in, with any of the ``authorized`` keys.
    :param known: how many consoles are known from before.
    """
    files = ", ".join(config.ssh.authorized_keys)
    keys = "1 key" if authorized == 1 else f"{authorized} keys"
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
    if authorized:
        lines.append(f"  Who may log in:              {operator}, with {keys} from {files}; nobody else")
    else:
        lines.append(f"  Who may log in:              NOBODY: there is no public key in {files} (ssh-keygen makes one)")
    for key in host_keys:
        lines.append(f"  SSH host key:                {fingerprint(key)} ({key.type()})")
    lines.append(f"  Logs:                        {config.log.dir}  (by name: {config.log.dir / 'by-name'})")
    lines.append(
        f"  State:                       {config.state_dir}  ({known} console{'' if known == 1 else 's'} known)"
    )
    return lines


def _reachable(address: str) -> tuple[str, str]:
    """The host that others may use for an address, and the port; empty where it is no TCP address."""
    host, _, number = address.rpartition(":")
    if not number.isdecimal():
        return "", ""
    return (socket.gethostname() if host in ("0.0.0.0", "[::]") else host), number
