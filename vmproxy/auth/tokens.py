"""Tokens: what scripts show in place of an operator. Of each only the hash is kept.

The file has a line of JSON for each token that was made, and one for each that was revoked. It is only ever added to,
under a lock, so that the daemon and the command may do so at the same time; each finds what the other has added when
it reads on. A token has 256 random bits, and a check sum, so that scanners of repositories recognize it.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
import secrets
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from vmproxy.access.policy import EVERYTHING, Restriction, Right
from vmproxy.access.selector import Selector
from vmproxy.base.jsonlines import mend_open
from vmproxy.base.sanitize import visible
from vmproxy.base.threads import OneAtATime
from vmproxy.errors import VMProxyError

FILE = "tokens.jsonl"
FILE_LIMIT = 16 * 1024 * 1024
KEPT_FOR_REVOKING = 1024 * 1024
EACH = 100
IN_ALL = 10_000
GLOBS = 32
NAME_LIMIT = 100
YEAR = 366 * 86400.0
FRESH = 1.0
LOOK_SECONDS = 15.0
SCOPES = ("read", "write", "metrics")

_PREFIX = "vmp_"
_TOKEN = re.compile(r"vmp_[A-Za-z0-9_-]{43}[0-9a-f]{8}")
_MAY = {"read": Right.SEE | Right.SPY, "write": EVERYTHING, "metrics": Right.NONE}

_log = Logger()


class TokenError(VMProxyError):
    """A token that cannot be made or revoked; the text says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    :ivar digest: the hash of what is shown, in hexadecimal digits.
    :ivar name: what its operator calls it.
    :ivar scope: one of :data:`SCOPES`.
    :ivar on: globs of the consoles that it is for.
    """

    token_id: str
    operator: str
    name: str
    digest: str
    scope: str
    on: tuple[str, ...]
    created: float
    expires: float

    @property
    def restriction(self) -> Restriction:
        """What it takes away from the rights of its operator."""
        every = self.on == ("*",)
        on = None if every else tuple(Selector(glob, believes=False) for glob in self.on)
        return Restriction(_MAY[self.scope], on)


def digest(shown: str) -> str:
    """The hash under which a token is kept."""
    return hashlib.sha256(shown.encode("ascii", "replace")).hexdigest()


def looks_like_token(text: str) -> bool:
    """Whether a text has the form of a token, check sum included."""
    return _TOKEN.fullmatch(text) is not None and text[-8:] == _sum(text[:-8])


def _sum(text: str) -> str:
    return f"{zlib.crc32(text.encode('ascii')):08x}"


def make(
    operator: str, name: str, scope: str, on: Iterable[str], seconds: float, now: float, others: Iterable[Token] = ()
) -> tuple[Token, str]:
    """Make a token.

    :param seconds: after which it expires.
    :param others: the tokens that there are.
    :returns: the token, and what is shown of it, once.
    :raises TokenError: if there can be none like that.
    """
    globs = tuple(dict.fromkeys(on)) or ("*",)
    others = list(others)
    if not name or name != visible(name, NAME_LIMIT):
        raise TokenError(f"name: 1 to {NAME_LIMIT} characters that can be shown")
    if scope not in SCOPES:
        raise TokenError(f"scope: it is {', '.join(SCOPES[:-1])} or {SCOPES[-1]}")
    if not 0 < seconds <= YEAR:
        raise TokenError("expires: a year at most")
    if len(globs) > GLOBS:
        raise TokenError(f"on: {GLOBS} at most")
    for glob in globs:
        try:
            Selector(glob)
        except VMProxyError as error:
            raise TokenError(f"on: {error}") from None
    own = [one for one in others if one.operator == operator]
    if any(one.name == name for one in own):
        raise TokenError(f"name: {operator} has a token of that name")
    if len(own) >= EACH or len(others) >= IN_ALL:
        raise TokenError(f"there are {len(own)} tokens of {operator}, {len(others)} in all; revoke some")
    body = _PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    shown = body + _sum(body)
    return Token(secrets.token_hex(8), operator, name, digest(shown), scope, globs, now, now + seconds), shown


class TokenFile:
    """The file. Waits for the disk: on one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        self._mark: object = None
        self._tokens: dict[str, Token] = {}

    def read(self) -> dict[str, Token]:
        """All tokens, by id, those that have expired too; only what was added since is read.

        :raises OSError: if it cannot be read.
        """
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            self._read, self._mark, self._tokens = 0, None, {}
            return {}
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) != self._mark or found.st_size < self._read:
                self._read, self._mark, self._tokens = 0, (found.st_dev, found.st_ino), {}
            file.seek(self._read)
            data = file.read(FILE_LIMIT)
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        if whole:
            self._tokens = dict(self._tokens)
            for line in whole.splitlines():
                self._take(line)
        return self._tokens

    def _take(self, line: bytes) -> None:
        try:
            said: dict[str, Any] = json.loads(line)
            if "revoked" in said:
                self._tokens.pop(said["revoked"], None)
                return
            token = Token(
                str(said["token_id"]),
                str(said["operator"]),
                str(said["name"]),
                str(said["digest"]),
                str(said["scope"]),
                tuple(map(str, said["on"])),
                float(said["created"]),
                float(said["expires"]),
            )
            assert token.restriction
        except (ValueError, KeyError, TypeError, VMProxyError, RecursionError):
            _log.warn("{path}: a line that is no token is ignored", path=str(self.path))
            return
        self._tokens[token.token_id] = token

    def add(self, made: Callable[[list[Token]], tuple[Token, str]], now: float) -> tuple[Token, str]:
        """Add a token.

        :param made: makes it, beside the tokens that there are and have not expired.
        :raises TokenError, OSError: if it cannot be made.
        """
        fd = self._open()
        try:
            token, shown = made([one for one in self.read().values() if one.expires > now])
            self._append(fd, asdict(token), FILE_LIMIT - KEPT_FOR_REVOKING)
        finally:
            os.close(fd)
        return token, shown

    def revoke(self, wanted: Callable[[Token], bool]) -> list[Token]:
        """Revoke tokens; :returns: those that were revoked.

        :raises OSError: if that cannot be written.
        """
        fd = self._open()
        try:
            gone = [one for one in self.read().values() if wanted(one)]
            for one in gone:
                self._append(fd, {"revoked": one.token_id})
        finally:
            os.close(fd)
        return gone

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            mend_open(fd, self.path)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _append(self, fd: int, said: dict[str, object], limit: int = FILE_LIMIT) -> None:
        data = json.dumps(said).encode() + b"\n"
        size = os.fstat(fd).st_size
        if size + len(data) > limit:
            raise TokenError(f"{self.path} is full: remove the lines of tokens that have expired")
        if os.write(fd, data) < len(data):
            os.ftruncate(fd, size)
            raise OSError(28, os.strerror(28))
        os.fsync(fd)


