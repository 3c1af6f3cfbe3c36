"""``vmproxy probe``: plays an ESXi host against any concentrator, and says what is wrong with its answers.

A few connections, one after the other, from a VM that does not exist. Bound: :data:`STEP_SECONDS` for each answer and
:data:`BYTES_LIMIT` bytes of a connection, whatever the far end sends.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from uuid import UUID

from vmproxy.base.sanitize import visible
from vmproxy.wire import telnet
from vmproxy.wire.telnet import (
    AUTHENTICATION,
    BINARY,
    DO,
    DONT,
    SGA,
    VMWARE_EXT,
    WILL,
    WONT,
    Negotiation,
    Oddity,
    Scanner,
    Subnegotiation,
    Token,
)
from vmproxy.wire.vmware import SUPPORTED, Sub, format_uuid, message

DEFAULT_PORT = 13370
STEP_SECONDS = 3.0
BYTES_LIMIT = 256 * 1024
QUIET_SECONDS = 0.3
"""How long it is listened whether anything comes that should not."""

VM = UUID("00000000-7072-6f62-6500-766d70726f78")
NAME = "vmproxy-probe"
_ANSWERS = {
    bytes([Sub.GET_VM_VC_UUID]): (Sub.VM_VC_UUID, format_uuid(VM)),
    bytes([Sub.GET_VM_BIOS_UUID]): (Sub.VM_BIOS_UUID, format_uuid(VM)),
    bytes([Sub.GET_VM_LOCATION_UUID]): (Sub.VM_LOCATION_UUID, format_uuid(VM)),
    bytes([Sub.GET_VM_NAME]): (Sub.VM_NAME, NAME.encode()),
}
_UNKNOWN_CODE, _UNKNOWN_OPTION = 99, 200
_SEQUENCE = b"\x76\x19\xff\xe9"  # with a byte that is doubled on the wire, as one that was captured


class ProbeError(Exception):
    """The probe cannot go on; the text says why."""


@dataclass(slots=True)
class Findings:
    """What was found, told as it is found."""

    wrong: int = 0
    notes: int = 0

    def good(self, text: str) -> None:
        print(f"good   {text}", flush=True)

    def note(self, text: str) -> None:
        """Something that a host can live with."""
        self.notes += 1
        print(f"note   {text}", flush=True)

    def bad(self, text: str) -> None:
        self.wrong += 1
        print(f"WRONG  {text}", flush=True)

    def check(self, right: object, good: str, bad: str) -> bool:
        """Tell one of two things."""
        if right:
            self.good(good)
        else:
            self.bad(bad)
        return bool(right)


@dataclass(slots=True)
class Host:
    """A host's connection, with everything that came."""

    sock: socket.socket
    tokens: list[Token] = field(default_factory=list)
    closed: bool = False
    _scanner: Scanner = field(default_factory=Scanner)
    _received: int = 0
    _agreed: set[tuple[int, int]] = field(default_factory=set)

    def send(self, data: bytes) -> None:
        """:raises ProbeError: if it cannot be sent."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            self.closed = True
            raise ProbeError(f"the connection is gone: {error}") from None

    def say(self, code: int, parameters: bytes = b"") -> None:
        self.send(telnet.subnegotiation(VMWARE_EXT, message(code, parameters)))

    def wait(self, found: Callable[[], object], seconds: float = STEP_SECONDS) -> bool:
        """Read until something has come; false if it does not come in time."""
        end = time.monotonic() + seconds
        while not found():
            left = end - time.monotonic()
            if left <= 0 or self.closed:
                return False
            self._read(left)
        return True

    def _read(self, seconds: float) -> None:
        self.sock.settimeout(seconds)
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            return
        except OSError:
            data = b""
        self._received += len(data)
        if self._received > BYTES_LIMIT:
            raise ProbeError(f"it sends without end: more than {BYTES_LIMIT} bytes")
        if not data:
            self.closed = True
        for token in self._scanner.feed(data):
            self.tokens.append(token)
            if not self.closed:
                self._answer(token)

    def _answer(self, token: object) -> None:
        try:
            match token:
                case Subnegotiation(option=code, payload=payload) if code == VMWARE_EXT and payload[:1] in _ANSWERS:
                    self.say(*_ANSWERS[payload[:1]])
                case Negotiation(verb=verb, option=option) if option in (BINARY, SGA) and verb in (DO, WILL):
                    self._agree(verb, option)
        except ProbeError:
            return  # it has closed the connection behind what it said: whoever waits for more sees that

    def _agree(self, verb: int, option: int) -> None:
        if (verb, option) not in self._agreed:
            self._agreed.add((verb, option))
            self.send(telnet.negotiation(WILL if verb == DO else DO, option))

    def has(self, verb: int, option: int) -> bool:
        return Negotiation(verb, option) in self.tokens

    def subs(self, code: int) -> list[bytes]:
        """The parameters of the suboptions of a code that came."""
        payloads = [one.payload for one in self.tokens if isinstance(one, Subnegotiation) and one.option == VMWARE_EXT]
        return [payload[1:] for payload in payloads if payload[:1] == bytes([code])]

    def heard(self, *codes: int) -> bool:
        """Whether one of these suboptions came in time."""
        return self.wait(lambda: any(self.subs(code) for code in codes))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("proxy", metavar="telnet://HOST:PORT", help="as in a VM's vSPC URI; telnets:// for TLS")
    parser.add_argument("--service-uri", default="vmproxy", metavar="URI", help="the Port URI (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run the command.

    :returns: the exit status: 1 if something is wrong, 2 if the URI is.
    """
    try:
        url = urlsplit(args.proxy)
        where = (url.hostname or "", url.port or DEFAULT_PORT)
    except ValueError as error:
        print(f"{visible(args.proxy)}: {error}", file=sys.stderr)
        return 2
    if url.scheme not in ("telnet", "telnets") or not where[0]:
        print(f"{visible(args.proxy)}: write telnet://HOST:PORT or telnets://HOST:PORT", file=sys.stderr)
        return 2
    findings = Findings()
    hosts: list[Host] = []

    def connect() -> Host:
        hosts.append(_connected(where, url.scheme == "telnets"))
        return hosts[-1]

    try:
        _probe(connect, args.service_uri.encode(), findings)
    except (ProbeError, OSError, UnicodeError) as error:
        findings.bad(f"broken off: {error}")
    finally:
        for host in hosts:
            host.sock.close()
    for what in sorted({token.what for host in hosts for token in host.tokens if isinstance(token, Oddity)}):
        findings.bad(f"its Telnet is not clean: {visible(what)}")
    notes = f", {findings.notes} to note" if findings.notes else ""
    print(f"{findings.wrong or 'nothing'} wrong{notes}")
    return 1 if findings.wrong else 0


