"""The status of the daemon as data: what SIGUSR2 reports, the last reload, listeners and certificates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from twisted.internet.interfaces import IReactorTime

import vmproxy
from vmproxy.base.clock import wall_of
from vmproxy.base.counters import Counters
from vmproxy.log.events import timestamp
from vmproxy.vm.certificates import Credentials


class Status:
    """Collects what is known of the process."""

    def __init__(
        self,
        clock: IReactorTime,
        counters: Counters,
        listeners: Callable[[], Mapping[str, Sequence[str]]],
        certificates: Callable[[], Mapping[str, Credentials | None]],
    ) -> None:
        """
        :param listeners: gives the addresses, by setting.
        :param certificates: gives those in force, by use.
        """
        self._wall = wall_of(clock)
        self._clock = clock
        self._began, self._started = clock.seconds(), self._wall()
        self._counters = counters
        self._listeners = listeners
        self._certificates = certificates
        self._reload: dict[str, object] | None = None

    def reloaded(
        self, ok: bool, changed: Iterable[str] = (), waiting: Iterable[str] = (), problems: Iterable[str] = ()
    ) -> None:
        """Take note of a reload."""
        told = {"changed": list(changed), "waiting": list(waiting), "problems": list(problems)}
        self._reload = {"at": timestamp(self._wall()), "ok": ok, **told}

    def fields(self) -> dict[str, object]:
        """All of it, for JSON."""
        return {
            "version": vmproxy.__version__,
            "started": timestamp(self._started),
            "uptime": int(self._clock.seconds() - self._began),
            "reload": self._reload,
            "gauges": self._counters.gauges,
            "counters": self._counters.counts,
            "listeners": {key: list(addresses) for key, addresses in self._listeners().items()},
            "certificates": [
                {
                    "use": use,
                    "names": list(one.names),
                    "thumbprint": one.thumbprint,
                    "expires": timestamp(one.valid_until.timestamp()),
                }
                for use, credentials in self._certificates().items()
                for one in (credentials.certificates if credentials is not None else ())
            ],
        }
