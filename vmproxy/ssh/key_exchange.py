"""The server's half of an SSH key exchange (RFC 4253, 4419, 5656, 8268, 8731; ML-KEM with X25519).

Bytes in, bytes out: :mod:`vmproxy.ssh.transport` carries the messages and signs the hash. What a client gets wrong
raises :exc:`ValueError`.

Bound: one call computes for about 11 ms at most, which is half of what the group of 8192 bits takes. Methods with such
calls are *slow*: the transport makes one such call in a turn of the reactor.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any, NamedTuple, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dh, ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning
from twisted.conch.ssh.common import MP, NS
from twisted.conch.ssh.transport import mlkem  # type: ignore[attr-defined]  # None with cryptography before 48

from vmproxy.auth.public_keys import Fields

MODULUS_BITS = (3072, 4096, 6144, 8192)
"""The sizes of groups of which a client may choose one."""

# The constants of RFC 3526: a prime of n bits is made of the bits of pi and of one of these.
_OFFSETS = {3072: 1690314, 4096: 240904, 6144: 929484, 8192: 4743158}
_MLKEM_BYTES = 1184
KEY_BYTES = 64


class Agreed(NamedTuple):
    """What a key exchange comes to.

    :ivar ours: our public value, as the reply has it.
    :ivar secret: the shared secret, as it is hashed.
    :ivar hashed: what is hashed between the host key and the secret.
    """

    ours: bytes
    secret: bytes
    hashed: bytes


class Exchange(Protocol):
    """One key exchange.

    :ivar slow: whether a call takes more than 2 ms.
    :ivar chooses_group: whether the client first asks for a group.
    """

    slow: bool
    chooses_group: bool

    def group(self, request: bytes) -> bytes:
        """The group for a client that asks for one."""

    def begin(self, init: bytes) -> None:
        """Take the client's public value."""

    def finish(self) -> Agreed:
        """Compute the secret."""


class Method(NamedTuple):
    """A method of key exchange.

    :ivar digest: the name of its hash.
    """

    digest: str
    make: Callable[[], Exchange]


def _only_string(message: bytes) -> bytes:
    fields = Fields(message)
    found = fields.string()
    if fields.more:
        raise ValueError("there is more behind it")
    return found


class _X25519:
    slow = chooses_group = False
    _theirs: bytes

    def group(self, request: bytes) -> bytes:
        raise ValueError("no group is chosen")

    def begin(self, init: bytes) -> None:
        self._theirs = _only_string(init)

    def finish(self) -> Agreed:
        ours, secret = _x25519(self._theirs)
        ours = NS(ours)
        return Agreed(ours, MP(int.from_bytes(secret, "big")), NS(self._theirs) + ours)


def _x25519(theirs: bytes) -> tuple[bytes, bytes]:
    public = X25519PublicKey.from_public_bytes(theirs)
    ours = X25519PrivateKey.generate()
    return ours.public_key().public_bytes_raw(), ours.exchange(public)


class _Hybrid(_X25519):
    """ML-KEM and X25519: safe while either of them is."""

    def finish(self) -> Agreed:
        new, old = self._theirs[:_MLKEM_BYTES], self._theirs[_MLKEM_BYTES:]
        ours, old_secret = _x25519(old)
        new_secret, sealed = mlkem.MLKEM768PublicKey.from_public_bytes(new).encapsulate()
        ours = NS(sealed + ours)
        return Agreed(ours, NS(hashlib.sha256(new_secret + old_secret).digest()), NS(self._theirs) + ours)


