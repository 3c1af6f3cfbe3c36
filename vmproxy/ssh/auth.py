"""Who may log in: whoever holds the private half of an authorized key.

Who an operator is comes from the key. The SSH user name may say which console is wanted (``web01``), who one claims to
be (``alice``), or both (``alice:web01``); a claim must agree with the key.
"""

from __future__ import annotations

import base64
import glob
import os
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from twisted.conch.error import ConchError, IgnoreAuthentication, ValidPublicKey
from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.common import getNS
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.userauth import MSG_USERAUTH_REQUEST, SSHUserAuthServer
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ISSHPrivateKey
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger
from zope.interface import Interface, implementer

from vmproxy.ssh.quiet import QuietLogger
from vmproxy.ssh.target import BadTarget, claimed_operator
from vmproxy.ssh.transport import SIGNATURES, OperatorTransport
from vmproxy.text import visible

T = TypeVar("T")
InThread = Callable[[Callable[[], T]], "Deferred[T]"]

FILE_LIMIT = 1024 * 1024
ATTEMPTS = 10
USER_LIMIT = 1024

_KEY_TYPES = frozenset((*(s for s in SIGNATURES if not s.startswith(b"rsa-")), b"ssh-rsa"))
_USER_PRESENT = 1  # the flag of a security key that says that it was touched
_log = Logger()


def parse_authorized_keys(text: bytes, where: str) -> set[bytes]:
    """Read keys in the format of ``authorized_keys``.

    :param where: the file's name, for the warnings about lines that are left out: malformed ones, and those with
        options, because an option that is not honoured (``from=``, ``command=``) would grant more than was meant.
    :returns: the keys' blobs.
    """
    blobs = set()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        problem = ""
        try:
            if words[0] not in _KEY_TYPES:
                problem = "has options, or a type of key, that are not supported"
            else:
                blob = base64.b64decode(words[1], validate=True)
                if getNS(blob)[0] != words[0]:
                    problem = "is of another type than it says"
                Key.fromString(blob, type="blob")
        except Exception as error:  # conch's parsers raise whatever comes their way; a bad line costs only itself
            problem = f"is malformed ({error.__class__.__name__})"
        if problem:
            _log.warn(
                "{where}, line {number}: this key {problem}; skipped", where=where, number=number, problem=problem
            )
        else:
            blobs.add(blob)
    return blobs


def read_authorized_keys(patterns: Iterable[str]) -> set[bytes]:
    """Read all keys of some files; waits for the disk.

    :param patterns: file names, ``~`` and wildcards understood. One that is not there is no error.
    """
    blobs: set[bytes] = set()
    for pattern in patterns:
        for path in sorted(glob.glob(os.path.expanduser(pattern))):
            try:
                with open(path, "rb") as file:
                    blobs |= parse_authorized_keys(file.read(FILE_LIMIT), path)
            except OSError as error:
                _log.warn("{path}: {error}", path=path, error=error.strerror)
    return blobs


@implementer(ICredentialsChecker)
class KeyChecker:
    """Checks a key that is offered, and the signature that proves it."""

    credentialInterfaces = (ISSHPrivateKey,)

    def __init__(self, operator: str, files: Iterable[str], in_thread: InThread[set[bytes]]) -> None:
        """
        :param operator: who one is with any of the keys.
        :param files: patterns of the files that hold them; read at every login, so that a change counts at once.
        :param in_thread: has something done on another thread.
        """
        self._operator = operator
        self._files = tuple(files)
        self._in_thread = in_thread

    @inlineCallbacks
    def requestAvatarId(self, credentials: Any) -> Generator[Deferred[set[bytes]], set[bytes], bytes | tuple[()]]:
        """Decide about one try.

        :returns: the operator's name.
        :raises ValidPublicKey: if the key would do, but was only asked about.
        :raises UnauthorizedLogin: if not.
        """
        name = credentials.username.decode("utf-8", "replace")
        try:
            claimed = claimed_operator(name)
        except BadTarget as error:
            raise UnauthorizedLogin(str(error)) from None
        if credentials.algName not in SIGNATURES:
            raise UnauthorizedLogin("that signature algorithm is not accepted")
        allowed = yield self._in_thread(lambda: read_authorized_keys(self._files))
        if credentials.blob not in allowed:
            raise UnauthorizedLogin("not one of the authorized keys")
        if claimed not in (None, self._operator):
            raise UnauthorizedLogin(f"the key is {self._operator}'s, and not that of who it claims to be")
        if credentials.signature is None:
            raise ValidPublicKey
        if not _proves(credentials.blob, credentials.algName, credentials.signature, credentials.sigData):
            raise UnauthorizedLogin("the signature is wrong")
        return self._operator.encode()


