"""Sessions: operators who have logged in with a browser. In memory; of what a browser shows only the hash is kept.

A session ends when its operator logs out, is removed or gets another password in the operators file; when nobody has
touched a key or the pointer on any of its pages for ``session-idle``; and after ``session-longest`` in any case.
Bound: :data:`EACH` of an operator, of which the one that was touched longest ago makes place for another.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from vmproxy.auth.accounts_file import Account
from vmproxy.auth.keyring import Keyring
from vmproxy.operators.operator import Operator
from vmproxy.operators.services import Services
from vmproxy.web.settings import WebSettings

EACH = 20
LOOK_SECONDS = 15.0
IN_CLEAR = "vmproxy"
SECURE = "__Host-vmproxy"

_log = Logger()


class Session:
    """One login of a browser.

    :ivar session_id: for people and the API; it opens nothing.
    :ivar operator: who has logged in; another object when their account changes.
    :ivar since: seconds since the epoch.
    :ivar over: whether it has ended; ``why`` says why, for people.
    """

    __slots__ = (
        "_idle",
        "_longest",
        "_on_end",
        "digest",
        "operator",
        "over",
        "password",
        "session_id",
        "since",
        "touched",
        "why",
    )

    def __init__(self, operator: Operator, digest: str, password: object, now: float) -> None:
        """:param password: the mark of the password, see :meth:`Keyring.password_mark`."""
        self.session_id = secrets.token_hex(8)
        self.operator = operator
        self.digest = digest
        self.password = password
        self.since = self.touched = now
        self.over = False
        self.why = ""
        self._idle = self._longest = 0.0
        self._on_end: list[Callable[[str], object]] = []

    def lasts(self, settings: WebSettings) -> None:
        """Take how long it may last; the operators file may say otherwise of one."""
        own = self.operator.account.session_idle
        self._idle = settings.session_idle if own is None else own
        self._longest = settings.session_longest

    @property
    def ends(self) -> float:
        """When it ends if nobody touches it, in seconds since the epoch."""
        end = self.since + self._longest
        return min(end, self.touched + self._idle) if self._idle else end

    def touch(self, now: float) -> None:
        """Take note that somebody has touched a key or the pointer."""
        self.touched = max(self.touched, now)

    def is_now(self, operator: Operator) -> None:
        """Take another object for the same operator, whose account has changed."""
        self.operator = operator

    def on_end(self, callback: Callable[[str], object]) -> Callable[[], None]:
        """Have something called with the reason when it ends.

        :returns: withdraws that.
        """
        self._on_end.append(callback)

        def withdraw() -> None:
            if callback in self._on_end:
                self._on_end.remove(callback)

        return withdraw

    def end(self, why: str) -> None:
        """End it."""
        self.over, self.why = True, why
        callbacks, self._on_end = self._on_end, []
        for callback in callbacks:
            try:
                callback(why)
            except Exception:
                _log.failure("what was to be done at the end of a session failed")


class Sessions:
    """All sessions."""

    def __init__(self, services: Services, settings: WebSettings, password_mark: Callable[[str], object]) -> None:
        """:param password_mark: see :meth:`Keyring.password_mark`."""
        self._services = services
        self._settings = settings
        self._password_mark = password_mark
        self._by_digest: dict[str, Session] = {}
        self._look: IDelayedCall | None = None
        self._told: list[Callable[[], object]] = []

    def call_on_end(self, callback: Callable[[], object]) -> None:
        """Have something called whenever a session has ended."""
        self._told.append(callback)

    def __len__(self) -> int:
        return len(self._by_digest)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_digest.values()))

    def use(self, settings: WebSettings) -> None:
        """Take other settings; they count for sessions that exist too."""
        self._settings = settings
        for session in self:
            session.lasts(settings)

    def begin(self, account: Account, user: str, peer: str) -> tuple[Session, str]:
        """Begin a session.

        :returns: the session, and what the browser has to show.
        """
        own = [session for session in self if session.operator.name == account.name]
        if len(own) >= EACH:
            self.end(min(own, key=lambda session: session.touched), f"{EACH} newer ones")
        shown = secrets.token_urlsafe(32)
        operator = self._services.operator(account, user, peer, "web")
        session = Session(operator, _digest(shown), self._password_mark(account.name), self._services.wall())
        session.lasts(self._settings)
        self._by_digest[session.digest] = session
        self._services.presence.logged_in(operator)
        self._look_again()
        return session, shown

    def find(self, shown: str) -> Session | None:
        """The session that a browser shows; None if there is none, or not any more."""
        session = self._by_digest.get(_digest(shown)) if shown else None
        if session is not None and session.ends <= self._services.wall():
            self._expire(session)
            return None
        return session

    def end(self, session: Session, why: str) -> None:
        """End a session, and record it."""
        if self._by_digest.pop(session.digest, None) is None:
            return
        self._services.presence.logged_out(session.operator)
        session.operator.audit("login-ended", reason=why)
        session.end(why)
        for callback in self._told:
            callback()

    def _expire(self, session: Session) -> None:
        now = self._services.wall()
        longest = now >= session.since + self._settings.session_longest
        self.end(session, "it has lasted as long as it may" if longest else "nobody was at the keys")

    def accounts_changed(self, keyring: Keyring) -> None:
        """End the sessions of those who are no operators any more, or have another password."""
        for session in self:
            name = session.operator.name
            account = keyring.account(name)
            if account is None:
                self.end(session, "no longer an operator")
            elif keyring.password_mark(name) != session.password:
                self.end(session, "another password")
            elif account != session.operator.account:
                before = session.operator
                self._services.presence.logged_out(before)
                session.is_now(self._services.operator(account, before.user, before.peer, "web"))
                self._services.presence.logged_in(session.operator)
                session.lasts(self._settings)

    def _look_again(self) -> None:
        if self._look is None and self._by_digest:
            self._look = self._services.clock.callLater(LOOK_SECONDS, self._look_through)

    def _look_through(self) -> None:
        self._look = None
        now = self._services.wall()
        for session in self:
            if session.ends <= now:
                self._expire(session)
        self._look_again()

    def stop(self) -> None:
        """Forget all: the process is being stopped."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self._by_digest.clear()


def _digest(shown: str) -> str:
    return hashlib.sha256(shown.encode("latin-1", "replace")).hexdigest()
