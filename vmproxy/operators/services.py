"""Services: what all operators' sessions share, whatever front they come through. Made by the application."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from vmproxy.access.policy import Grants, Policy, RestrictedGrants
from vmproxy.alerts.center import AlertCenter
from vmproxy.auth.accounts_file import Account
from vmproxy.auth.guests import GuestList
from vmproxy.auth.limits import FILES_EACH, FILES_IN_ALL, SESSIONS_EACH, SESSIONS_IN_ALL, Quota
from vmproxy.base.clock import wall_of
from vmproxy.base.ratelimit import REPEATS_TOLD, RepeatSummary
from vmproxy.base.recent import Refusal
from vmproxy.base.turns import Turns
from vmproxy.console.console import Console
from vmproxy.console.notices import ShuttingDown
from vmproxy.console.registry import ConsoleRegistry
from vmproxy.log.audit import Audit
from vmproxy.log.latest import LatestLines
from vmproxy.operators.actions import Actions
from vmproxy.operators.operator import Operator, OperatorSettings
from vmproxy.operators.presence import Presence
from vmproxy.operators.readings import Readings
from vmproxy.operators.visible import VisibleConsoles
from vmproxy.operators.visible_order import VisibleOrders

GRANTS_KEPT = 1000
NOTES_PER_MINUTE = REPEATS_TOLD

T = TypeVar("T")


Tracer = Callable[[Console | str, Callable[[str], None]], Awaitable[Callable[[], None]]]
"""Takes what is traced, and what is called with each line; returns what ends it."""


async def _no_host(wanted: Console | str, told: Callable[[str], None]) -> Callable[[], None]:
    return lambda: None


class Services:
    """What all sessions share.

    :ivar clock: the reactor.
    :ivar wall: the time of day, in seconds since the epoch.
    :ivar registry: the consoles.
    :ivar audit: the audit trail.
    :ivar alerts: the alerts, and who is told of them.
    :ivar settings: for the sessions that begin from now on.
    :ivar presence: the operators who are logged in, and their sessions.
    :ivar skipped: bytes of output that viewers were too slow for, by front.
    :ivar stopping: whether the server is being stopped.
    :ivar refused: the hosts that were turned away lately, the newest first.
    :ivar to_connect: what to enter in vSphere, lines for people.
    :ivar trace: tells what is said on the connections of a console, or of a host, by its address or name.
    :ivar guests: those who are let in without an account; None if there can be none.
    :ivar ssh_port: the port at which SSH is served, the first of them; 0 if there is none.
    :ivar web_link: the address of a console for browsers; empty where there is none.
    :ivar actions: the programs that operators may have run.
    :ivar readings: the logs that commands read, and their share of threads.
    :ivar orders: the consoles that operators see, in their order.
    :ivar latest: what consoles have said last.
    :ivar turns: the time in each turn of the reactor for what operators, and clients before the login, have done.
    :ivar open_files: the files that clients have open for reading (SFTP), by operator.
    :ivar sessions: the sessions and raw streams, by operator.
    """

    def __init__(
        self,
        clock: IReactorTime,
        registry: ConsoleRegistry,
        audit: Audit,
        alerts: AlertCenter,
        defer_to_thread: Callable[[Callable[[], object]], Deferred[object]],
        settings: OperatorSettings,
        refused: Callable[[], list[Refusal]] = list,
        to_connect: Callable[[], list[str]] = list,
        trace: Tracer = _no_host,
        actions: Actions | None = None,
        guests: GuestList | None = None,
        web_link: Callable[[Console], str] = lambda _: "",
        ssh_port: Callable[[], int] = int,
    ) -> None:
        """:param defer_to_thread: runs a call that waits for the disk on another thread."""
        self.clock = clock
        self.wall = wall_of(clock)
        self.registry = registry
        self.audit = audit
        self.alerts = alerts
        self.settings = settings
        self.presence = Presence()
        self.readings = Readings()
        self.orders = VisibleOrders(registry)
        self.latest = LatestLines()
        self.turns = Turns(clock)
        self.open_files: Quota[object] = Quota(FILES_EACH, FILES_IN_ALL)
        self.sessions: Quota[object] = Quota(SESSIONS_EACH, SESSIONS_IN_ALL)
        self.skipped: Counter[str] = Counter()
        self.stopping = False
        self.refused = refused
        self.to_connect = to_connect
        self.trace = trace
        self.actions = actions or Actions()
        self.guests = guests
        self.web_link = web_link
        self.ssh_port = ssh_port
        self._notes: RepeatSummary[tuple[Console, str]] = RepeatSummary(clock, _notes_refused)
        self._defer_to_thread = defer_to_thread
        self._policy = registry.policy
        self._grants: dict[Account, Grants] = {}
        self._operators: WeakKeyDictionary[Operator, _GrantsNow] = WeakKeyDictionary()

    def reconfigure(self, settings: OperatorSettings) -> None:
        """Take other settings; sessions that exist keep what they have."""
        self.settings = settings

    def skips(self, front: str) -> Callable[[int], None]:
        """What counts the bytes that a viewer was too slow for."""

        def skip(size: int) -> None:
            self.skipped[front] += size

        return skip

    def shut_down(self) -> None:
        """Tell everybody who is on a console that the server is being stopped; once."""
        if not self.stopping:
            self.stopping = True
            self._notes.stop()
            for console in self.registry:
                console.viewers.tell(ShuttingDown())

    def in_thread(self, call: Callable[[], T]) -> Deferred[T]:
        """Run a call that waits for the disk on another thread."""
        return self._defer_to_thread(call)  # type: ignore[return-value]

    def grants(self, account: Account) -> Grants:
        """The rules that concern an operator, as they are now."""
        if self._policy is not self.registry.policy:
            self._policy = self.registry.policy
            self._grants.clear()
        grants = self._grants.get(account)
        if grants is None:
            grants = self._policy.grants(account.behalf or account.name, account.groups)
            if account.restriction is not None:
                grants = RestrictedGrants(grants, account.restriction)
            if len(self._grants) >= GRANTS_KEPT:  # each guest and each token has its own
                self._grants.clear()
            self._grants[account] = grants
        return grants

    def may_note(self, console: Console, name: str) -> bool:
        """Count a note of an operator about a console.

        Bound: :data:`NOTES_PER_MINUTE`, as whoever may read a console may write notes into its trail.
        """
        return self._notes.again((console, name))

    def operator(self, account: Account, user: str, peer: str, front: str = "ssh") -> Operator:
        """The operator who has logged in to an account.

        :param user: the user name that was given; it may name a console.
        :param peer: the client's address.
        :param front: how they came: ``ssh``, ``web`` or ``api``.
        """
        grants = _GrantsNow(self, account)
        operator = Operator(
            account, VisibleConsoles(self.registry, grants), self.audit, self.settings, user, peer, front
        )
        self._operators[operator] = grants
        return operator

    def accounts_changed(self, account_of: Callable[[str], Account | None]) -> None:
        """Have the groups of everybody who has logged in be those of their account, and their rights with them.

        :param account_of: gives the account of a name, as it is now.
        """
        changed = False
        for operator, grants in list(self._operators.items()):
            now = account_of(operator.account.behalf or operator.name)
            if now is not None and now.groups != operator.groups:
                account = replace(operator.account, groups=now.groups)
                operator.is_now(account)
                grants.is_now(account)
                changed = True
        if changed:  # as if there were other rules
            self.registry.use(replace(self.registry.policy))


class _GrantsNow:
    """The rules that concern an operator, as they are now: asked for thousands of consoles, and seldom others."""

    __slots__ = ("_account", "_grants", "_policy", "_services")

    def __init__(self, services: Services, account: Account) -> None:
        self._services = services
        self._account = account
        self._policy: Policy | None = None
        self._grants: Grants | None = None

    def is_now(self, account: Account) -> None:
        self._account = account
        self._grants = None

    def __call__(self) -> Grants:
        policy = self._services.registry.policy
        if self._grants is None or self._policy is not policy:
            self._grants, self._policy = self._services.grants(self._account), policy
        return self._grants


def _notes_refused(noted: tuple[Console, str], times: int) -> None:
    console, who = noted
    console.log.event("notes-refused", who=who, times=times)
