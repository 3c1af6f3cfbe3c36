"""The SSH login: RFC 4252 (publickey, password) and RFC 4256 (keyboard-interactive), with bounds.

Who may come in is decided in :mod:`vmproxy.auth.authenticator`; here is what a client may say, how often, and when it
is answered. conch's own service is not used: it has no keyboard-interactive and no certificates, and it finds the
handler of a method by the name that the client sends.

A *try* is a signature or a password. After so many that fail the connection is closed, and each failure is answered
only after a delay that grows (:class:`vmproxy.auth.limits.LoginBackoff`), of which a password waits a part before it is
looked at. A try counts as soon as it is known to have failed, whether or not its client waits for the answer. A
*question* is all else: whether a key would do, which methods there are, a prompt. Agents ask about many keys, so
questions have a bound of their own, and count as one failure in all if the connection ends without a login. While the
answer to one request takes its time, a few more may wait behind it.
"""

from __future__ import annotations

import struct
from collections.abc import Coroutine
from typing import Any, cast

from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.service import SSHService
from twisted.conch.ssh.transport import DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, DISCONNECT_TOO_MANY_CONNECTIONS
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.auth.accounts_file import Account
from vmproxy.auth.authenticator import Authenticator, LoginBusy, LoginRefused
from vmproxy.auth.limits import FIRST_DELAY
from vmproxy.auth.signatures import verify_signature
from vmproxy.base.tasks import spawn
from vmproxy.ssh.conch_log import QuietLogger
from vmproxy.ssh.transport import LoginFactory, OperatorTransport

TRIES = 6
QUESTIONS = 40
WAITING_LIMIT = 8
WAITING_BYTES = 32 * 1024
USER_LIMIT = 1024
PROMPT = b"Password: "

MSG_USERAUTH_REQUEST = 50
MSG_USERAUTH_FAILURE = 51
MSG_USERAUTH_SUCCESS = 52
MSG_USERAUTH_BANNER = 53
MSG_USERAUTH_PK_OK = 60  # the same number twice: which it is says the method that is under way
MSG_USERAUTH_INFO_REQUEST = 60
MSG_USERAUTH_INFO_RESPONSE = 61

_log = Logger()


