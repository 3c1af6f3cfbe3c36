"""What fuzzing starts from: inputs that get far into each reader, and words worth putting anywhere."""

from __future__ import annotations

from fuzz.targets import PAIR, authority_blob, signed
from vmproxy.auth.public_keys import Fields

_IAC, _SB, _SE = 255, 250, 240
_LIST = bytes((0, 1, 2, 3, 40, 41, 43, 44, 45, 46, 48, 70, 71, 73, 80, 81, 84, 85, 86, 87, 82, 83))
_UUID = b"01 23 45 67 89 ab cd ef-fe dc ba 98 00 00 00 00"
_KEY = b"AAAAC3NzaC1lZDI1NTE5AAAAIMA1oRiAc/ddbqnB7IiRv8dYdR5LlvkTVw7qrnT7lq+p"


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _sub(*payload: bytes) -> bytes:
    return bytes((_IAC, _SB, 232)) + b"".join(payload).replace(b"\xff", b"\xff\xff") + bytes((_IAC, _SE))


def _com(*payload: int) -> bytes:
    return bytes((_IAC, _SB, 44, *payload, _IAC, _SE))


_OPENING = bytes((255, 253, 0, 255, 253, 3, 255, 251, 0, 255, 251, 232))
_SERVED = _OPENING + _sub(b"\0", _LIST) + _sub(b"FSvmproxy") + _sub(b"P", _UUID) + _sub(b"R", b"web\x1b[2J\n")
_BEGIN, _PEER, _COMPLETE, _ABORT = (
    _sub(bytes((code,)), p) for code, p in ((40, PAIR[:4]), (44, PAIR), (46, PAIR[:4]), (48, b""))
)


def _turns(*pieces: bytes) -> bytes:
    """An input for the targets that cut: these pieces."""
    places = b"".join(sum(map(len, pieces[:n])).to_bytes(2, "big") for n in range(1, len(pieces)))
    return bytes((len(pieces) - 1,)) + places + b"".join(pieces)


def _certificate(critical: bytes = b"", extensions: bytes = b"", kind: int = 1) -> bytes:
    """The body of a certificate, up to what is reserved."""
    return (
        _string(b"ssh-ed25519-cert-v01@openssh.com")
        + _string(bytes(32))
        + _string(Fields(authority_blob()[15:]).string())
        + (7).to_bytes(8, "big")
        + kind.to_bytes(4, "big")
        + _string(b"alice@example")
        + _string(_string(b"alice") + _string(b"bob"))
        + (0).to_bytes(8, "big")
        + (2**64 - 1).to_bytes(8, "big")
        + _string(critical)
        + _string(extensions)
        + _string(b"")
    )


_SOURCE = _string(b"source-address") + _string(_string(b"192.0.2.0/24,2001:db8::/32"))
_PERMITS = _string(b"permit-port-forwarding") + _string(b"") + _string(b"permit-pty") + _string(b"")
_KRL = b"SSHKRL\n\0" + (1).to_bytes(4, "big") + bytes(24) + _string(b"") + _string(b"a list")
_KRL_SERIALS = _string(authority_blob()) + _string(b"") + b"\x20" + _string((9).to_bytes(8, "big"))
_KRL_RANGES = b"\x21" + _string((3).to_bytes(8, "big") + (5).to_bytes(8, "big")) + b"\x23" + _string(_string(b"id"))
_KRL_BITS = b"\x22" + _string((1).to_bytes(8, "big") + _string(b"\x81"))


def _frame(first: int, payload: bytes) -> bytes:
    """A frame of a client whose mask changes nothing."""
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes((first,)) + size + bytes(4) + payload


_HEAD = b" HTTP/1.1\r\nHost: 192.0.2.1\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_LENGTH = b"Content-Length: 3\r\n"

_EXTENSION = _string(_string(b"name") + b"\0" + _string(b"value"))

