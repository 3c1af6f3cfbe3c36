"""Sessions as scripts, and what comes of them: to see that it never depends on how the bytes were cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.support.vm import (
    ABORT,
    BEGIN,
    BINARY,
    BIOS,
    CAPTURED_LIST,
    COM_PORT,
    COMPLETE,
    DO,
    DO_PROXY,
    EXT,
    KNOWN_1,
    LOCATION,
    NAME,
    NEGOTIATION,
    PEER,
    SPELLED_A,
    SPELLED_B,
    VC_UUID,
    WILL,
    WONT,
    Host,
    Token,
    VMWorld,
    com,
    doubled,
    parse,
    session,
    sub,
    verb,
    world,
)

# One step: which connection, and what arrives on it; None: the host closes it; "operator": input is typed.
Script = list[tuple[str, bytes | None]]
Cutter = Callable[[bytes], Iterable[int]]

SEQUENCE = b"\x4c\x19\xff\xe9"
SECRETS = [b"secret-%d" % n for n in range(10)]
ALL_BYTES = bytes(range(256))
LIST = sub(KNOWN_1, CAPTURED_LIST)
WANTS = sub(DO_PROXY, b"SvSPC.py")
IDENTITY = sub(VC_UUID, SPELLED_A)
DESTINATION = NEGOTIATION + LIST


def pair(n: int = 0) -> bytes:
    return SEQUENCE + SECRETS[n]


HANDSHAKES: dict[str, Script] = {
    "as captured": [("a", session())],
    "the manual's: the VM speaks first": [
        ("a", verb(WILL, EXT) + LIST + WANTS + IDENTITY + sub(NAME, b"web") + b"login: ")
    ],
    "suboptions before any negotiation": [("a", LIST + IDENTITY + WANTS + sub(NAME, b"web") + NEGOTIATION)],
    "identity first of all": [("a", IDENTITY + NEGOTIATION + WANTS + LIST + sub(NAME, b"web"))],
    "name first of all": [("a", sub(NAME, b"web") + WANTS + NEGOTIATION + LIST + IDENTITY)],
    "every option offered on both sides": [
        ("a", b"".join(verb(v, o) for o in (0, 1, 3, 37, 44, 232, 6, 24) for v in (WILL, DO)) + LIST + WANTS + IDENTITY)
    ],
    "all identities and port control": [
        (
            "a",
            session(name=b"caf\xc3\xa9\xff")
            + sub(BIOS, SPELLED_B)
            + sub(LOCATION, SPELLED_A)
            + verb(WILL, COM_PORT)
            + com(1, b"\x00\x00\x25\x80")
            + com(5, b"\x05")
            + com(5, b"\x06")
            + com(1, bytes(4)),
        )
    ],
}

SESSIONS: dict[str, Script] = {
    **HANDSHAKES,
    "data around and between the commands": [
        ("a", b"BIOS\r\n" + NEGOTIATION + b"one" + LIST + b"two" + WANTS + b"three" + IDENTITY + b"four" + b"\xff\xff")
    ],
    "every byte, doubled where it must be": [("a", session() + doubled(ALL_BYTES) + b"\r\n\r\0\r\r\n\0\r")],
    "a line that is not 8-bit clean yet": [
        ("a", verb(WILL, EXT) + LIST + WANTS + IDENTITY + b"a\r\nb\r\0c\r\r\0d" + verb(WILL, BINARY) + b"a\r\nb\r\0c")
    ],
    "a line that stops being 8-bit clean": [("a", session() + b"\r\0" + verb(WONT, BINARY) + b"x\r\0y\r\n\r\0")],
    "unknown things": [
        ("a", session() + sub(99, b"what") + sub(1, b"\x01") + bytes((255, 250, 24, 1, 255, 240)) + b"data" + sub(255)),
        ("operator", b"\xff\r\n\0"),
    ],
    "telnet commands inside the data": [
        ("a", session() + b"1\xff\xf12\xff\xf23\xff\xf34\xff\xf65\xff\xf96\xff\xef7\xff\x008\xff\xfa\xff\xf09")
    ],
    "refused services": [
        (
            "a",
            NEGOTIATION
            + LIST
            + sub(DO_PROXY)
            + sub(DO_PROXY, b"Ctcp://1.2.3.4:5")
            + sub(DO_PROXY, b"Sother")
            + IDENTITY,
        )
    ],
    "a UUID that is none": [("a", NEGOTIATION + LIST + WANTS + sub(VC_UUID, b"nonsense") + IDENTITY + b"hello")],
    "another identity in mid-session": [
        ("a", session() + b"mine" + sub(VC_UUID, SPELLED_B) + b"not mine" + sub(NAME, b"other"))
    ],
    "a vMotion": [
        ("a", session() + b"from the source " + sub(BEGIN, SEQUENCE)),
        ("operator", b"typed"),
        ("b", DESTINATION + sub(PEER, pair()) + IDENTITY),
        ("b", b"from the destination" + sub(COMPLETE, SEQUENCE) + b" and more"),
        ("a", b"the last of the source"),
        ("a", None),
        ("operator", b" more"),
    ],
    "a vMotion whose source closes before COMPLETE": [
        ("a", session() + b"from the source " + sub(BEGIN, SEQUENCE)),
        ("operator", b"typed"),
        ("b", DESTINATION + sub(PEER, pair())),
        ("a", b"the last of the source "),
        ("a", None),
        ("b", b"from the destination" + sub(COMPLETE, SEQUENCE) + sub(NAME, b"renamed")),
    ],
    "an aborted vMotion, and another one": [
        ("a", session() + sub(BEGIN, SEQUENCE)),
        ("b", DESTINATION + sub(PEER, pair())),
        ("operator", b"held"),
        ("a", sub(ABORT) + b"goes on" + sub(BEGIN, SEQUENCE)),
        ("d", DESTINATION + sub(PEER, pair(0))),
        ("c", DESTINATION + sub(PEER, pair(1)) + b"here" + sub(COMPLETE, SEQUENCE)),
        ("b", sub(COMPLETE, SEQUENCE)),
    ],
    "a destination that is another VM": [
        ("a", session() + sub(BEGIN, SEQUENCE)),
        ("operator", b"held"),
        ("b", DESTINATION + sub(PEER, pair()) + sub(VC_UUID, SPELLED_B) + b"secrets of B" + sub(COMPLETE, SEQUENCE)),
    ],
    "a destination that asks for a proxy first": [
        ("a", session(uri=b"vSPC.py") + b"1" + sub(BEGIN, SEQUENCE)),
        ("b", DESTINATION + WANTS + sub(PEER, pair()) + b"3" + IDENTITY),
        ("a", b"2"),
        ("a", None),
        ("b", sub(COMPLETE, SEQUENCE) + b"4"),
    ],
}


@dataclass
class Outcome:
    """What came of a script.

    :ivar sent: per connection, all bytes that the concentrator sent; ``closed``: whether it closed it.
    :ivar consoles: per console what people see of it.
    """

    sent: dict[str, bytes]
    closed: dict[str, bool]
    consoles: list[tuple[object, ...]]
    logs: list[bytes]
    events: list[list[object]]

    def tokens(self, connection: str) -> list[Token]:
        return parse(self.sent[connection])

    def subs(self, connection: str) -> list[bytes]:
        return [t[2] for t in self.tokens(connection) if t[:2] == ("sub", EXT)]

    def data(self, connection: str) -> bytes:
        return b"".join(t[1] for t in self.tokens(connection) if t[0] == "data")


class Observer:
    """What a test does besides while a script is played."""

    def begin(self, world: VMWorld) -> None:
        """The concentrator is there, nobody has connected."""

    def piece(self, host: Host) -> None:
        """A piece of a step has arrived."""

    def step(self) -> None:
        """A step is over."""


def run(script: Script, cutter: Cutter, observer: Observer | None = None) -> Outcome:
    """Play a script, the bytes of each step cut as the cutter says."""
    observer = observer or Observer()
    with world(secrets=iter(SECRETS)) as w:
        observer.begin(w)
        hosts: dict[str, Host] = {}
        ended: set[str] = set()
        for who, data in script:
            if who == "operator":
                assert data is not None
                for console in w.directory:
                    console.send(data)
            elif who in ended:
                raise AssertionError(f"{who} is gone")
            else:
                if who not in hosts:
                    hosts[who] = w.connect(f"10.0.0.{len(hosts) + 1}")
                if data is None:
                    ended.add(who)
                    hosts[who].lose()
                else:
                    hosts[who].feed(data, cutter(data), observer.piece)
            observer.step()
        named: dict[object, str] = {host.protocol: name for name, host in hosts.items()}
        consoles = list(w.directory)
        return Outcome(
            sent={name: host.sent() for name, host in hosts.items()},
            closed={name: host.closed for name, host in hosts.items()},
            consoles=[
                (
                    *(c.uuid, c.port, c.name, c.uri, c.state, c.reason),
                    *(c.settings, c.host, c.bios_uuid, c.location_uuid),
                    named.get(c.link),
                )
                for c in consoles
            ],
            logs=[w.logged(c) for c in consoles],
            # The sizes of the pieces do not show, so neither must the pieces: only what happened, where.
            events=[[(e["event"], e["offset"]) for e in w.trail(c) if e["event"] != "time"] for c in consoles],
        )


def whole(data: bytes) -> Iterable[int]:
    return ()


def bytewise(data: bytes) -> Iterable[int]:
    return range(len(data))
