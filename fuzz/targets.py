"""The targets: each takes bytes, gives them to a reader, and raises if the reader breaks a promise.

The first promise of all is that nothing is raised but what the reader says. The others stand in each target: that cuts
change nothing, that answers are bounded, that what is shown can be shown. Where a reader has a twin here (the Telnet
scanner), it is written as simply as possible and shares nothing with the real one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.error import ConnectionLost
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from fuzz.http import http
from fuzz.world import SECRET, FuzzTransport, FuzzWorld
from vmproxy.auth.authorized_keys import parse_authorities, parse_authorized_keys
from vmproxy.auth.certificates import BadCertificate, check_certificate
from vmproxy.auth.public_keys import KEY_TYPES, key_type
from vmproxy.auth.revocation import Revoked, parse_revoked
from vmproxy.base.sanitize import safe_word, visible
from vmproxy.errors import WireError
from vmproxy.operators.target import BadTarget, from_user
from vmproxy.vm.outbound.rules import DialRule, DialRules, plain
from vmproxy.web.websocket_frames import (
    MESSAGE_LIMIT,
    Broken,
    Close,
    Event,
    MessageReader,
    Part,
    Ping,
    Pong,
    Text,
    close_frame,
)
from vmproxy.wire import dialuri, serviceuri
from vmproxy.wire.comport import AccessServer
from vmproxy.wire.dialuri import DialError
from vmproxy.wire.nvtclient import NvtClient
from vmproxy.wire.telnet import Command, Negotiation, Oddity, Scanner, Subnegotiation, Token, escape
from vmproxy.wire.vmware import format_uuid, parse_do_proxy, parse_name, parse_uuid

ADDRESS = "192.0.2.7"
NOW = 1_750_000_000.0
LIMIT = 300  # of a subnegotiation, in the target: so that a short input gets there
AUTHORITY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def cuts_and_data(given: bytes) -> list[bytes]:
    """The pieces of an input: its first byte says how many cuts follow, each two bytes; the rest is the stream."""
    count = given[0] % 8 if given else 0
    places, stream = given[1 : 1 + 2 * count], given[1 + 2 * count :]
    at = sorted(int.from_bytes(places[i : i + 2], "big") % (len(stream) + 1) for i in range(0, len(places), 2))
    return [stream[a:b] for a, b in zip([0, *at], [*at, len(stream)], strict=True)]


def slow_scan(stream: bytes, limit: int) -> list[object]:
    """The Telnet scanner's twin: one byte after the other."""
    found: list[object] = []
    data = bytearray()
    sub: bytearray | None = None
    state = ""
    verb = 0

    def flush() -> None:
        if data:
            found.append(bytes(data))
            data.clear()

    for byte in stream:
        if state == "verb":
            if sub is not None:  # it is cut short by a negotiation as a whole
                sub = None
                found.append("odd")
            found.append((verb, byte))
            state = ""
        elif state == "iac":
            state = ""
            if byte == 255:
                (data if sub is None else sub).append(255)
                continue
            flush()
            if 251 <= byte <= 254:
                state, verb = "verb", byte
                continue
            if sub is not None:
                whole, sub = bytes(sub), None
                if byte == 240:
                    found.append(("sub", whole) if whole else "odd")
                    continue
                found.append("odd")
            if byte == 250:
                sub = bytearray()
            else:
                found.append(byte if 241 <= byte <= 249 else "odd")
        elif byte == 255:
            state = "iac"
        else:
            (data if sub is None else sub).append(byte)
        if sub is not None and len(sub) > limit:
            return [*found, "dead"]
    flush()
    return found


def _simple(tokens: list[Token]) -> list[object]:
    simple: list[object] = []
    for token in tokens:
        match token:
            case bytes():
                if simple and isinstance(simple[-1], bytes):
                    simple[-1] += token
                else:
                    simple.append(token)
            case Command(code):
                simple.append(code)
            case Negotiation(verb, option):
                simple.append((verb, option))
            case Subnegotiation(option, payload):
                simple.append(("sub", bytes((option,)) + payload))
            case Oddity(_, fatal):
                simple.append("dead" if fatal else "odd")
    return simple


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """Nothing that is logged inside may do anything to a terminal, or be more than a line."""
    lines: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
    for line in lines:
        _shown(line)


def _shown(text: str) -> None:
    assert text.isprintable(), f"not printable: {text[:500]!r}"
    assert len(text) < 2000, f"{len(text)} characters"


def telnet(given: bytes) -> None:
    """The scanner finds what its twin finds, however the stream is cut; and data survives the way there and back."""
    pieces = cuts_and_data(given)
    stream = b"".join(pieces)
    scanner = Scanner(LIMIT)
    found = _simple([token for piece in pieces for token in scanner.feed(piece)])
    wanted = slow_scan(stream, LIMIT)
    assert found == wanted, f"{found!r} instead of {wanted!r}"
    assert list(Scanner().feed(escape(stream))) == ([stream] if stream else [])