SEEDS: dict[str, list[bytes]] = {
    "telnet": [
        _turns(b"login: ", bytes((255, 255, 255, 253, 0)), b"\r\n"),
        _turns(_SERVED[:40], _SERVED[40:]),
        _turns(bytes((255, 250)) + b"x" * 299, b"yz", bytes((255, 240))),
        _turns(bytes((255, 250, 255, 240, 255, 250, 1, 255, 255, 255, 241))),
    ],
    "option232": [_UUID, b"Svmproxy?port=2\0", b"Ctelnet://[::1]:23", "wéb \u202e\x1b]0;x\x07/../".encode()],
    "session": [
        _turns(_SERVED + b"boot\r\n"),
        _turns(_SERVED + _BEGIN, _OPENING + _PEER, b"last", b"first" + _COMPLETE),
        _turns(_SERVED + _BEGIN, _OPENING + _PEER + b"early", _ABORT + b"on" + _BEGIN, _COMPLETE),
        _turns(_SERVED, _SERVED, b"x", b"y"),
        _turns(_SERVED + bytes((255, 251, 44)) + _com(8), b"", _com(9) + _com(5, 5) + _com(1, 0, 0, 37, 128)),
    ],
    "comport": [b"".join(bytes((2, n, 5)) for n in range(14)), bytes((5, 1, 0, 0, 37, 128, 2, 11, 0, 1, 0))],
    "service-uri": [b"vmproxy?port=console", b"vmproxy?a=%00&port=%2e%2e&port=2", b"?" + b"&a=b" * 40],
    "dial-uri": [
        b"10.1.2.3:4000",
        b"tcp6+ssl://[2001:db8::1]:99?port=2#verify",
        b"telnets://Far_1.example.com./",
        b"tcp://[::ffff:127.0.0.1]:22",
        b"tcp://127.1:22",
    ],
    "far-end": [
        _turns(b"login: \r\0", bytes((255, 251, 0, 255, 253, 0, 255, 251, 1)), b"\r\0", bytes((255, 243)) + b"x"),
        _turns(bytes((255, 250, 24, 1, 255, 240, 255, 252, 0)) + b"\r", b"\n\r", b"\0" + bytes((255, 255))),
    ],
    "authorized-keys": [
        b"ssh-ed25519 " + _KEY + b" alice\n# no key\n\n",
        b'from="10.0.0.0/8,!10.1.*",restrict,pty,expiry-time="20300101" ssh-ed25519 ' + _KEY + b" bob",
        b'command="a \\" b",cert-authority,permitopen="x" ssh-ed25519 ' + _KEY + b"\r\n",
    ],
    "certificate": [
        b"\0" + signed(_certificate()),
        b"\1" + _certificate(),
        b"\1" + _certificate(_SOURCE, _PERMITS),
        b"\1" + _certificate(_string(b"force-command") + _string(_string(b"x\x1b\n"))),
        b"\1" + _certificate(kind=2),
    ],
    "revoked": [
        b"serial: 17-20\nid: gone\n# all\nSHA256:" + b"A" * 43 + b"\nssh-ed25519 " + _KEY + b"\n",
        _KRL + b"\1" + _string(_KRL_SERIALS + _KRL_RANGES + _KRL_BITS) + b"\2" + _string(_string(authority_blob())),
        _KRL + b"\3" + _string(_string(bytes(20))) + b"\5" + _string(_string(bytes(32))) + b"\xff" + _EXTENSION,
    ],
    "target": [
        b"alice:web01,ro",
        b"web01,force,reason=a, b",
        b"alice+db,port=2,replay=100,escape=^Ec,quiet",
        b"a,b, c",
    ],
    "websocket": [
        _turns(_frame(0x81, b'{"type":"ack","bytes":'), _frame(0x82, b"ls\r")),
        _turns(_frame(0x01, b"gr\xc3"), _frame(0x89, b"there?"), _frame(0x00, b"\xbc"), _frame(0x80, b"n")),
        _turns(_frame(0x82, b"x" * 300), b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4)),
        _turns(_frame(0x88, b"\x03\xe8bye"), _frame(0x8A, b"")),
        _turns(_frame(0x02, b"x" * 40_000), _frame(0x00, b"y" * 25_000), _frame(0x80, b"z")),
    ],
    "request": [
        _turns(b"GET /api/v1/consoles?q=%c3%bc&x" + _HEAD + b"\r\nGET /healthz", _HEAD + b"\r\n"),
        _turns(b"POST /x" + _HEAD + _LENGTH + b"\r\nab", b"cDELETE /api/v1/sessions/1" + _HEAD + b"\r\n"),
        _turns(b"POST /x" + _HEAD + _CHUNKED + b"\r\n3;a=b\r\nabc\r\n0", b"\r\nX: y\r\n\r\nGET /" + _HEAD + b"\r\n"),
        _turns(b"PUT /" + _HEAD + _CHUNKED + b"\r\n" + (b"64\r\n" + b"x" * 100 + b"\r\n") * 4 + b"0\r\n\r\n"),
        _turns(b"GET /" + _HEAD + b'Forwarded: for="[2001:db8::1]:9";proto=https, for=_x\r\nX-User: alice\r\n\r\n'),
        _turns(b"GET /" + _HEAD + b"X-Forwarded-For: 10.1.1.1, 192.0.2.9\r\nCookie: vmproxy=a; b\r\nX-User: b\r\n\r\n"),
        _turns(b"POST /" + _HEAD + b"Expect: 100-continue\r\nConnection: close\r\n" + _LENGTH + b"\r\nabc"),
    ],
}
"""The inputs to start from, for each target."""

