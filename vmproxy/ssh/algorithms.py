"""The algorithms that clients may agree on with us: ``[ssh] ciphers``, ``macs``, ``kex`` and ``host-key-algorithms``.

The defaults are what ssh-audit finds no fault with; more can be allowed. What would be unsafe is not there at all: no
CBC, no SHA-1, no MD5, no groups of less than 3072 bits, no compression.
"""

from __future__ import annotations

import difflib
import os
import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from twisted.conch.ssh.common import NS

from vmproxy.auth.public_keys import Fields
from vmproxy.base.form import STRING, any_of, formed
from vmproxy.base.sanitize import visible
from vmproxy.base.schema import InvalidValue, setting
from vmproxy.errors import ConfigError, VMProxyError
from vmproxy.ssh import key_exchange, packets

STRICT_SERVER = b"kex-strict-s-v00@openssh.com"
STRICT_CLIENT = b"kex-strict-c-v00@openssh.com"
EXTENSIONS_SERVER = b"ext-info-s"
EXTENSIONS_CLIENT = b"ext-info-c"
COMPRESSION = b"none"

HOST_KEYS = {b"ssh-ed25519": b"ssh-ed25519", b"rsa-sha2-512": b"ssh-rsa", b"rsa-sha2-256": b"ssh-rsa"}
"""The signature algorithms of host keys, and the type of key that each takes."""

_OFF_BY_DEFAULT = (b"ecdh-sha2-nistp256", b"ecdh-sha2-nistp384", b"ecdh-sha2-nistp521")
_TEXT_LIMIT = 4096
_COOKIE = 16
KEXINIT_LIMIT = 16 * 1024
"""Bound: bytes of a client's KEXINIT. Those of known clients have less than 3,000."""

Names = tuple[bytes, ...]
DEFAULT_KEX: Names = tuple(name for name in key_exchange.METHODS if name not in _OFF_BY_DEFAULT)


def choice(known: Collection[bytes], default: Names, what: str) -> Callable[[Any], Names]:
    """A kind of setting: names in order, or a change of the default as OpenSSH writes it.

    ``+NAME,...`` adds at the end, ``^NAME,...`` puts in front, ``-PATTERN,...`` removes.
    """
    there = [name.decode() for name in known]
    before = [name.decode() for name in default]

    def names_in(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        unknown = [name for name in names if name not in there]
        if unknown:
            near = [name for name in there if name.startswith(unknown[0] + "@")]
            near = near or difflib.get_close_matches(unknown[0], there, 1, 0.6)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(there)}"
            raise InvalidValue(f"there is no {what} {visible(unknown[0])!r}; {hint}")
        return names

    @formed(any_of(STRING, {"type": "array", "items": {"enum": there}, "minItems": 1}))
    def checked(value: Any) -> Names:
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            value = ",".join(value)
        if not isinstance(value, str) or not 0 < len(value) <= _TEXT_LIMIT:
            raise InvalidValue(f'{value!r} is neither names such as "{there[0]}" nor names behind "+", "-" or "^"')
        sign, rest = (value[0], value[1:]) if value[0] in "+-^" else ("", value)
        if sign == "-":
            patterns = [pattern.strip() for pattern in rest.split(",")]
            found = [name for name in before if not any(fnmatchcase(name, pattern) for pattern in patterns)]
        elif sign == "+":
            found = before + names_in(rest)
        else:
            found = names_in(rest) + (before if sign else [])
        if not found:
            raise InvalidValue(f"{value!r} leaves no {what}")
        return tuple(name.encode() for name in dict.fromkeys(found))

    return checked


_CIPHERS: Names = tuple(packets.CIPHERS)
_MACS: Names = tuple(packets.MACS)
_HOST_KEYS: Names = tuple(HOST_KEYS)


