"""Lists of keys in the format of ``authorized_keys``, with the options that sshd's manual describes.

Invariant: an option can only restrict a key. Supported are ``from=``, ``expiry-time=``, ``restrict`` with its relatives
for terminals and forwarding, and the two for security keys. Options about features that are not offered (X11, agents,
``~/.ssh/rc``) are ignored. Other options are warned about, and the key counts, except for ``cert-authority``: the key
of an authority signs keys, and cannot log in.

A malformed line is skipped alone. :func:`parse_authorities` reads the same format for authorities of certificates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from twisted.logger import Logger

from vmproxy.auth.public_keys import KEY_TYPES, SECURITY_KEY, decoded_key, key_type
from vmproxy.base.addresses import AddressPatterns, BadAddresses, parse_patterns
from vmproxy.base.sanitize import visible
from vmproxy.base.text_file import BYTE_ORDER_MARK, plain_text

FILE_LIMIT = 1024 * 1024
"""Bound: bytes of a file, in whole lines."""

_OPTION = re.compile(r'([A-Za-z0-9][A-Za-z0-9@._-]*)(?:="((?:[^"\\]|\\"|\\(?!"))*)")?(?:,(?!\Z)|\Z)')
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(Z|UTC)?", re.ASCII | re.IGNORECASE)

# Options without a value, and what each sets. Those that set nothing take away, or give back, what nobody gets here.
_FLAGS: dict[str, dict[str, bool]] = {
    "restrict": {"pty": False, "forwarding": False},
    "pty": {"pty": True},
    "no-pty": {"pty": False},
    "port-forwarding": {"forwarding": True},
    "no-port-forwarding": {"forwarding": False},
    "touch-required": {"touch": True},
    "no-touch-required": {"touch": False},
    "verify-required": {"verify": True},
    "no-verify-required": {"verify": False},
    **{f"{no}{what}": {} for no in ("", "no-") for what in ("agent-forwarding", "x11-forwarding", "user-rc")},
}
_FOREIGN = {
    BYTE_ORDER_MARK: "has a byte order mark in front; save the file without one",
    b"---- BEGIN SSH2 PUBLIC KEY": "is in the format of RFC 4716; `ssh-keygen -i -f FILE' converts it",
    b"-----BEGIN": "is a private key, or in a format of OpenSSL; give the line in the .pub file",
    b"PuTTY-User-Key-File": "is a private key of PuTTY; give the line that PuTTYgen shows for authorized_keys",
}
"""How a key that some other program has written begins; most take several lines."""

_log = Logger()


@dataclass(frozen=True, slots=True)
class AuthorizedKey:
    """One line: a key and its conditions.

    The same key may stand in several lines, each with its own conditions; one line whose conditions hold is enough.

    :ivar blob: the public key in SSH's format.
    :ivar sources: where one must come from; None for anywhere.
    :ivar expires: the last moment at which it counts, in seconds since the epoch; None for never.
    :ivar pty: False where ``restrict`` or ``no-pty`` denies a terminal.
    :ivar forwarding: False where ``restrict`` or ``no-port-forwarding`` denies forwarding, which here is raw access.
    :ivar touch_required: whether a security key must have been touched; means nothing for other keys.
    :ivar verify_required: whether a security key must have verified its user (PIN, finger).
    """

    blob: bytes
    sources: AddressPatterns | None = None
    expires: float | None = None
    pty: bool = True
    forwarding: bool = True
    touch_required: bool = True
    verify_required: bool = False

    def problem(self, address: str, now: float) -> str:
        """Why the key may not be used, for the log.

        :param address: the client's numeric address.
        :param now: seconds since the epoch.
        :returns: ``""`` if it may.
        """
        if self.expires is not None and now > self.expires:
            return f"the key expired at {shown_time(self.expires)}"
        if self.sources is not None and not self.sources.matches(address):
            return f'the key may not be used from {visible(address, 80)} (from="{visible(self.sources.text, 200)}")'
        return ""


@dataclass(slots=True)
class _Options:
    """The options of a key, while they are read."""

    sources: AddressPatterns | None = None
    expires: float | None = None
    pty: bool = True
    forwarding: bool = True
    touch: bool = True
    verify: bool = False
    authority: bool = False
    any: bool = False


def parse_authorized_keys(text: bytes, where: str) -> list[AuthorizedKey]:
    """Read keys in the format of ``authorized_keys``; it never raises.

    :param where: the file's name, for the warnings: about lines that are left out because they are malformed or
        describe an authority, about options that are not honoured, and about host names in ``from=``.
    """
    keys = []
    for number, options, blob, ignored in _lines(text, where):
        if options.authority:
            _skipped(where, number, "is marked cert-authority: it signs certificates, and nobody logs in with it")
            continue
        if ignored:
            _log.warn(
                "{where}, line {number}: not honoured, the key is valid without: {options}",
                where=where,
                number=number,
                options=visible(", ".join(ignored), 200),
            )
        if options.sources is not None and options.sources.names:
            _log.warn(
                "{where}, line {number}: from= takes addresses; host names are not looked up and never match: {names}",
                where=where,
                number=number,
                names=visible(", ".join(options.sources.names), 200),
            )
        keys.append(
            AuthorizedKey(
                blob,
                options.sources,
                options.expires,
                options.pty,
                options.forwarding,
                options.touch,
                options.verify,
            )
        )
    return keys


def parse_authorities(text: bytes, where: str) -> frozenset[bytes]:
    """Read the keys of authorities, one a line, with or without ``cert-authority`` in front.

    A line with other options is left out, because an authority has no conditions here; so is one that lives in a
    security key, whose signatures the ``cryptography`` library cannot check. Both are warned about.

    :returns: the keys' blobs.
    """
    blobs = set()
    for number, options, blob, ignored in _lines(text, where):
        if options.any or ignored:
            _skipped(where, number, "has options, which are not honoured for an authority")
        elif key_type(blob).startswith(SECURITY_KEY):
            _skipped(where, number, "lives in a security key, and certificates signed by one cannot be checked")
        else:
            blobs.add(blob)
    return frozenset(blobs)


def shown_time(seconds: float) -> str:
    """A time for the log: ``2027-01-31 12:00:00Z``."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (OverflowError, ValueError, OSError):  # what no calendar holds
        return f"{seconds:.0f} s after 1970"