def _connected(where: tuple[str, int], tls: bool) -> Host:
    sock = socket.create_connection(where, STEP_SECONDS)
    if not tls:
        return Host(sock)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # a probe has nothing to lose
    try:
        return Host(context.wrap_socket(sock, server_hostname=where[0]))
    except OSError:
        sock.close()
        raise


def _probe(connect: Callable[[], Host], uri: bytes, found: Findings) -> None:
    host = connect()
    found.good("it accepts connections")
    if not _introduced(host, found):
        return
    host.say(Sub.DO_PROXY, b"S" + uri)
    host.heard(Sub.WILL_PROXY, Sub.WONT_PROXY)
    refused = host.subs(Sub.WONT_PROXY)
    word = visible(uri.decode("utf-8", "replace"))
    if not found.check(
        host.subs(Sub.WILL_PROXY),
        f"it serves VMs with the Port URI {word} (WILL-PROXY)",
        f"it refuses the Port URI {word} (WONT-PROXY); see --service-uri" if refused else "DO-PROXY is not answered",
    ):
        return
    found.check(
        host.heard(Sub.GET_VM_VC_UUID),
        "it asks which VM it is",
        "it never asks for the VC UUID: how does it tell VMs apart?",
    )
    if not host.heard(Sub.GET_VM_NAME):
        found.note("it does not ask for the VM's name")
    _manners(host, found)
    _move(connect, host, found)


def _introduced(host: Host, found: Findings) -> bool:
    for option in (AUTHENTICATION, VMWARE_EXT):
        host.send(telnet.negotiation(WILL, option))
    host.wait(lambda: host.has(DO, VMWARE_EXT) or host.has(DONT, VMWARE_EXT))
    if not found.check(
        host.has(DO, VMWARE_EXT),
        "it wants VMware's extension (DO 232)",
        "it is no concentrator for ESXi: WILL 232 is not answered with DO 232",
    ):
        return False
    if not host.wait(lambda: host.has(DO, AUTHENTICATION) or host.has(DONT, AUTHENTICATION), QUIET_SECONDS):
        found.note("it leaves WILL AUTHENTICATION (37) unanswered, for which some hosts may wait")
    host.say(Sub.KNOWN_SUBOPTIONS_1, SUPPORTED)
    if found.check(
        host.heard(Sub.KNOWN_SUBOPTIONS_2),
        "it says which suboptions it knows (KNOWN-SUBOPTIONS-2)",
        "KNOWN-SUBOPTIONS-1 is not answered with KNOWN-SUBOPTIONS-2",
    ):
        known = host.subs(Sub.KNOWN_SUBOPTIONS_2)[0]
        missing = [code.name.replace("_", "-") for code in (Sub.DO_PROXY, Sub.VM_VC_UUID) if code not in known]
        if missing:
            found.bad(f"its list lacks {', '.join(missing)}")
        if Sub.VMOTION_BEGIN not in known:
            found.note("it does not do vMotion: a VM that migrates loses its console")
    for verb, ours in ((DO, WILL), (WILL, DO)):
        if not host.has(ours, BINARY):
            host.send(telnet.negotiation(verb, BINARY))
    found.check(
        host.wait(lambda: host.has(WILL, BINARY) and host.has(DO, BINARY)),
        "eight bits pass unchanged in both directions (BINARY)",
        "it does not do BINARY in both directions: CR and bytes from 128 on are changed",
    )
    return True