@dataclass(frozen=True, slots=True)
class Algorithms:
    """The algorithms that are offered, in order. Where a client has several of them, its own order counts.

    :ivar ciphers: of the packets.
    :ivar macs: beside ciphers that do not authenticate.
    :ivar kex: methods of key exchange.
    :ivar host_keys: signature algorithms.
    """

    ciphers: Names = setting(choice(packets.CIPHERS, _CIPHERS, "cipher"), _CIPHERS)
    macs: Names = setting(choice(packets.MACS, _MACS, "MAC"), _MACS)
    kex: Names = setting(choice(key_exchange.METHODS, DEFAULT_KEX, "key exchange method"), DEFAULT_KEX)
    host_keys: Names = setting(
        choice(HOST_KEYS, _HOST_KEYS, "host key algorithm"), _HOST_KEYS, key="host-key-algorithms"
    )

    def usable(self) -> Algorithms:
        """Those that the libraries on this machine can do: old ones, and those in FIPS mode, lack some.

        :raises ConfigError: if not enough is left.
        """
        kex = tuple(name for name in self.kex if key_exchange.available(name))
        ciphers = tuple(name for name in self.ciphers if _cipher_available(name))
        wrong = [key for key, left in (("kex", kex), ("ciphers", ciphers)) if not left]
        if wrong:
            raise ConfigError([f"ssh.{key}: the libraries here can do none of them" for key in wrong])
        return replace(self, kex=kex, ciphers=ciphers)

    def missing(self, usable: Algorithms) -> list[str]:
        """The others."""
        return [name.decode() for name in (*self.kex, *self.ciphers) if name not in (*usable.kex, *usable.ciphers)]

    def kexinit(self) -> bytes:
        """Our KEXINIT message, without its number."""
        kex = (*self.kex, STRICT_SERVER, EXTENSIONS_SERVER)
        lists = (kex, self.host_keys, self.ciphers, self.ciphers, self.macs, self.macs, *((COMPRESSION,),) * 2, (), ())
        return os.urandom(_COOKIE) + b"".join(NS(b",".join(names)) for names in lists) + bytes(5)


def _cipher_available(name: bytes) -> bool:
    key = bytes(key_exchange.KEY_BYTES)
    try:
        packets.make_sealer(name, _MACS[0], packets.Keys(key, key, key)).seal(0, 2, b"")
    except UnsupportedAlgorithm:
        return False
    return True


class NoAgreement(VMProxyError):
    """A client with which there is nothing in common; the text names what it offers."""


class Agreement(NamedTuple):
    """What client and server have chosen.

    :ivar inward: cipher and MAC of what the client sends.
    :ivar outward: cipher and MAC of what we send.
    :ivar guess_is_wrong: whether the next message is of another method, and is to be dropped.
    """

    kex: bytes
    host_key: bytes
    inward: tuple[bytes, bytes]
    outward: tuple[bytes, bytes]
    strict: bool
    extensions: bool
    guess_is_wrong: bool


def agree(ours: Algorithms, kexinit: bytes) -> Agreement:
    """Agree with a client (RFC 4253, section 7.1).

    :param kexinit: the client's message, without its number.
    :raises ValueError: if it is malformed.
    :raises NoAgreement: if there is nothing in common.
    """
    if len(kexinit) > KEXINIT_LIMIT:
        raise ValueError("too long")
    fields = Fields(kexinit)
    fields.take(_COOKIE)
    kex, host_keys, *rest = [fields.string().split(b",") for _ in range(10)]
    ciphers_in, ciphers_out, macs_in, macs_out, compression_in, compression_out, _, _ = rest
    guessed, _ = struct.unpack(">?L", fields.take(5))
    method = _first(kex, ours.kex, "kex", "key exchange method")
    host_key = _first(host_keys, ours.host_keys, "host-key-algorithms", "host key algorithm")
    inward = _cipher_and_mac(ciphers_in, macs_in, ours)
    outward = _cipher_and_mac(ciphers_out, macs_out, ours)
    for names in (compression_in, compression_out):
        _first(names, (COMPRESSION,), "", "way without compression")
    wrong = guessed and (kex[0] != ours.kex[0] or host_keys[0] != ours.host_keys[0])
    return Agreement(method, host_key, inward, outward, STRICT_CLIENT in kex, EXTENSIONS_CLIENT in kex, wrong)


def _cipher_and_mac(ciphers: Sequence[bytes], macs: Sequence[bytes], ours: Algorithms) -> tuple[bytes, bytes]:
    cipher = _first(ciphers, ours.ciphers, "ciphers", "cipher")
    if packets.CIPHERS[cipher].authenticates:
        return cipher, b""  # whatever MACs there are
    return cipher, _first(macs, ours.macs, "macs", "MAC")


def _first(theirs: Sequence[bytes], ours: Names, key: str, what: str) -> bytes:
    known = frozenset(ours)
    for name in theirs:
        if name in known:
            return name
    offered = visible(b",".join(theirs)[:_TEXT_LIMIT].decode("utf-8", "replace"), 300)
    setting_name = f", and ssh.{key} has {b','.join(ours).decode()}" if key else ""
    raise NoAgreement(f"no common {what}: the client has {offered or 'none'}{setting_name}")