class TokenStore:
    """The tokens, for the daemon. Bound: one thread reads the file; what is known counts for :data:`FRESH` seconds."""

    def __init__(
        self,
        path: Path,
        in_thread: Callable[[Callable[[], Any]], Deferred[Any]],
        wall: Callable[[], float],
    ) -> None:
        self.file = TokenFile(path)
        self._one_at_a_time = OneAtATime(in_thread)
        self._wall = wall
        self._tokens: dict[str, Token] = {}
        self._by_digest: dict[str, Token] = {}
        self._looked = self._asked = float("-inf")

    def load(self) -> None:
        """Read the file now; waits for the disk.

        :raises OSError: if it cannot be read.
        """
        self._use(self.file.read())

    def _use(self, tokens: dict[str, Token]) -> None:
        if tokens is not self._tokens:
            self._tokens = tokens
            self._by_digest = {one.digest: one for one in tokens.values()}

    async def find(self, shown: str) -> Token | None:
        """The token that is shown, by the file as it is now; None if there is none, or not any more."""
        if not looks_like_token(shown):
            return None
        wanted = digest(shown)
        if wanted not in self._by_digest or abs(self._wall() - self._looked) > FRESH:
            try:
                self._use(await self._one_at_a_time(self.file.read))
            except OSError as error:
                _log.error("{path} cannot be read: {error}", path=str(self.file.path), error=error.strerror)
                return None
            self._looked = self._wall()
        found = self._by_digest.get(wanted)
        return found if found is not None and found.expires > self._wall() else None

    async def of(self, operator: str) -> list[Token]:
        """The tokens of an operator that have not expired, in the order in which they were made."""
        self._use(await self._one_at_a_time(self.file.read))
        now = self._wall()
        return [one for one in self._tokens.values() if one.operator == operator and one.expires > now]

    def known(self, token: Token) -> bool:
        """Whether a token counts, as far as it is known; whether it was revoked is looked up behind that."""
        if abs(self._wall() - max(self._looked, self._asked)) > LOOK_SECONDS:
            self._asked = self._wall()
            self._one_at_a_time(self.file.read).addCallbacks(self._use, lambda failure: None)  # the next one tells
        return self._tokens.get(token.token_id) == token and token.expires > self._wall()

    async def create(
        self, operator: str, name: str, scope: str, on: Iterable[str], seconds: float
    ) -> tuple[Token, str]:
        """Make a token; see :func:`make`.

        :raises TokenError, OSError: if that cannot be.
        """
        now = self._wall()
        globs = tuple(on)
        made: tuple[Token, str] = await self._one_at_a_time(
            lambda: self.file.add(lambda others: make(operator, name, scope, globs, seconds, now, others), now)
        )
        return made

    async def revoke(self, operator: str, token_id: str) -> Token | None:
        """Revoke a token of an operator; None if there is none.

        :raises OSError: if that cannot be written.
        """
        gone: list[Token] = await self._one_at_a_time(
            lambda: self.file.revoke(lambda one: one.operator == operator and one.token_id == token_id)
        )
        self._use(await self._one_at_a_time(self.file.read))
        return gone[0] if gone else None