def _manners(host: Host, found: Findings) -> None:
    host.say(_UNKNOWN_CODE)
    found.check(
        host.wait(lambda: bytes([_UNKNOWN_CODE]) in host.subs(Sub.UNKNOWN_SUBOPTION_RCVD_2)),
        "it says so when it does not know a suboption",
        f"an unknown suboption ({_UNKNOWN_CODE}) is not answered with UNKNOWN-SUBOPTION-RCVD-2",
    )
    host.send(telnet.negotiation(WILL, _UNKNOWN_OPTION) + telnet.negotiation(DO, _UNKNOWN_OPTION))
    found.check(
        host.wait(lambda: host.has(DONT, _UNKNOWN_OPTION) and host.has(WONT, _UNKNOWN_OPTION)),
        "it refuses options that it does not know",
        f"an unknown option ({_UNKNOWN_OPTION}) is not refused",
    )
    before = len([token for token in host.tokens if isinstance(token, Negotiation)])
    for verb, option in ((WILL, VMWARE_EXT), (WILL, BINARY), (DO, BINARY)):
        host.send(telnet.negotiation(verb, option))
    host.wait(lambda: False, QUIET_SECONDS)
    after = len([token for token in host.tokens if isinstance(token, Negotiation)])
    found.check(after == before, "it does not repeat itself", "it answers what is agreed on already: a loop")
    host.send(telnet.escape(b"vmproxy probe: \xff\x00\r\n"))
    host.wait(lambda: False, QUIET_SECONDS)
    found.check(not host.closed, "it takes the output of a VM", "it closes the connection over the output of a VM")


def _move(connect: Callable[[], Host], source: Host, found: Findings) -> None:
    source.say(Sub.VMOTION_BEGIN, _SEQUENCE)
    if not source.heard(Sub.VMOTION_GOAHEAD, Sub.VMOTION_NOTNOW):
        found.note("it does not answer VMOTION-BEGIN: a VM that migrates loses its console")
        return
    if not source.subs(Sub.VMOTION_GOAHEAD):
        found.note("it does not want a vMotion now (VMOTION-NOTNOW)")
        return
    answer = source.subs(Sub.VMOTION_GOAHEAD)[0]
    if not found.check(
        answer.startswith(_SEQUENCE) and len(answer) > len(_SEQUENCE),
        "it prepares a vMotion (VMOTION-GOAHEAD)",
        "VMOTION-GOAHEAD is not the sequence and a secret; is a byte 255 doubled in both directions?",
    ):
        return
    stranger = connect()
    _arrives(stranger, _SEQUENCE + bytes(byte ^ 0x55 for byte in answer[len(_SEQUENCE) :]))
    found.check(
        not stranger.wait(lambda: stranger.subs(Sub.VMOTION_PEER_OK), 1.0),
        "it refuses a host that does not know the secret",
        "it lets a host take over that does not know the secret",
    )
    target = connect()
    _arrives(target, answer)
    if found.check(
        target.heard(Sub.VMOTION_PEER_OK),
        "it knows the host that the VM goes to (VMOTION-PEER-OK)",
        "VMOTION-PEER with the right secret is not answered with VMOTION-PEER-OK",
    ):
        target.say(Sub.VMOTION_COMPLETE, _SEQUENCE)
        target.wait(lambda: False, QUIET_SECONDS)
        found.check(not target.closed, "the VM has moved", "it closes the connection of the VM that has moved")


def _arrives(host: Host, secret: bytes) -> None:
    host.send(telnet.negotiation(WILL, VMWARE_EXT))
    host.wait(lambda: host.has(DO, VMWARE_EXT))
    host.say(Sub.KNOWN_SUBOPTIONS_1, SUPPORTED)
    host.heard(Sub.KNOWN_SUBOPTIONS_2)
    host.say(Sub.VMOTION_PEER, secret)