def _skipped(where: str, number: int, problem: str) -> None:
    _log.warn("{where}, line {number}: this key {problem}; skipped", where=where, number=number, problem=problem)


def _lines(text: bytes, where: str) -> Iterator[tuple[int, _Options, bytes, list[str]]]:
    """The valid lines: number, options, key, and the options that are not supported."""
    try:
        plain_text(text)
    except ValueError as error:
        _log.warn("{where}: {problem}; no key in it is valid", where=where, problem=str(error))
        return
    foreign = False
    for number, line in enumerate(text.split(b"\n"), 1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        if problem := next((what for begin, what in _FOREIGN.items() if line.startswith(begin)), ""):
            _skipped(where, number, problem)
            foreign = not line.startswith(BYTE_ORDER_MARK)  # which stands in front of one line alone
            continue
        if foreign and line.split(None, 1)[0] not in KEY_TYPES:
            foreign = not line.startswith(b"----")  # its end
            continue
        foreign = False
        options = _Options()
        ignored: list[str] = []
        try:
            if line.split(None, 1)[0] not in KEY_TYPES:
                end = _end_of_options(line)
                written, line = line[:end], line[end:]
                words = line.split()
                if not words or words[0] not in KEY_TYPES:
                    raise ValueError("is malformed, or has a type that is not supported")
                ignored = _understand(written, options)
            blob = decoded_key(line.split())
        except ValueError as error:
            _skipped(where, number, str(error))
        else:
            yield number, options, blob, ignored


def _end_of_options(line: bytes) -> int:
    """The end of the options: the first blank outside of quotes."""
    quoted = False
    at = 0
    while at < len(line) and (quoted or line[at] not in b" \t"):
        if line[at : at + 2] == b'\\"':
            at += 1
        elif line[at] == ord('"'):
            quoted = not quoted
        at += 1
    if quoted:
        raise ValueError("has options with a quote that does not end")
    return at


def _understand(written: bytes, options: _Options) -> list[str]:
    """Apply the supported options.

    :returns: the names of those that are not honoured.
    :raises ValueError: if they are malformed, or a value is; the text goes on from "this key".
    """
    try:
        text = written.decode()
    except UnicodeDecodeError:
        raise ValueError("has options that are not UTF-8") from None
    ignored = []
    at = 0
    while at < len(text):
        found = _OPTION.match(text, at)
        if found is None:
            raise ValueError("has malformed options")
        at = found.end()
        name = found[1].lower()
        if not _take(name, None if found[2] is None else found[2].replace('\\"', '"'), options):
            ignored.append(found[1])
    return ignored


def _take(name: str, value: str | None, options: _Options) -> bool:
    """Apply one option; False if it is not supported."""
    if name == "cert-authority":
        options.authority = True
        return True
    options.any = True
    if name in _FLAGS:
        if value is not None:
            raise ValueError(f"has {name} with a value")
        for what, setting in _FLAGS[name].items():
            setattr(options, what, setting)
        return True
    if name not in ("from", "expiry-time"):
        return False
    if value is None:
        raise ValueError(f"has {name} without a value")
    if name == "expiry-time":
        expires = _expiry(value)
        options.expires = expires if options.expires is None else min(options.expires, expires)
    elif options.sources is None:
        options.sources = _sources(value)
    else:
        raise ValueError("has from= twice")
    return True


def _sources(value: str) -> AddressPatterns:
    try:
        return parse_patterns(value)
    except BadAddresses as error:
        raise ValueError(f"has a from= that makes no sense: {error}") from None


def _expiry(value: str) -> float:
    """``YYYYMMDD`` or ``YYYYMMDDHHMM[SS]``, local time unless ``Z`` follows, as seconds since the epoch."""
    found = _TIME.fullmatch(value)
    try:
        if found is None:
            raise ValueError(value)
        year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC if found[7] else None).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"has an expiry-time that is not a time: {visible(value, 40)}") from None
