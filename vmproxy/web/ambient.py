"""Operators who are known without a login here: by a trusted proxy, or by the certificate of their client."""

from __future__ import annotations

from vmproxy.base.sanitize import visible
from vmproxy.web.call import WebServices
from vmproxy.web.credential import Credential
from vmproxy.web.head import Head
from vmproxy.web.repeats import Repeats


class Ambient:
    """Finds who a request is from by what comes along with each of a client."""

    def __init__(self, web: WebServices) -> None:
        self._web = web
        self._repeats = Repeats(web.services.clock)

    async def find(self, head: Head) -> Credential | None:
        """The credential; None if the client shows none, or one that is no operator's."""
        accounts, services = self._web.accounts, self._web.services
        shown: dict[str, object] = {}
        if head.user:
            method, user = "proxy", head.user
            account = await accounts.account(head.user)
        elif head.certificate_names:
            method, user = "certificate", head.certificate_names[0]
            shown["certificate"] = visible(", ".join(head.certificate_names), 300)
            account = await accounts.account_of_certificate(head.certificate_names)
        else:
            return None
        fresh = self._repeats.again(method if account is not None else "", user, head.peer)
        if account is None:
            if not fresh:
                accounts.put_off(method, user, head.peer, "there is no operator of that name", front="web")
            return None
        if not fresh:
            accounts.entered(account, method, user, head.peer, shown, front="web")
        operator = services.operator(account, account.name, head.peer, "web")
        until = services.wall() + self._web.settings.session_longest

        def counts() -> bool:
            return services.wall() < until and accounts.has(operator.name)

        return Credential(operator, "web", counts, until=until)