def _proves(blob: bytes, algorithm: bytes, signature: bytes, data: bytes) -> bool:
    try:
        # The algorithm inside the signature counts, and must be the one that was agreed to: no SHA-1 by the back door.
        inside, _, rest = getNS(signature, 2)
        if inside != algorithm:
            return False
        if algorithm.startswith(b"sk-") and not rest[0] & _USER_PRESENT:
            return False
        return bool(Key.fromString(blob, type="blob").verify(signature, data))
    except Exception as error:  # whatever a forged signature makes the parsers raise, it proves nothing
        _log.debug("signature not understood: {error!r}", error=error)
        return False


@implementer(IRealm)
class Realm:
    """Gives who has logged in what it needs: see :class:`vmproxy.ssh.connection.Operator`."""

    def __init__(self, make: Callable[[str], IConchUser]) -> None:
        self._make = make

    def requestAvatar(
        self, avatarId: bytes | tuple[()], mind: object, *interfaces: type[Interface]
    ) -> tuple[type[Interface], IConchUser, Callable[[], None]]:
        """Called by twisted.cred after a login."""
        if IConchUser not in interfaces:
            raise NotImplementedError("only SSH logins are offered")
        return IConchUser, self._make(bytes(avatarId).decode()), lambda: None


class UserAuth(SSHUserAuthServer):
    """The login: its tries, one after the other, and who came in.

    Its deadline runs from the connection on, in the transport.
    """

    attemptsBeforeDisconnect = ATTEMPTS
    loginTimeout = 3600
    _log = QuietLogger()

    def serviceStarted(self) -> None:
        """The login begins."""
        super().serviceStarted()
        self._busy = False
        self._waiting: list[bytes] = []

    def ssh_USERAUTH_REQUEST(self, packet: bytes) -> None:
        """A try. Keys are read on another thread, and meanwhile the client may send more: they wait their turn."""
        if self._busy:
            if len(self._waiting) >= ATTEMPTS:
                raise ValueError("too many tries at once")
            self._waiting.append(packet)
            return
        user, service = getNS(packet, 2)[:2]
        if service != b"ssh-connection" or len(user) > USER_LIMIT:
            raise ValueError("not a login that can be")
        self._busy = True
        done = super().ssh_USERAUTH_REQUEST(packet)
        if done is None:
            self._next()
        else:
            done.addBoth(lambda _: self._next())

    def _next(self) -> None:
        self._busy = False
        transport = self._transport
        if self._waiting and not transport.over and transport.service is self:
            # By way of the transport, whose care for packets that make no sense is needed here too.
            transport.dispatchMessage(MSG_USERAUTH_REQUEST, self._waiting.pop(0))

    @property
    def _transport(self) -> OperatorTransport:
        assert isinstance(self.transport, OperatorTransport)
        return self.transport

    def _cbFinishedAuth(self, result: Any) -> None:
        transport = self._transport
        if transport.over:
            return  # it was lost while the keys were being read
        transport.logged_in()
        result[1].logged_in((self.user or b"").decode("utf-8", "replace"), transport.peer)
        _log.info("{who} logged in as {user}", who=result[1].who, user=self.shown_user)
        super()._cbFinishedAuth(result)

    def _ebBadAuth(self, reason: Any) -> None:
        if self._transport.over:
            return
        asked_only = reason.check(IgnoreAuthentication)
        if self.method != b"none" and not asked_only:
            why = reason.getErrorMessage() if reason.check(UnauthorizedLogin, ConchError) else "internal error"
            _log.info(
                "{peer}: login as {user} refused: {why}",
                peer=self._transport.peer,
                user=self.shown_user,
                why=visible(why),
            )
        super()._ebBadAuth(reason)

    @property
    def shown_user(self) -> str:
        """The SSH user name, safe to show."""
        return visible((self.user or b"").decode("utf-8", "replace"), 80)
