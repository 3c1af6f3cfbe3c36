"""The lines that the concentrator logs at the start: addresses, accounts, and what to enter in vSphere."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from twisted.conch.ssh.keys import Key

import vmproxy
from vmproxy.auth.keyring import Keyring
from vmproxy.base.sanitize import visible
from vmproxy.config.settings import Config
from vmproxy.ssh.host_keys import fingerprint
from vmproxy.vm.certificates import Credentials
from vmproxy.vm.settings import Encryption

SHOWN = 5  # operators' names


@dataclass(frozen=True, slots=True)
class TLSStatus:
    """TLS towards hosts.

    :ivar addresses: the addresses where connections begin with TLS.
    """

    credentials: Credentials | None
    addresses: Sequence[str]


def startup_lines(
    config: Config,
    vm_addresses: Sequence[str],
    tls: TLSStatus,
    ssh_addresses: Sequence[str],
    host_keys: Sequence[Key],
    keyring: Keyring,
    known: int,
) -> list[str]:
    """The lines to log.

    :param keyring: the operators, and what they can log in with.
    :param known: the number of consoles that are known from before.
    """
    lines = [
        f"vmproxy {vmproxy.__version__} is ready.",
    ]
    if vm_addresses:
        lines.append(f"  Virtual machines connect to  {', '.join(vm_addresses)}{_in_band(config, tls)}")
    if tls.addresses:
        lines.append(f"  With TLS from the start, to  {', '.join(tls.addresses)}")
    uri = next((word for word in config.vm.service_uri if word != "*"), "vmproxy")
    settings = f"  In vSphere, serial port:     Direction: Server, Port URI: {uri}, vSPC URI: "
    for address in vm_addresses[:1]:
        host, number = _reachable(address)
        if number:
            lines.append(f"{settings}telnet://{host}:{number}")
    for address in tls.addresses[:1]:
        host, number = _reachable(address)
        if number and tls.credentials is not None:
            mark = tls.credentials.certificates[0].thumbprint
            lines.append(f"{settings}telnets://{host}:{number}#thumbprint={mark}")
    lines += _certificates(tls)
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


def tls_warnings(config: Config, credentials: Credentials | None, now: float) -> list[str]:
    """Warnings about TLS towards hosts.

    :param now: seconds since the epoch.
    """
    if credentials is None:
        return []
    found = credentials.warnings(datetime.datetime.fromtimestamp(now, datetime.UTC))
    if config.vm.tls.client_ca is not None and config.vm.listen and config.vm.encryption is not Encryption.REQUIRE:
        found.append(
            "vm.client-ca asks hosts for certificates, but without TLS they need none:"
            ' set vm.encryption = "require", or empty vm.listen'
        )
    return found


def _in_band(config: Config, tls: TLSStatus) -> str:
    if tls.credentials is None:
        return "  (no TLS)"
    return {
        Encryption.OFF: "  (no TLS)",
        Encryption.OFFER: "  (TLS is offered)",
        Encryption.REQUIRE: "  (TLS is required)",
    }[config.vm.encryption]


def _certificates(tls: TLSStatus) -> list[str]:
    lines = []
    for one in tls.credentials.certificates if tls.credentials is not None else ():
        names = visible(", ".join(one.names[:SHOWN])) or "no name"
        lines.append(f"  Certificate for hosts:       {names}, until {one.valid_until:%Y-%m-%d} ({one.file})")
    return lines


def _who(config: Config, keyring: Keyring) -> str:
    names = sorted(keyring.operators.entries)
    keys = _count(len(keyring.owners), "key")
    if config.ssh.accounts.operators_file is None:
        files = ", ".join(config.ssh.accounts.authorized_keys)
        if keyring.owners:
            return f"{names[0]}, with {keys} from {files}; nobody else"
        return f"NOBODY: there is no public key in {files} (ssh-keygen makes one)"
    means = [keys] if keyring.owners else []
    if keyring.passwords:
        means.append(_count(len(keyring.passwords), "password"))
    if keyring.authorities:
        means.append(f"certificates of {_count(len(keyring.authorities), 'authority', 'authorities')}")
    if not names or not means:
        return f"NOBODY: {config.ssh.accounts.operators_file} has no operator with a key, a certificate or a password"
    who = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return f"{who}, with {', '.join(means)} ({config.ssh.accounts.operators_file})"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _reachable(address: str) -> tuple[str, str]:
    """The host and the port of an address, as other machines may use them; empty if it is not a TCP address."""
    host, _, number = address.rpartition(":")
    if not number.isdecimal():
        return "", ""
    return (socket.gethostname() if host in ("0.0.0.0", "[::]") else host), number
