"""The web service. Off, it imports nothing of the web but its settings, and has no listener."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from vmproxy.app.descriptors import Budget, SpareDescriptor
from vmproxy.app.listeners import Listeners
from vmproxy.app.part import Part
from vmproxy.app.vm_service import expiry
from vmproxy.auth.authenticator import Authenticator
from vmproxy.auth.tokens import FILE, TokenStore
from vmproxy.base.addresses import numeric_address
from vmproxy.base.counters import Counters
from vmproxy.base.metrics import Families
from vmproxy.base.threads import OwnThreads
from vmproxy.config.settings import Config
from vmproxy.errors import ConfigError
from vmproxy.operators.services import Services
from vmproxy.vm.certificates import CertificateError, Credentials, TLSSettings, load
from vmproxy.web.settings import OIDCSettings, WebSettings

if TYPE_CHECKING:
    from vmproxy.web.frontend import WebFrontend
    from vmproxy.web.http_metrics import HTTPMetrics
    from vmproxy.web.oidc import Provider
    from vmproxy.web.tls import ServerTLS

SIGN_ON_THREADS = 2

_log = Logger()


class Checked(NamedTuple):
    """What was found before a configuration is used."""

    credentials: Credentials | None
    provider: Provider | None


class WebService(Part):
    """The browsers and scripts.

    :ivar tokens: the tokens of scripts.
    :ivar front: the connections; None as long as it is off.
    :ivar credentials: the certificates that browsers are shown.
    """

    def __init__(
        self,
        reactor: PosixReactorBase,
        config: Config,
        services: Services,
        accounts: Authenticator,
        budget: Budget,
        spare: SpareDescriptor,
        counters: Counters,
        not_ready: Callable[[], list[str]],
        status: Callable[[], dict[str, object]],
        figures: Callable[[], Families],
    ) -> None:
        """
        :param not_ready: the reasons why the daemon is not ready.
        :param status: how the daemon is, for JSON.
        :param figures: what all parts tell of themselves.
        """
        self._reactor = reactor
        self._services = services
        self._accounts = accounts
        self._budget = budget
        self._not_ready = not_ready
        self._status = status
        self.credentials: Credentials | None = None
        self._sockets: set[str] = set()
        self._threads = OwnThreads(reactor, "vmproxy-single-sign-on", SIGN_ON_THREADS)
        self._figures = figures
        self._certificates: Credentials | None = None
        self._metrics: HTTPMetrics | None = None
        self.tokens = TokenStore(config.state_dir / FILE, services.in_thread, services.wall)
        self.front: WebFrontend | None = None
        self._tls: ServerTLS | None = None
        self._doors = {key: _Door() for key in ("web.listen", "web.tls-listen", "web.metrics-listen")}
        self.listeners = {key: Listeners(reactor, door, spare, _no_delay) for key, door in self._doors.items()}
        counters.gauge("web connections", lambda: len(self.front.channels) if self.front is not None else 0)
        counters.count(lambda: {"web connections refused": self.front.refused if self.front is not None else 0})

    def use_sockets(self, keys: Collection[str]) -> None:
        """Take note of the settings in whose place systemd has opened sockets."""
        self._sockets = {key for key in keys if key in self.listeners}

    def exposed(self, config: Config) -> Iterator[str]:
        """The problems of sockets in clear that others than this machine reach, of which no setting tells."""
        for address in self.listeners["web.listen"].addresses if not config.web.trusted_proxies else ():
            numeric = numeric_address(address.rpartition(":")[0].strip("[]"))
            if numeric is not None and not numeric.is_loopback:
                yield f"vmproxy cannot serve browsers in clear on {address}: see web.listen"

    def is_on(self, config: Config) -> bool:
        """Whether browsers or scripts are served, on sockets of the settings or of systemd."""
        return config.web.on or bool(self._sockets)

    def check(self, config: Config) -> Checked | None:
        if not self.is_on(config):
            return None
        if "web.tls-listen" in self._sockets and not config.web.certificates:
            raise ConfigError(["web.certificates: the socket of systemd needs one; `vmproxy make-cert' makes one"])
        try:
            _import()
            settings = replace(TLSSettings(), pairs=config.web.certificates, client_ca=config.web.client_ca)
            credentials = load(settings)
        except ImportError as error:
            raise ConfigError([f"web.listen: it cannot be turned on before a restart ({error})"]) from None
        except CertificateError as error:
            problems = [problem.replace("vm.", "web.", 1) for problem in error.by_setting]
            raise ConfigError(problems) from None
        for one in credentials.certificates if credentials is not None and config.web.client_ca is not None else ():
            one.context.set_verify(SSL.VERIFY_PEER)  # who has no certificate may log in otherwise
        return Checked(credentials, _provider(config.web.oidc))

    def reconfigure(self, config: Config, checked: Checked | None) -> list[str]:
        if checked is None:
            self._certificates = self.credentials = None
            if self.front is not None:
                self.front.turn_off()
            return []
        settings = replace(config.web, connections=min(config.web.connections, self._budget.web))
        if settings.connections < config.web.connections:
            _log.warn(
                "web.connections is {wanted}, but of {limit} descriptors (LimitNOFILE) only {web} are for them",
                wanted=config.web.connections,
                limit=self._budget.limit,
                web=settings.connections,
            )
        front, tls = self._made(settings)
        credentials = checked.credentials
        names = [name for one in credentials.certificates for name in one.names] if credentials is not None else []
        self._certificates = credentials
        self.credentials = credentials
        front.reconfigure(settings, names)
        front.web.single_sign_on.use(checked.provider)
        tls.use(credentials.context if credentials is not None else None)
        return []

    def _made(self, settings: WebSettings) -> tuple[WebFrontend, ServerTLS]:
        if self.front is None or self._tls is None:
            from vmproxy.web.assets import Assets
            from vmproxy.web.call import WebServices
            from vmproxy.web.frontend import WebFactory, WebFrontend
            from vmproxy.web.http_metrics import HTTPMetrics
            from vmproxy.web.metrics import Exposition
            from vmproxy.web.sessions import Sessions
            from vmproxy.web.single_sign_on import SingleSignOn
            from vmproxy.web.tls import ServerTLS

            assets = Assets.load()
            if assets.missing:
                _log.warn(
                    "console pages have no terminal: {file} is missing, make web brings it", file=assets.missing[0]
                )
            sessions = Sessions(self._services, settings, self._accounts.password_mark)
            sign_on = SingleSignOn(self._threads, self._services.wall)
            shared = (self._services, self._accounts, self.tokens, sessions, sign_on, settings)
            web = WebServices(*shared, not_ready=self._not_ready, status=self._status, assets=assets)
            self.front = WebFrontend(web)
            self._metrics = HTTPMetrics(self.front)
            web.scrape_with(Exposition(self._families, self._services.turns, self._services.in_thread).text)
            self._tls = ServerTLS()
            self._doors["web.listen"].open(WebFactory(self.front))
            secure = WebFactory(self.front, secure=True)
            self._doors["web.tls-listen"].open(self._tls.over(secure, self._reactor))
            self._doors["web.metrics-listen"].open(WebFactory(self.front, for_metrics=True))
        return self.front, self._tls

    def _families(self, consoles: bool) -> Families:
        from vmproxy.web.console_metrics import console_families

        yield from self._figures()
        if consoles and self.front is not None:
            yield from console_families(self._services.registry, self.front.web.settings.metrics_consoles)

    def metrics(self) -> Families:
        if self._metrics is not None:
            yield from self._metrics.families()
        yield expiry("web", self._certificates)

    def load(self) -> None:
        if self.front is not None:
            self.tokens.load()

    def addresses(self) -> Mapping[str, list[str]]:
        """Where it listens, by scheme."""
        return {
            "http": self.listeners["web.listen"].addresses,
            "https": self.listeners["web.tls-listen"].addresses,
        }

    def stopService(self) -> Deferred[None] | None:
        """Fires when all clients are gone."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop(self.front)) if self.front is not None else None

    async def _stop(self, front: WebFrontend) -> None:
        await front.stop()
        self._threads.stop()


def _import() -> None:
    """Import everything now: behind the start the account may not be able to read its own code."""
    import vmproxy.web.console_metrics
    import vmproxy.web.frontend
    import vmproxy.web.http_metrics
    import vmproxy.web.metrics
    import vmproxy.web.tls  # noqa: F401


def _provider(settings: OIDCSettings) -> Provider | None:
    from vmproxy.web.oidc import usable

    return usable(settings)


def _no_delay(listening: socket.socket) -> None:
    if listening.family in (socket.AF_INET, socket.AF_INET6):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _Door(Factory[Any]):
    """Stands for a factory that there may be later."""

    noisy = False

    def __init__(self) -> None:
        self._factory: IProtocolFactory | None = None

    def open(self, factory: IProtocolFactory) -> None:
        """Let connections through."""
        self._factory = factory
        factory.doStart()

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:
        return self._factory.buildProtocol(cast(IAddress, addr)) if self._factory is not None else None