def option232(given: bytes) -> None:
    """The readers of the parameters of option 232: they raise WireError and nothing else."""
    with contextlib.suppress(WireError):
        uuid = parse_uuid(given)
        assert uuid.int
        assert parse_uuid(format_uuid(uuid)) == uuid
    with contextlib.suppress(WireError):
        wanted = parse_do_proxy(given)
        assert wanted.direction in ("C", "S")
        assert visible(wanted.uri).isprintable()
    name = parse_name(given)
    assert visible(name, 64).isprintable()
    assert len(visible(name, 64)) <= 64
    word = safe_word(name)
    assert len(word.encode()) <= 100
    assert "/" not in word
    assert not word.startswith((".", "-"))
    assert word.isprintable()


def session(given: bytes) -> None:
    """A connection that says anything at all: nothing is raised, and afterwards the others are served as before."""
    world = FuzzWorld()
    with _watched():
        first, second = world.connect(), world.connect()
        for number, piece in enumerate(cuts_and_data(given)):
            # Two connections by turns: what one begins, the other may meddle with.
            line = (first, second)[number % 2]
            if not line.disconnecting:
                line.protocol.dataReceived(piece)
            for console in world.consoles():
                console.send(b"typed\xff\r")
            world.clock.advance(0)
        serving = [console.link for console in world.consoles() if console.link is not None]
        assert len(serving) == len(set(serving)), "two consoles on one connection"
        for line in (first, second):
            assert len(line.value()) < 64 * len(given) + 4096, "answers out of proportion"
            said = slow_scan(line.value(), 1 << 20)
            assert "odd" not in said, "what was sent is no Telnet"
            if not line.disconnecting:
                line.lose(ConnectionLost())
        _is_well(world)


def _is_well(world: FuzzWorld) -> None:
    line: FuzzTransport = world.connect()
    hello = bytes((255, 253, 0, 255, 251, 0)) + _sub(b"\x46Svmproxy?port=well") + _sub(b"\x50" + b"ab" * 16)
    line.protocol.dataReceived(hello + b"well")
    (console,) = [console for console in world.consoles() if console.port == "well"]
    assert console.link is line.protocol
    assert console.bytes_out == 4
    line.lose(ConnectionLost())
    world.clock.advance(100)
    assert not world.front.connections
    assert all(console.link is None and not console.migrating for console in world.consoles())


def _sub(payload: bytes) -> bytes:
    return bytes((255, 250, 232)) + payload + bytes((255, 240))


def comport(given: bytes) -> None:
    """COM-PORT commands, one after the other, each as long as the byte before it says."""
    server = AccessServer(b"vmproxy")
    at = 0
    while at < len(given):
        size = given[at] % 8
        payload = given[at + 1 : at + 1 + size]
        at += 1 + size
        answer, _ = server.received(payload)
        assert len(answer) <= 16
        assert not answer or answer[0] == payload[0] + 100
        assert str(server.settings).isprintable()
        state = server.modem_state()
        assert not state or (state[0] == 107 and len(state) == 2)


def service_uri(given: bytes) -> None:
    """A service URI: never an error; its port label fits a file name; it matches itself and no other word."""
    text = given.decode("utf-8", "backslashreplace")
    uri = serviceuri.parse(text)
    assert uri.literal == text.strip().partition("?")[0].strip()
    assert uri.service in uri.literal
    assert uri.bare == (uri.service == uri.literal)
    assert serviceuri.matches(uri, [uri.service])
    assert not serviceuri.matches(uri, [uri.service + "x", ""] if uri.service else ["x"])
    if uri.port is not None:
        assert safe_word(uri.port).strip("-") == uri.port.strip("-")
        assert len(uri.port) <= 32


def dial_uri(given: bytes) -> None:
    """Where a VM wants to be connected to: DialError and nothing else, fit to be shown; what is taken reads the same
    when it is written again, and no rule that does not name this machine allows it."""
    try:
        uri = dialuri.parse(given.decode("utf-8", "backslashreplace"))
    except DialError as error:
        _shown(str(error))
        return
    _shown(str(uri))
    assert dialuri.parse(str(uri)) == uri
    assert dialuri.is_dialled(str(uri))
    assert 1 <= uri.port <= 65535
    anywhere = DialRules((DialRule(1, True, (), (ip_network("0.0.0.0/0"), ip_network("::/0")), ((1, 65535),)),))
    if uri.address is not None and plain(uri.address).is_loopback:
        assert not anywhere.could(uri)


