"""The lines that the concentrator logs at the start: addresses, accounts, and what to enter in vSphere."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

from twisted.conch.ssh.keys import Key

import vmproxy
from vmproxy.auth.accounts_file import SOURCES
from vmproxy.auth.keyring import Keyring
from vmproxy.base.sanitize import visible
from vmproxy.config.advice import advise
from vmproxy.config.settings import Config
from vmproxy.ssh.host_keys import fingerprint
from vmproxy.vm.certificates import Credentials
from vmproxy.vm.settings import Encryption

SHOWN = 5  # operators' names
WIDTH = 79
_LABEL = 29


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
    web_addresses: Mapping[str, Sequence[str]],
) -> list[str]:
    """The lines to log.

    :param keyring: the operators, and what they can log in with.
    :param known: the number of consoles that are known from before.
    :param web_addresses: where browsers are served, by scheme.
    """
    lines = [f"vmproxy {vmproxy.__version__} is ready."]
    if vm_addresses:
        lines += _entry("Virtual machines connect to", f"{', '.join(vm_addresses)}{_in_band(config, tls)}")
    if tls.addresses:
        lines += _entry("With TLS from the start, to", ", ".join(tls.addresses))
    lines += vsphere_lines(config, vm_addresses, tls)
    lines += _certificates(tls)
    lines += _entry("Operators connect to", ", ".join(ssh_addresses))
    for address in ssh_addresses[:1]:
        host, number = _reachable(address)
        if number:
            lines += _entry("To reach a console:", f"ssh -p {number} NAME@{host}")
            lines += _entry("To see what there is:", f"ssh -p {number} {host} list")
    lines += _browsers(config, web_addresses)
    lines += _entry("Who may log in:", _who(config, keyring))
    for key in host_keys:
        lines += _entry(f"SSH host key ({key.type()}):", fingerprint(key))
    lines += _entry("Logs:", str(config.log.dir), f"by name: {config.log.dir / 'by-name'}")
    lines += _entry("State:", str(config.state_dir), f"({_count(known, 'console')} known)")
    if open_decisions := list(advise(config, keyring)):
        file = config.source.name if config.source.toml else "FILE"
        things = _count(len(open_decisions), "thing")
        lines += _entry("Before production:", f"{things} to decide:", f"vmproxy check {file} --advise")
    return lines


def _browsers(config: Config, addresses: Mapping[str, Sequence[str]]) -> list[str]:
    links = []
    for scheme, listening in addresses.items():
        for address in listening:
            host, number = _reachable(address)
            links.append(f"{scheme}://{host}:{number}/" if number else address)
    if config.web.public_url and links:
        links.insert(0, f"{config.web.public_url}/")
    return _entry("Browsers go to", *links) if links else []


def vsphere_lines(config: Config, vm_addresses: Sequence[str], tls: TLSStatus) -> list[str]:
    """What to enter in vSphere."""
    lines = []
    uri = next((word for word in config.vm.service_uri if word != "*"), "vmproxy")
    settings = f"Direction: Server, Port URI: {visible(uri)}"
    for address in vm_addresses[:1]:
        host, number = _reachable(address)
        if number:
            lines += _entry("In vSphere, serial port:", settings, f"vSPC URI: telnet://{host}:{number}")
    for address in tls.addresses[:1]:
        host, number = _reachable(address)
        if number and tls.credentials is not None:
            mark = tls.credentials.certificates[0].thumbprint
            lines += _entry("In vSphere, serial port:", settings, "vSPC URI, in one line:")
            lines.append(f"    telnets://{host}:{number}#thumbprint={mark}")
    return lines


def _entry(label: str, *texts: str) -> list[str]:
    """A label and what belongs to it, in lines of at most :data:`WIDTH` characters; a path or a URI is not broken."""
    lines = [
        line
        for text in texts
        for line in wrap(text, WIDTH - _LABEL, break_long_words=False, break_on_hyphens=False) or [""]
    ]
    labels = [f" {label}"] + [""] * len(lines)
    return [f"{left:<{_LABEL}}{line}" for left, line in zip(labels, lines, strict=False)]


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
        lines += _entry("Certificate for hosts:", f"{names}, until {one.valid_until:%Y-%m-%d}", f"({one.file})")
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
    sources = {keyring.source_of(name)[0] for name in names} & set(SOURCES)
    means += [f"passwords by {source.upper()}" for source in sorted(sources)]
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
