"""The authenticator: decisions about keys, certificates and passwords, and their records in the logs.

Invariant: the credential says who the operator is, never the text around it. A key belongs to one operator. A
certificate names its principals, of which exactly one must be an operator, unless the SSH user name says which one. A
password names nobody, so the SSH user name must name the operator. A user name that claims an operator
(``alice:web01``) must agree with the credential; one without a colon may name a console, and claims nobody.

The packets are the business of :mod:`vmproxy.ssh.userauth`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmproxy.auth.accounts_file import Account
from vmproxy.auth.authorized_keys import AuthorizedKey
from vmproxy.auth.certificates import SIGNATURE_OF, BadCertificate, check_certificate
from vmproxy.auth.guests import PREFIX, GuestList
from vmproxy.auth.keyring import AccountSettings, Keyring, KeyringReader
from vmproxy.auth.limits import ConnectionLimiter, LoginBackoff, LoginLimits
from vmproxy.auth.login_tally import LoginTally
from vmproxy.auth.password_sources import PasswordSources, Source
from vmproxy.auth.passwords import PASSWORD_LIMIT, CannotCheck, PasswordChecker
from vmproxy.auth.public_keys import fingerprint
from vmproxy.auth.signatures import SIGNATURES, fits
from vmproxy.auth.user_name import BadUserName, claimed_operator
from vmproxy.base.addresses import neighbourhood
from vmproxy.base.clock import wall_of
from vmproxy.base.ratelimit import RepeatSummary
from vmproxy.base.sanitize import visible
from vmproxy.base.threads import Stops
from vmproxy.errors import ConfigError, VMProxyError

NETWORKS_TOLD = 100

_log = Logger()


class LoginRefused(VMProxyError):
    """A refused login; the text says why, for our logs and never for the client."""


class LoginBusy(VMProxyError):
    """A login that cannot be checked now, through no fault of the client; the text is for our logs only."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A key that lets its holder in after a signature.

    :ivar key: the plain key; of a certificate, the one inside.
    :ivar algorithm: the algorithm of the signature.
    :ivar shown: its fields in the audit trail.
    """

    account: Account
    method: str
    key: AuthorizedKey
    algorithm: bytes
    shown: dict[str, object] = field(default_factory=dict)


class Authenticator:
    """Decides who may log in.

    :ivar gate: the connections that have not logged in.
    :ivar delays: the delays of answers to failed logins.
    :ivar tally: how many logins there were.
    :ivar clock: the reactor.
    :ivar guests: those who are let in without an account, if there may be any.
    """

    def __init__(
        self,
        settings: AccountSettings,
        owner: str,
        in_thread: Callable[[Callable[[], object]], Deferred[object]],
        clock: IReactorTime,
        audit: Callable[..., None],
        checker: PasswordChecker | None = None,
        limits: LoginLimits = LoginLimits(),
        in_slow_thread: Callable[[Callable[[], object]], Deferred[object]] | None = None,
        guests: GuestList | None = None,
    ) -> None:
        """
        :param owner: the name of the one operator that there is without an operators file.
        :param in_thread: has something that waits for the disk done elsewhere.
        :param audit: ``audit(event, **fields)`` records what happened.
        :param checker: another source of passwords than the operators file.
        :param limits: how many connections may be open.
        :param in_slow_thread: has something that waits for the network done elsewhere; as ``in_thread`` if not given.
        :param guests: those who are let in without an account.
        """
        self.clock = clock
        self._wall = wall_of(clock)
        self.gate = ConnectionLimiter(clock, audit, limits)
        self.delays = LoginBackoff(clock)
        self.tally = LoginTally(clock)
        self._logged: RepeatSummary[str] = RepeatSummary(clock, _log_more)
        self._recorded: RepeatSummary[str] = RepeatSummary(clock, self._record_more)
        self._on_change: list[Callable[[Keyring], None]] = []
        self._reader = KeyringReader(settings, owner)
        self._in_thread = in_thread
        self._audit = audit
        self._elsewhere = checker is not None
        self.guests = guests
        self._keyring: Keyring | None = None
        self._sources = PasswordSources(lambda: self._keyring, in_thread, in_slow_thread or in_thread, clock)
        self._checker = checker or self._sources
        self._reading = False
        self._waiting: list[Deferred[Keyring]] = []

    def call_on_change(self, on_change: Callable[[Keyring], None]) -> None:
        """Have something called, too, whenever another keyring is in force."""
        self._on_change.append(on_change)

    def load(self) -> Keyring:
        """Read all files now; waits for the disk. Called at the start, before any client can connect.

        :raises ConfigError: if the operators file cannot be used.
        """
        self._keyring = self._reader.read()
        return self._keyring

    async def refresh(self) -> Keyring:
        """Read the files that have changed. Bound: one thread, however many requests there are.

        :returns: the keyring in force.
        :raises ConfigError: if there is an operators file that never could be used.
        """
        waiter: Deferred[Keyring] = Deferred()
        self._waiting.append(waiter)
        if not self._reading:
            self._read()
        return await waiter

    def _read(self) -> None:
        # A request during a reading may mean a change made since then: it waits for the next reading.
        self._reading = True
        asking, self._waiting = self._waiting, []
        self._in_thread(self._reader.read).addBoth(self._have_read, asking)

    def _have_read(self, outcome: Any, asking: list[Deferred[Keyring]]) -> None:
        self._reading = False
        changed = isinstance(outcome, Keyring) and outcome is not self._keyring
        if changed:
            self._keyring = outcome
        for waiter in asking:
            waiter.callback(outcome)
        if self._waiting and not self._reading:
            self._read()
        if changed:
            for on_change in self._on_change:
                on_change(outcome)

    def use_sources(self, sources: Mapping[str, Source]) -> None:
        """Have these sources asked for passwords, beside the operators file."""
        self._sources.use(sources)

    def password_mark(self, name: str) -> object:
        """See :meth:`Keyring.password_mark`."""
        return self._keyring.password_mark(name) if self._keyring is not None else None

    def has(self, name: str) -> bool:
        """Whether there is an operator of that name, as far as it is known without looking at the files."""
        return self._keyring is not None and self._keyring.account(name) is not None

    async def account(self, name: str) -> Account | None:
        """The account of an operator, by the files as they are now; None if there is none of that name."""
        with suppress(LoginRefused):
            return (await self._in_force()).account(name)
        return None

    async def account_of_certificate(self, names: Sequence[str]) -> Account | None:
        """The operator whose the names in a client's certificate are, by the files as they are now."""
        with suppress(LoginRefused):
            return (await self._in_force()).operators.of_certificate(names)
        return None

    async def account_of_oidc(self, name: str) -> Account | None:
        """The operator whom a provider calls so, by the files as they are now."""
        with suppress(LoginRefused):
            return (await self._in_force()).operators.of_oidc(name)
        return None

    @property
    def methods(self) -> list[bytes]:
        """The methods of authentication that can succeed."""
        if self._elsewhere or self.guests or (self._keyring is not None and self._keyring.has_passwords):
            return [b"publickey", b"password", b"keyboard-interactive"]
        return [b"publickey"]

    # Decisions.

    async def offer(self, user: str, algorithm: bytes, blob: bytes, address: str, front: str = "ssh") -> Offer:
        """Decide about a key, or a certificate, before its signature.

        :param user: the SSH user name.
        :param algorithm: the algorithm of its signature, in the client's words.
        :param blob: the key or certificate.
        :param front: where it is tried.
        :raises LoginRefused: if it lets nobody in.
        """
        with self.tally.timed(front):
            return await self._offer(user, algorithm, blob, address)

    async def _offer(self, user: str, algorithm: bytes, blob: bytes, address: str) -> Offer:
        claimed = _claimed(user)
        if algorithm not in SIGNATURES and algorithm not in SIGNATURE_OF:
            raise LoginRefused(f"the signature algorithm {visible(algorithm.decode('latin-1'), 60)} is not accepted")
        keyring = await self._in_force()
        if algorithm in SIGNATURE_OF:
            return self._certificate(keyring, user, claimed, algorithm, blob, address)
        shown = fingerprint(blob)
        if blob in keyring.shared:
            raise LoginRefused(f"more than one operator has the key {shown}")
        if blob not in keyring.owners or not fits(algorithm, blob):
            raise LoginRefused(f"{shown} is not one of the authorized keys")
        name, keys = keyring.owners[blob]
        if claimed not in (None, name):
            raise LoginRefused(f"the key {shown} is {name}'s, not that of the claimed operator")
        problems = [keyring.revoked.key_problem(blob)] if keyring.revoked.key_problem(blob) else []
        now = self._wall()
        good = [key for key in keys if not problems and not key.problem(address, now)]
        account = keyring.account(name)
        if not good or account is None:
            problems = problems or [key.problem(address, now) for key in keys]
            raise LoginRefused(f"{name}'s key {shown}: {'; '.join(problems)}")
        return Offer(_restricted(account, good[0]), "publickey", good[0], algorithm, {"key": shown})

    def _certificate(
        self, keyring: Keyring, user: str, claimed: str | None, algorithm: bytes, blob: bytes, address: str
    ) -> Offer:
        try:
            found = check_certificate(blob, keyring.authorities, keyring.revoked, address, self._wall())
        except BadCertificate as error:
            raise LoginRefused(f"certificate: {error}") from None
        known = [name for name in dict.fromkeys(found.principals) if keyring.account(name) is not None]
        what = f"certificate {visible(found.key_id, 80)!r} (serial {found.serial})"
        if claimed is not None and claimed not in known:
            raise LoginRefused(f"{what} is not that of the claimed operator")
        name = claimed or (user if user in known else None)
        if not known:
            raise LoginRefused(f"{what} names no known operator")
        if name is None and len(known) > 1:
            hint = f"the user name must say which, as in {known[0]}:CONSOLE"
            raise LoginRefused(f"{what} names several operators ({', '.join(known)}); {hint}")
        account = keyring.account(name or known[0])
        if account is None or not found.takes(algorithm):
            raise LoginRefused(f"{what}: its key does not make signatures of the kind that is announced")
        key = AuthorizedKey(found.key_blob, pty=found.pty, forwarding=found.forwarding)
        return Offer(_restricted(account, key), "certificate", key, SIGNATURE_OF[algorithm], dict(found.fields()))

    async def password(
        self, user: str, secret: bytes, address: str, wanted: Callable[[], bool], front: str = "ssh"
    ) -> Account:
        """Decide about a password.

        :param wanted: whether the client still waits for the answer.
        :param front: where it is tried.
        :raises LoginRefused: if it lets nobody in.
        :raises LoginBusy: if too many are being checked.
        """
        with self.tally.timed(front):
            return await self._password(user, secret, address, wanted, front)

    async def _password(
        self, user: str, secret: bytes, address: str, wanted: Callable[[], bool], front: str
    ) -> Account:
        claimed = _claimed(user)
        if len(secret) > PASSWORD_LIMIT:
            raise LoginRefused("the password is too long")
        keyring = await self._in_force()
        wanted_name = user if claimed is None else claimed
        if self.guests is not None and wanted_name.startswith(PREFIX) and keyring.account(wanted_name) is None:
            return await self._guest(wanted_name, secret, front)
        try:
            name = await self._checker.check(wanted_name, secret, address, wanted)
        except (CannotCheck, Stops) as error:
            raise LoginBusy(str(error)) from None
        except VMProxyError as error:
            raise LoginRefused(str(error)) from None
        # Checking takes time: an operator who was removed meanwhile stays out.
        account = self._keyring.account(name) if name is not None and self._keyring is not None else None
        if account is None:
            raise LoginRefused("wrong password, or no operator of that name who has one")
        return account

    async def _guest(self, name: str, secret: bytes, front: str) -> Account:
        if front != "ssh":
            raise LoginRefused("guests come over SSH")
        assert self.guests is not None
        try:
            guest = await self.guests.log_in(name, secret)
        except OSError as error:
            raise LoginBusy(f"the login of a guest cannot be written down: {error.strerror or error}") from None
        # Writing it down takes time: a guest of an operator who was removed meanwhile stays out.
        operator = self._keyring.account(guest.operator) if guest is not None and self._keyring is not None else None
        if guest is None or operator is None:
            raise LoginRefused("no guest of that name, a wrong password, or no login left")
        return guest.account(operator)

    def knows(self, keyring: Keyring, name: str) -> bool:
        """Whether an operator, or a guest, may still be logged in."""
        guest = self.guests.find(name) if self.guests is not None and name.startswith(PREFIX) else None
        return keyring.account(name if guest is None else guest.operator) is not None

    async def look_again(self) -> None:
        """Read the files that have changed, before the methods are listed."""
        with suppress(LoginRefused):
            await self._in_force()

    async def _in_force(self) -> Keyring:
        try:
            return await self.refresh()
        except ConfigError as error:
            raise LoginRefused(f"the operators file cannot be used: {'; '.join(error.problems)}") from None

    # Records.

    def entered(
        self, account: Account, method: str, user: str, address: str, shown: dict[str, object], front: str = "ssh"
    ) -> None:
        """Record a login."""
        if account.behalf:
            shown = {**shown, "guest-of": account.behalf}
        self.tally.count(front, method, "ok")
        self.delays.succeeded(address, account.name)
        how = " ".join(f"{name} {value}" for name, value in shown.items())
        _log.info(
            "{who}@{peer} logged in as {user} by {method} {how}",
            who=account.name,
            peer=address,
            user=visible(user, 80),
            method=method,
            how=how,
        )
        self._audit(
            "login",
            who=account.name,
            **{"from": address},
            front=front,
            user=visible(user, 80),
            method=method,
            **shown,
        )

    def failed(self, method: str, user: str, address: str, why: str, front: str = "ssh") -> float:
        """Record a failed login, which counts against the client's network.

        :returns: the seconds after which to answer.
        """
        self.tally.count(front, method, "failed")
        self._record_failure(method, user, address, why, front)
        try:
            claimed = claimed_operator(user)
        except BadUserName:
            claimed = None
        return self.delays.failed(address, user if claimed is None else claimed)

    def put_off(self, method: str, user: str, address: str, why: str, front: str = "ssh") -> None:
        """Record a login that could not be checked; it counts against nobody."""
        self.tally.count(front, method, "busy")
        self._record_failure(method, user, address, why, front)

    def _record_failure(self, method: str, user: str, address: str, why: str, front: str) -> None:
        if _again(self._recorded, address):
            self._audit(
                "login-failed",
                **{"from": address},
                front=front,
                user=visible(user, 80),
                method=method,
                reason=visible(why, 300),
            )

    def turned_away(
        self, account: Account, user: str, address: str, why: str, method: str = "", front: str = "ssh"
    ) -> None:
        """Record a correct login of an operator who may have no more connections."""
        self.tally.count(front, method, "refused")
        if not _again(self._recorded, address):
            return
        _log.warn("{who}@{peer}: login refused: {why}", who=account.name, peer=address, why=why)
        self._audit(
            "login-refused",
            who=account.name,
            **{"from": address},
            front=front,
            user=visible(user, 80),
            reason=why,
            connections=1,
        )

    def log_refusal(self, user: str, address: str, why: str) -> None:
        """Write a refusal to the log, and to no other place."""
        self.complain(address, f"login as {visible(user, 80)} refused: {visible(why, 300)}")

    def complain(self, address: str, what: str) -> None:
        """Write to the log what a client did wrong. Bound: ten lines a minute for each network, and a number."""
        if _again(self._logged, address):
            _log.info("{peer}: {what}", peer=address, what=what)

    def _record_more(self, where: str, times: int) -> None:
        self._audit("login-failed", **{"from": where}, times=times)

    def stop(self) -> None:
        """Sum up what has not been told, at the end of the process."""
        self._sources.stop()
        self.gate.stop()
        self._logged.stop()
        self._recorded.stop()


def _log_more(where: str, times: int) -> None:
    _log.warn("{where}: {n} more logins were refused or broken off within a minute", where=where, n=times)


def _again(told: RepeatSummary[str], address: str) -> bool:
    where = neighbourhood(address)
    # Whoever has very many networks has the lines of one.
    return told.again(where if where in told or len(told) < NETWORKS_TOLD else "other networks")


def _claimed(user: str) -> str | None:
    try:
        return claimed_operator(user)
    except BadUserName as error:
        raise LoginRefused(str(error)) from None


def _restricted(account: Account, key: AuthorizedKey) -> Account:
    return account if key.pty and key.forwarding else replace(account, pty=key.pty, forwarding=key.forwarding)