def far_end(given: bytes) -> None:
    """A far end that speaks Telnet: however the stream is cut, the same data and breaks come of it, and few answers."""
    pieces = cuts_and_data(given)
    cut, whole = NvtClient(), NvtClient()
    heard: list[bytes | None] = []
    answers = b""
    for piece in pieces:
        if not cut.fatal:
            items, more = cut.feed(piece)
            heard += items
            answers += more
    wanted, once = whole.feed(b"".join(pieces))
    assert _joined(heard) == _joined(wanted)
    assert (cut.fatal, answers) == (whole.fatal, once)
    assert len(answers) <= 3 * len(given)


def _joined(items: list[bytes | None]) -> list[bytes | None]:
    joined: list[bytes | None] = []
    for item in items:
        if item is not None and joined and joined[-1] is not None:
            joined[-1] += item
        else:
            joined.append(item)
    return joined


def authorized_keys(given: bytes) -> None:
    """Lists of keys: nothing is raised, each key found is one that is supported, and every warning is a line."""
    with _watched():
        keys = parse_authorized_keys(given, "authorized_keys")
        authorities = parse_authorities(given, "authorities")
    for key in keys:
        assert key_type(key.blob) in KEY_TYPES
        assert key.problem(ADDRESS, NOW).isprintable()
    for blob in authorities:
        assert key_type(blob) in KEY_TYPES


def certificate(given: bytes) -> None:
    """A certificate: BadCertificate and nothing else is raised, and what is accepted names people and can be shown.

    If the first byte of an input is odd, the authority that is trusted here signs the rest: else the signature would
    keep everything from the code behind it.
    """
    blob = given[1:]
    if given[:1] and given[0] & 1:
        blob = signed(blob)
    trusted = {authority_blob()}
    try:
        good = check_certificate(blob, trusted, Revoked(), ADDRESS, NOW)
    except BadCertificate as error:
        _shown(str(error))
        return
    assert good.principals
    assert all(good.principals)
    assert good.key_id.isprintable()
    assert good.key_blob


def authority_blob() -> bytes:
    """The public key, in SSH's format, of the authority that :func:`certificate` trusts."""
    return _string(b"ssh-ed25519") + _string(AUTHORITY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def signed(body: bytes) -> bytes:
    """A certificate's body, up to what is reserved, with the authority's key and signature behind it."""
    whole = body + _string(authority_blob())
    return whole + _string(_string(b"ssh-ed25519") + _string(AUTHORITY.sign(whole)))


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def revoked(given: bytes) -> None:
    """A revocation list, text or binary: whatever it is, it revokes what it can or everything, and never nothing for
    being malformed."""
    with _watched():
        found = parse_revoked(given, "revoked")
    assert found.everything.isprintable()
    assert found.key_problem(authority_blob()).isprintable()
    problem = found.certificate_problem(authority_blob(), authority_blob(), 7, b"id")
    assert problem.isprintable()
    if found.everything:
        assert problem


def target(given: bytes) -> None:
    """What an operator asks for in an SSH user name: BadTarget and nothing else, fit to be shown."""
    try:
        wanted = from_user(given.decode("utf-8", "surrogateescape"), "alice")
    except BadTarget as error:
        _shown(str(error))
        return
    if wanted is not None:
        assert wanted.reason.isprintable()
        assert wanted.replay is None or 0 <= wanted.replay <= 100_000


def websocket(given: bytes) -> None:
    """What comes on a websocket: however the stream is cut, the same events, all within their bounds; what is sent back
    has a beginning that a browser accepts, and behind a close nothing is heard."""
    pieces = cuts_and_data(given)
    wanted = _events([b"".join(pieces)])
    assert _events(pieces) == wanted
    for event in wanted:
        if isinstance(event, Close | Broken):
            assert event is wanted[-1]
            assert len(close_frame(event.code, event.reason)) <= 127
        elif isinstance(event, Ping | Pong):
            assert len(event.data) <= 125
        elif not isinstance(event, Part):
            assert len(event.text if isinstance(event, Text) else event.data) <= MESSAGE_LIMIT


def request(given: bytes) -> None:
    """What comes as HTTP: see :mod:`fuzz.http`."""
    http(cuts_and_data(given))


def _events(pieces: list[bytes]) -> list[Event]:
    reader, found = MessageReader(), []
    for piece in pieces:
        reader.feed(piece)
        while (event := reader.next()) is not None:
            found.append(event)
    return found


TARGETS: dict[str, Callable[[bytes], None]] = {
    name.replace("_", "-"): cast(Callable[[bytes], None], function)
    for name, function in (
        ("telnet", telnet),
        ("option232", option232),
        ("session", session),
        ("comport", comport),
        ("service_uri", service_uri),
        ("dial_uri", dial_uri),
        ("far_end", far_end),
        ("authorized_keys", authorized_keys),
        ("certificate", certificate),
        ("revoked", revoked),
        ("target", target),
        ("websocket", websocket),
        ("request", request),
    )
}
"""Every target by its name on the command line."""

PAIR = b"\x01\x02\x03\x04" + SECRET
"""What opens the door of a vMotion that began with the sequence 01 02 03 04."""
