"""Revocation lists: keys, authorities, and certificates by number or name.

A list is a file in one of two forms. As text, each line is a public key (of an operator or of an authority), a
fingerprint ``SHA256:...``, or what ``ssh-keygen -k`` reads: ``serial: 17-20``, ``id: TEXT``, ``key: ...``, ``sha1:
...``, ``sha256: ...``, ``hash: SHA256:...``. Binary, it is the Key Revocation List that ``ssh-keygen -k`` writes
(OpenSSH's PROTOCOL.krl).

Invariant: a list that cannot be read or parsed, be it in one line, revokes everything, as with sshd. Else making the
file unreadable would bring a stolen key back.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Container
from dataclasses import dataclass, field
from enum import IntEnum

from vmproxy.auth.public_keys import (
    CERTIFICATE_SUFFIX,
    KEY_TYPES,
    Fields,
    certified_key,
    fingerprint,
    key_problem,
    key_type,
)
from vmproxy.base.sanitize import visible
from vmproxy.base.text_file import plain_text

REVOKED_LIMIT = 16 * 1024 * 1024
"""Bound: bytes of a list. A larger one counts as unreadable."""

_MAGIC = b"SSHKRL\n\0"
_FORMAT_VERSION = 1
_SERIAL_MAX = 2**64 - 1

_SERIAL = re.compile(r"(0x[0-9a-f]{1,16}|[0-9]{1,22})(?:\s*-\s*(0x[0-9a-f]{1,16}|[0-9]{1,22}))?", re.I | re.ASCII)


class _Section(IntEnum):
    """Types of sections in a binary list."""

    CERTIFICATES = 1
    KEYS = 2
    SHA1 = 3
    SIGNATURE = 4
    SHA256 = 5
    EXTENSION = 255


class _Part(IntEnum):
    """Types of subsections about certificates."""

    SERIALS = 0x20
    RANGE = 0x21
    BITMAP = 0x22
    IDS = 0x23
    EXTENSION = 0x39


@dataclass(slots=True)
class _Certificates:
    """The revoked certificates of one authority, or of any."""

    serials: set[int] = field(default_factory=set)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    bitmaps: list[tuple[int, bytes]] = field(default_factory=list)
    ids: set[bytes] = field(default_factory=set)

    def problem(self, serial: int, key_id: bytes) -> str:
        if key_id in self.ids:
            return f"its id {visible(key_id.decode('utf-8', 'replace'), 80)} is revoked"
        # Zero is what authorities write that do not number their certificates.
        if serial and (
            serial in self.serials
            or any(low <= serial <= high for low, high in self.ranges)
            or any(_bit(bitmap, serial - offset) for offset, bitmap in self.bitmaps)
        ):
            return f"its serial number {serial} is revoked"
        return ""

    def add_range(self, low: int, high: int) -> None:
        """
        :raises ValueError: if it is none, or begins with the 0 of certificates that have no number.
        """
        if not 0 < low <= high <= _SERIAL_MAX:
            raise ValueError(f"serial numbers {low} to {high} are not a range from 1 on")
        if low == high:
            self.serials.add(low)
        else:
            self.ranges.append((low, high))


@dataclass(frozen=True, slots=True)
class Revoked:
    """A revocation list; without arguments, an empty one.

    :ivar everything: why all is taken for revoked; ``""`` if it is not.
    """

    everything: str = ""
    _keys: Container[bytes] = frozenset()
    _sha1: Container[bytes] = frozenset()
    _sha256: Container[bytes] = frozenset()
    _certificates: tuple[tuple[bytes | None, _Certificates], ...] = ()

    def key_problem(self, blob: bytes) -> str:
        """Why a plain key is revoked, for the log.

        :param blob: the public key in SSH's format; of a certificate, the key inside.
        :returns: ``""`` if it is not revoked.
        """
        if self.everything:
            return self.everything
        if (
            blob in self._keys
            or hashlib.sha256(blob).digest() in self._sha256
            or hashlib.sha1(blob, usedforsecurity=False).digest() in self._sha1
        ):
            return f"the key {fingerprint(blob)} is revoked"
        return ""

    def certificate_problem(self, key: bytes, authority: bytes, serial: int, key_id: bytes) -> str:
        """Why a certificate is revoked, for the log.

        :param key: the key that is certified.
        :param authority: the key that signed.
        :returns: ``""`` if neither it nor its authority is revoked.
        """
        if problem := self.key_problem(key):
            return problem
        if self.key_problem(authority):
            return f"its authority {fingerprint(authority)} is revoked"
        for whose, certificates in self._certificates:
            if whose in (None, authority) and (problem := certificates.problem(serial, key_id)):
                return problem
        return ""


def read_revoked(path: str | os.PathLike[str]) -> Revoked:
    """Read a list from a file, in either form; waits for the disk and never raises.

    :returns: the list; one of everything, with the reason, if the file is not there, or cannot be read or understood.
    """
    try:
        with open(os.path.expanduser(path), "rb") as file:
            data = file.read(REVOKED_LIMIT + 1)
    except (OSError, ValueError) as error:
        return Revoked(f"the list of revoked keys cannot be read: {path}: {getattr(error, 'strerror', error)}")
    return parse_revoked(data, os.fspath(path))


def parse_revoked(data: bytes, where: str) -> Revoked:
    """Parse a list in either form; it never raises.

    :param where: the file's name, for the reason why everything is revoked.
    """
    try:
        if len(data) > REVOKED_LIMIT:
            raise ValueError(f"larger than {REVOKED_LIMIT} bytes")
        return _parse_krl(data) if data.startswith(_MAGIC) else _parse_text(plain_text(data))
    except ValueError as error:
        return Revoked(f"the list of revoked keys cannot be understood: {where}: {error}")


def _bit(bitmap: bytes, number: int) -> bool:
    """Whether a bit of a big-endian number is set."""
    if not 0 <= number < 8 * len(bitmap):
        return False
    return bool(bitmap[-1 - number // 8] >> number % 8 & 1)


# As text


def _parse_text(data: bytes) -> Revoked:
    keys: set[bytes] = set()
    sha256: set[bytes] = set()
    certificates = _Certificates()
    for number, line in enumerate(data.split(b"\n"), 1):
        words = line.partition(b"#")[0].strip()
        if not words:
            continue
        try:
            head, _, rest = words.partition(b":")
            rest = rest.strip()
            match head.lower():
                case b"serial":
                    certificates.add_range(*_serials(rest))
                case b"id":
                    if not rest:
                        raise ValueError("nothing follows id:")
                    certificates.ids.add(rest)
                case b"hash":
                    sha256.add(_sha256(rest))
                case b"sha256" if not rest.startswith((b"ssh-", b"ecdsa-", b"sk-")):
                    sha256.add(_sha256(words))
                case b"key" | b"sha1" | b"sha256":
                    keys.add(_key(rest))
                case _:
                    keys.add(_key(words))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return Revoked("", keys, frozenset(), sha256, ((None, certificates),))


def _key(line: bytes) -> bytes:
    """The key of a line; of a certificate, the key inside, as sshd sees it."""
    try:
        kind, encoded = line.split()[:2]
        blob = base64.b64decode(encoded, validate=True)
        if kind != key_type(blob):
            raise ValueError("is of another type than it says")
        if kind.endswith(CERTIFICATE_SUFFIX):
            return certified_key(blob)
        if kind in KEY_TYPES and (problem := key_problem(blob)):
            raise ValueError(problem)
        Fields(blob).strings()
    except ValueError:
        raise ValueError("neither a public key, nor a fingerprint, nor something like 'serial: 17'") from None
    return blob


def _sha256(text: bytes) -> bytes:
    kind, _, digest = text.split(None, 1)[0].partition(b":") if text else (b"", b"", b"")
    found = b""
    if kind.lower() == b"sha256" and len(digest.rstrip(b"=")) == 43:
        found = base64.b64decode(digest.rstrip(b"=") + b"=", validate=True)
    if len(found) != 32:
        raise ValueError("not a fingerprint SHA256:... such as ssh-keygen -l shows")
    return found


def _serials(text: bytes) -> tuple[int, int]:
    found = _SERIAL.fullmatch(text.decode("ascii", "replace"))
    if found is None:
        raise ValueError("not a serial number such as 17, nor a range such as 17-20")
    low, high = (_serial(part) for part in (found[1], found[2] or found[1]))
    return low, high


def _serial(text: str) -> int:
    """Read a number as C does, and so ssh-keygen: octal after a leading zero."""
    if text[:2].lower() == "0x":
        return int(text, 16)
    return int(text, 8 if text.startswith("0") else 10)


# Binary


def _parse_krl(data: bytes) -> Revoked:
    fields = Fields(data)
    fields.take(len(_MAGIC))
    if fields.number(4) != _FORMAT_VERSION:
        raise ValueError("a revocation list of a version that is not known")
    fields.take(3 * 8)  # its number, when it was made, flags
    fields.string()  # reserved
    fields.string()  # a comment
    keys: set[bytes] = set()
    sha1: set[bytes] = set()
    sha256: set[bytes] = set()
    certificates: list[tuple[bytes | None, _Certificates]] = []
    while fields.more:
        section = fields.number(1)
        if section == _Section.SIGNATURE:
            raise ValueError("it is signed, and signatures of revocation lists are not checked here")
        body = Fields(fields.string())
        match section:
            case _Section.CERTIFICATES:
                certificates.append(_parse_certificates(body))
            case _Section.KEYS:
                # Whatever they are: a key of a type that nobody can log in with does no harm here.
                keys.update(body.strings())
            case _Section.SHA1:
                sha1.update(_digests(body, 20))
            case _Section.SHA256:
                sha256.update(_digests(body, 32))
            case _Section.EXTENSION:
                _extension(body)
            case _:
                raise ValueError(f"a section of a kind that is not known: {section}")
    return Revoked("", keys, sha1, sha256, tuple(certificates))


def _parse_certificates(fields: Fields) -> tuple[bytes | None, _Certificates]:
    authority = fields.string()
    fields.string()  # reserved
    found = _Certificates()
    while fields.more:
        part = fields.number(1)
        body = Fields(fields.string())
        match part:
            case _Part.SERIALS:
                while body.more:
                    serial = body.number(8)
                    found.add_range(serial, serial)
            case _Part.RANGE:
                found.add_range(body.number(8), body.number(8))
            case _Part.BITMAP:
                found.bitmaps.append((body.number(8), body.string()))
            case _Part.IDS:
                found.ids.update(body.strings())
            case _Part.EXTENSION:
                _extension(body)
            case _:
                raise ValueError(f"a section about certificates of a kind that is not known: {part:#x}")
        _end(body)
    return authority or None, found


def _digests(fields: Fields, size: int) -> list[bytes]:
    digests = fields.strings()
    if any(len(digest) != size for digest in digests):
        raise ValueError(f"a digest that has not {size} bytes")
    return digests


def _extension(fields: Fields) -> None:
    name, critical, _ = fields.string(), fields.number(1), fields.string()
    _end(fields)
    if critical:
        raise ValueError(f"an extension that must be understood and is not known: {visible(repr(name), 80)}")


def _end(fields: Fields) -> None:
    if fields.more:
        raise ValueError("data after the end of a section")