WORDS: dict[str, list[bytes]] = {
    "telnet": [bytes((255,)), bytes((255, 250)), bytes((255, 240)), bytes((255, 255)), bytes((255, 251))],
    "session": [_BEGIN, _PEER, _COMPLETE, _ABORT, _com(8), _com(9), _sub(b"P", _UUID), _sub(b"FSvmproxy"), _OPENING],
    "authorized-keys": [b"from=", b"expiry-time=", b"restrict", b"cert-authority", b'"', b"ssh-ed25519 ", b"\\"],
    "revoked": [b"serial:", b"id:", b"key:", b"sha1:", b"sha256:", b"hash:", b"SSHKRL\n\0"],
    "target": [b",ro", b",force", b",join", b",port=", b",replay=", b",escape=", b",reason=", b":", b"+"],
    "dial-uri": [
        b"tcp",
        b"tcp4://",
        b"+ssl",
        b"telnet://",
        b"[::",
        b"]:",
        b"@",
        b"?",
        b"#",
        b"127.0.0.1",
        b"localhost",
    ],
    "far-end": [bytes((255, 251, 0)), bytes((255, 252, 0)), bytes((255, 243)), bytes((255, 250)), b"\r", b"\0"],
    "service-uri": [b"?port=", b"&", b"%", b"="],
    "request": [
        *(b"\r\n", b"\n", b"\r", b"\0", b"\t", b": ", b" :", b" ", b"chunked", b"0\r\n\r\n", b"%2f", b"+", b",", b";"),
        *(_CHUNKED, _LENGTH, _HEAD, b"Host: x\r\n", b"Content-Length: 0\r\n", b"Forwarded: for=a\r\n", b"HTTP/1.0"),
        *(
            b"Transfer-Encoding: identity\r\n",
            b"Content-Length: 3, 3\r\n",
            b"Upgrade: websocket\r\n",
            b"\x0b",
            b"http://",
        ),
    ],
    "websocket": [
        _frame(0x81, b"{}"),
        _frame(0x82, b"\r"),
        _frame(0x80, b""),
        _frame(0x88, b"\x03\xe8"),
        b"\x7e\xff\xff",
    ],
}
"""What is worth putting in at any place, for each target."""
