"""An operator who has logged in: account, rights and preferences, whatever front they came through."""

from __future__ import annotations

from dataclasses import dataclass

from vmproxy.auth.accounts_file import Account
from vmproxy.base import values
from vmproxy.base.escape import DEFAULT_ESCAPE
from vmproxy.base.schema import setting
from vmproxy.log.audit import Audit
from vmproxy.operators.target import Target, from_user
from vmproxy.operators.visible import VisibleConsoles


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Settings for all operators.

    :ivar escape: the two bytes that precede a command, for operators without an escape of their own.
    :ivar quiet: whether operators get fewer notices, unless their account says otherwise.
    :ivar message: of the day, for everybody who attaches.
    """

    escape: bytes = setting(values.escape, DEFAULT_ESCAPE)
    quiet: bool = setting(values.flag, False)
    message: str = setting(values.text, "")


class Operator:
    """One login of an operator.

    :ivar account: their account; with a key that is restricted, less may be had.
    :ivar name: their name, by the credential.
    :ivar user: the user name that was given; it may name a console.
    :ivar peer: the client's address.
    :ivar front: how they came: ``ssh``, ``web`` or ``api``.
    :ivar view: the consoles that they may see, and their rights there.
    :ivar escape: the two bytes that precede a command.
    :ivar quiet: whether they want fewer notices.
    """

    def __init__(
        self,
        account: Account,
        view: VisibleConsoles,
        audit: Audit,
        settings: OperatorSettings,
        user: str,
        peer: str,
        front: str = "ssh",
    ) -> None:
        self.account = account
        self.name = account.name
        self.user = user
        self.peer = peer
        self.front = front
        self.view = view
        self.escape = account.escape or settings.escape
        self.quiet = settings.quiet if account.quiet is None else account.quiet
        self._audit = audit

    def is_now(self, account: Account) -> None:
        self.account = account

    @property
    def groups(self) -> tuple[str, ...]:
        return self.account.groups

    @property
    def who(self) -> str:
        """``alice@10.1.2.9``"""
        return f"{self.name}@{self.peer}"

    @property
    def target(self) -> Target | None:
        """The console that the user name asks for; None if it names none.

        :raises BadTarget: if its options mean nothing.
        """
        return from_user(self.user, self.name)

    def audit(self, event: str, **fields: object) -> None:
        """Record an action of the operator: see :meth:`Audit.record`."""
        self._audit.record(event, **{"who": self.name, "from": self.peer, "front": self.front, **fields})