class _NIST(_X25519):
    def __init__(self, curve: ec.EllipticCurve) -> None:
        self.curve = curve

    def finish(self) -> Agreed:
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(self.curve, self._theirs)
        key = ec.generate_private_key(self.curve)
        ours = NS(key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
        secret = int.from_bytes(key.exchange(ec.ECDH(), theirs), "big")
        return Agreed(ours, MP(secret), NS(self._theirs) + ours)


class _DiffieHellman:
    """Diffie-Hellman in a finite field."""

    slow = True
    _theirs: int
    _key: dh.DHPrivateKey

    def __init__(self, bits: int = 0) -> None:
        """:param bits: of the modulus; 0 if the client chooses."""
        self.chooses_group = not bits
        self._bits = bits
        self._chosen = b""  # how, as it is hashed

    def group(self, request: bytes) -> bytes:
        fields = Fields(request)
        least, wanted, most = (fields.number(4) for _ in range(3))
        if fields.more or not least <= wanted <= most:
            raise ValueError("that is no range")
        fitting = [bits for bits in MODULUS_BITS if least <= bits <= most]
        if not fitting:
            raise ValueError(f"there is no group of {least} to {most} bits")
        self._bits = next((bits for bits in fitting if bits >= wanted), fitting[-1])
        found = MP(modulus(self._bits)) + MP(2)
        self._chosen = request + found
        return found

    def begin(self, init: bytes) -> None:
        theirs = _only_string(init)
        if len(theirs) > self._bits // 8 + 1:
            raise ValueError("that is larger than the modulus")
        self._theirs = int.from_bytes(theirs, "big")
        if not 1 < self._theirs < modulus(self._bits) - 1:
            raise ValueError("that value gives the secret away")
        self._key = _numbers(self._bits).parameters().generate_private_key()

    def finish(self) -> Agreed:
        with _quiet():
            theirs = dh.DHPublicNumbers(self._theirs, _numbers(self._bits)).public_key()
        secret = self._key.exchange(theirs)
        ours = MP(self._key.public_key().public_numbers().y)
        hashed = self._chosen + MP(self._theirs) + ours
        return Agreed(ours, MP(int.from_bytes(secret, "big")), hashed)


def _quiet() -> warnings.catch_warnings[Any]:
    # cryptography says in print that it will drop these groups one day. Then they are not offered any more.
    return warnings.catch_warnings(action="ignore", category=CryptographyDeprecationWarning)


def _numbers(bits: int) -> dh.DHParameterNumbers:
    with _quiet():
        return dh.DHParameterNumbers(modulus(bits), 2)


@cache
def modulus(bits: int) -> int:
    """A prime of RFC 3526."""
    precision = bits + 64  # of pi, by Machin's formula
    pi = 16 * _arc_tangent(5, precision) - 4 * _arc_tangent(239, precision)
    middle = (pi >> (precision - bits + 130)) + _OFFSETS[bits]
    return (1 << bits) - (1 << (bits - 64)) - 1 + (middle << 64)


def _arc_tangent(inverse: int, precision: int) -> int:
    term = total = (1 << precision) // inverse
    divisor, sign = 1, 1
    while term:
        term //= inverse * inverse
        divisor, sign = divisor + 2, -sign
        total += sign * (term // divisor)
    return total


METHODS = {
    b"mlkem768x25519-sha256": Method("sha256", _Hybrid),
    b"curve25519-sha256": Method("sha256", _X25519),
    b"curve25519-sha256@libssh.org": Method("sha256", _X25519),
    b"diffie-hellman-group16-sha512": Method("sha512", partial(_DiffieHellman, 4096)),
    b"diffie-hellman-group18-sha512": Method("sha512", partial(_DiffieHellman, 8192)),
    b"diffie-hellman-group-exchange-sha256": Method("sha256", _DiffieHellman),
    b"ecdh-sha2-nistp256": Method("sha256", partial(_NIST, ec.SECP256R1())),
    b"ecdh-sha2-nistp384": Method("sha384", partial(_NIST, ec.SECP384R1())),
    b"ecdh-sha2-nistp521": Method("sha512", partial(_NIST, ec.SECP521R1())),
}


def available(name: bytes) -> bool:
    """Whether the libraries on this machine can do a method. In FIPS mode they refuse some."""
    try:
        match METHODS[name].make():
            case _Hybrid() if mlkem is None:
                return False
            case _Hybrid():
                X25519PrivateKey.generate()
                mlkem.MLKEM768PublicKey.from_public_bytes(bytes(_MLKEM_BYTES))
            case _NIST() as exchange:
                ec.generate_private_key(exchange.curve)
            case _X25519():
                X25519PrivateKey.generate()
            case _:
                for bits in MODULUS_BITS:  # which computes them before the first client asks
                    _numbers(bits).parameters()
    except UnsupportedAlgorithm:
        return False
    return True


def digest_of(digest: str, parts: Iterable[bytes], agreed: Agreed) -> bytes:
    """The hash that the host key signs.

    :param parts: versions, KEXINIT messages, each the client's first, and the host key.
    """
    return hashlib.new(digest, b"".join(map(NS, parts)) + agreed.hashed + agreed.secret).digest()


def derived(digest: str, secret: bytes, exchange_hash: bytes, session: bytes, letter: bytes) -> bytes:
    """Key material (RFC 4253, section 7.2): as much as any cipher needs."""
    known = secret + exchange_hash
    found = hashlib.new(digest, known + letter + session).digest()
    while len(found) < KEY_BYTES:
        found += hashlib.new(digest, known + found).digest()
    return found[:KEY_BYTES]
