"""Single sign-on: a browser goes to the provider and comes back with the proof that somebody has logged in there.

What ties the two ways together is sealed by a key of this process and kept by the browser, for :data:`BACK_SECONDS`:
nothing is kept here for strangers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import astuple
from secrets import compare_digest

from cryptography.fernet import Fernet, InvalidToken
from twisted.internet.defer import Deferred

from vmproxy.auth.passwords import FairExecutor
from vmproxy.web.oidc import Challenge, NotProven, Provider

DONE = "/login/oidc/done"
BACK_SECONDS = 600
AT_ONCE = 2


class SingleSignOn:
    """The provider, and the logins that are under way at it.

    :ivar provider: None as long as there is none in the settings.
    """

    def __init__(
        self, in_thread: Callable[[Callable[[], object]], Deferred[object]], wall: Callable[[], float]
    ) -> None:
        """
        :param in_thread: runs a call that waits for the network; :data:`AT_ONCE` at once.
        :param wall: the time of day, in seconds since the epoch.
        """
        self.provider: Provider | None = None
        self._turns = FairExecutor(in_thread, AT_ONCE)
        self._wall = wall
        self._seal = Fernet(Fernet.generate_key())

    def use(self, provider: Provider | None) -> None:
        """Have another provider asked from now on."""
        self.provider = provider

    async def begin(
        self, provider: Provider, origin: str, peer: str, to: str, wanted: Callable[[], bool]
    ) -> tuple[str, str]:
        """Begin a login.

        :param origin: how the browser calls us.
        :param peer: its address.
        :param to: the page of ours that it wants to come to.
        :param wanted: whether it still waits.
        :returns: where it is to go, and what it is to keep.
        :raises TooBusy, Unwanted: see :class:`FairExecutor`.
        :raises ProviderError: if the provider does not answer.
        """
        challenge = Challenge.make()
        address = await self._turns.run(peer, lambda: provider.login_address(challenge, origin + DONE), wanted)
        state = json.dumps([*astuple(challenge), origin, to]).encode()
        return address, self._seal.encrypt_at_time(state, int(self._wall())).decode()

    async def finish(
        self, provider: Provider, origin: str, peer: str, kept: str, state: str, code: str, wanted: Callable[[], bool]
    ) -> tuple[str, str]:
        """Find out who has come back.

        :param kept: what the browser was to keep.
        :param state: what it has brought back, and ``code``.
        :returns: the name at the provider, and the page to go to.
        :raises NotProven: if nobody is proven to have logged in.
        :raises TooBusy, Unwanted, ProviderError: as for :meth:`begin`.
        """
        try:
            opened = self._seal.decrypt_at_time(kept.encode(), BACK_SECONDS, int(self._wall()))
        except InvalidToken:
            raise NotProven("this browser has not begun the login, or too long ago") from None
        *parts, begun, to = json.loads(opened)
        challenge = Challenge(*parts)
        if not compare_digest(state.encode(), challenge.state.encode()) or begun != origin:
            raise NotProven("the answer is that to another login (state)")
        return await self._turns.run(peer, lambda: provider.who(code, challenge, origin + DONE), wanted), to