class UserAuth(SSHService):
    """The login of one client. Its deadline runs from the connection on, in the transport."""

    name = b"ssh-userauth"
    protocolMessages = {
        MSG_USERAUTH_REQUEST: "MSG_USERAUTH_REQUEST",
        MSG_USERAUTH_INFO_RESPONSE: "MSG_USERAUTH_INFO_RESPONSE",
    }
    _log = QuietLogger()

    def serviceStarted(self) -> None:
        self._busy = False
        self._waiting: list[tuple[int, bytes]] = []
        self._tries = 0
        self._questions = 0
        self._prompted: str | None = None  # the user name to whom the prompt went
        self._unanswered = ""  # why a question led nowhere, until the login
        self._user = ""
        self._pause: tuple[IDelayedCall, Deferred[None]] | None = None
        if banner := cast(LoginFactory, self._transport.factory).banner:
            text = banner.replace("\n", "\r\n") + "\r\n"
            self._transport.sendPacket(MSG_USERAUTH_BANNER, NS(text.encode()) + NS(b""))

    def serviceStopped(self) -> None:
        """End the login: the operator is in, or the connection is gone."""
        self._waiting.clear()
        if self._unanswered and not self._tries:
            self._accounts.failed("publickey", self._user, self._transport.peer, self._unanswered)
        self._unanswered = ""
        if self._pause is not None:
            call, pause = self._pause
            self._pause = None
            call.cancel()
            pause.callback(None)

    # Requests, one after the other.

    def ssh_USERAUTH_REQUEST(self, packet: bytes) -> None:
        self._take(MSG_USERAUTH_REQUEST, packet)

    def ssh_USERAUTH_INFO_RESPONSE(self, packet: bytes) -> None:
        self._take(MSG_USERAUTH_INFO_RESPONSE, packet)

    def _take(self, number: int, packet: bytes) -> None:
        if self._busy:
            waiting = sum(len(packet) for _, packet in self._waiting)
            if len(self._waiting) >= WAITING_LIMIT or waiting + len(packet) > WAITING_BYTES:
                raise ValueError("too many tries at once")
            self._waiting.append((number, packet))
            return
        work = self._begin(packet) if number == MSG_USERAUTH_REQUEST else self._answered(packet)
        self._busy = True
        spawn(work).addErrback(self._broken).addCallback(lambda _: self._next())

    def _next(self) -> None:
        self._busy = False
        transport = self._transport
        if self._waiting and not transport.over and transport.service is self:
            # Through the transport, which guards against malformed packets.
            transport.dispatchMessage(*self._waiting.pop(0))

    def _broken(self, failure: Failure) -> None:
        _log.failure("{peer}: a login could not be decided", failure=failure, peer=self._transport.peer)
        self._transport.sendDisconnect(DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, b"internal error")

    # Methods. Malformed packets raise here, before anything is waited for, and end the connection.

    def _begin(self, packet: bytes) -> Coroutine[Any, Any, None]:
        name, service, method, rest = getNS(packet, 3)
        if service != b"ssh-connection" or len(name) > USER_LIMIT:
            raise ValueError("not a login that can be")
        self._prompted = None  # a new request gives up the prompt
        self._user = user = name.decode("utf-8", "replace")
        if method not in self._accounts.methods:
            return self._not_offered(user, method)
        if method == b"publickey":
            signed = rest[0]
            algorithm, blob, rest = getNS(rest[1:], 2)
            if not signed:
                return self._asked(user, algorithm, blob)
            data = packet[: len(packet) - len(rest)]
            return self._signed(user, algorithm, blob, getNS(rest)[0], data)
        if method == b"password":
            change, (secret, _) = rest[0], getNS(rest[1:])
            return self._password(user, "password", None if change else secret)
        return self._prompt(user)

    async def _not_offered(self, user: str, method: bytes) -> None:
        if method == b"none":  # the usual question for the methods
            await self._accounts.look_again()
            await self._question(user, None)
        else:
            shown = method.decode("ascii", "replace")
            await self._failed(shown[:40], user, f"the method {shown} is not offered")

    async def _asked(self, user: str, algorithm: bytes, blob: bytes) -> None:
        try:
            await self._accounts.offer(user, algorithm, blob, self._transport.peer)
        except LoginRefused as refused:
            await self._question(user, str(refused))
        else:
            if self._count_question():
                self._transport.sendPacket(MSG_USERAUTH_PK_OK, NS(algorithm) + NS(blob))

    async def _signed(self, user: str, algorithm: bytes, blob: bytes, signature: bytes, data: bytes) -> None:
        transport = self._transport
        session = transport.sessionID
        assert session is not None
        try:
            offer = await self._accounts.offer(user, algorithm, blob, transport.peer)
            if not verify_signature(
                offer.key, offer.algorithm, signature, NS(session) + bytes([MSG_USERAUTH_REQUEST]) + data
            ):
                raise LoginRefused(f"the signature is wrong ({offer.account.name}'s key)")
        except LoginRefused as refused:
            await self._failed("publickey", user, str(refused))
        else:
            self._enter(offer.account, offer.method, user, offer.shown)

    async def _password(self, user: str, method: str, secret: bytes | None) -> None:
        transport = self._transport
        held = self._accounts.delays.present(transport.peer)
        await self._wait(held)
        try:
            if transport.over:
                raise LoginRefused("the connection was closed before the password was checked")
            if secret is None:
                raise LoginRefused("passwords are not changed here")
            account = await self._accounts.password(user, secret, transport.peer, lambda: not transport.over)
        except LoginBusy as busy:
            await self._put_off(method, user, str(busy))
        except LoginRefused as refused:
            await self._failed(method, user, str(refused), held)
        else:
            self._enter(account, method, user, {})

    async def _prompt(self, user: str) -> None:
        if self._count_question():
            self._prompted = user
            texts = NS(b"") + NS(b"") + NS(b"")  # name, instruction, language: the prompt says it all
            self._transport.sendPacket(MSG_USERAUTH_INFO_REQUEST, texts + struct.pack(">L", 1) + NS(PROMPT) + b"\0")

    def _answered(self, packet: bytes) -> Coroutine[Any, Any, None]:
        user, self._prompted = self._prompted, None
        (count,) = struct.unpack(">L", packet[:4])
        if user is None or count != 1:
            raise ValueError("an answer that nobody asked for")
        return self._password(user, "keyboard-interactive", getNS(packet[4:])[0])

    # Answers.

    def _count_question(self) -> bool:
        """Count a question; :returns: whether it may be answered."""
        transport = self._transport
        self._questions += 1
        if self._questions > QUESTIONS:
            transport.sendDisconnect(DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, b"too many questions")
        return not transport.over

    async def _question(self, user: str, why: str | None) -> None:
        """Answer a question that led nowhere, the first one after the present delay."""
        transport = self._transport
        if transport.over:
            return
        if why is not None:
            self._accounts.log_refusal(user, transport.peer, why)
            first, self._unanswered = not self._unanswered, why
            if first:
                await self._wait(self._accounts.delays.present(transport.peer))
        if self._count_question():
            self._refuse()

    async def _put_off(self, method: str, user: str, why: str) -> None:
        """Answer a try that could not be checked; it is no failure of the client."""
        transport = self._transport
        self._accounts.log_refusal(user, transport.peer, why)
        self._accounts.put_off(method, user, transport.peer, why)
        if not transport.over:
            await self._wait(FIRST_DELAY)
            if not transport.over and self._count_question():
                self._refuse()

    async def _failed(self, method: str, user: str, why: str, waited: float = 0.0) -> None:
        """Answer a try that failed, after a delay; disconnect after too many.

        :param waited: the part of the delay that is over already.
        """
        transport = self._transport
        self._tries += 1
        self._accounts.log_refusal(user, transport.peer, why)
        delay = self._accounts.failed(method, user, transport.peer, why)
        if transport.over:
            return
        await self._wait(delay - waited)
        if transport.over:
            return
        if self._tries >= TRIES:
            transport.sendDisconnect(DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, b"too many tries")
        else:
            self._refuse()

    async def _wait(self, seconds: float) -> None:
        if seconds > 0:
            pause: Deferred[None] = Deferred()
            self._pause = (self._accounts.clock.callLater(seconds, self._resume), pause)
            await pause

    def _resume(self) -> None:
        assert self._pause is not None
        _, pause = self._pause
        self._pause = None
        pause.callback(None)

    def _refuse(self) -> None:
        self._transport.sendPacket(MSG_USERAUTH_FAILURE, NS(b",".join(self._accounts.methods)) + b"\0")

    def _enter(self, account: Account, method: str, user: str, shown: dict[str, object]) -> None:
        transport = self._transport
        if transport.over:
            return  # the connection was lost while the keys were read
        if problem := self._factory.admit(transport, account):
            self._accounts.turned_away(account, user, transport.peer, problem, method)
            self._unanswered = ""
            transport.sendDisconnect(DISCONNECT_TOO_MANY_CONNECTIONS, problem.encode())
            return
        transport.logged_in(account.name)
        services = transport.services
        operator = services.operator(account, user, transport.peer)
        services.presence.logged_in(operator)
        self._accounts.entered(account, method, user, transport.peer, shown)
        self._unanswered = ""
        transport.avatar = operator
        transport.logoutFunction = lambda: services.presence.logged_out(operator)
        transport.sendPacket(MSG_USERAUTH_SUCCESS, b"")
        transport.setService(transport.factory.getService(transport, b"ssh-connection")())

    # The connection.

    @property
    def _transport(self) -> OperatorTransport:
        assert isinstance(self.transport, OperatorTransport)
        return self.transport

    @property
    def _factory(self) -> LoginFactory:
        return cast(LoginFactory, self._transport.factory)

    @property
    def _accounts(self) -> Authenticator:
        return self._factory.accounts
