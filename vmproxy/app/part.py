"""A part of the concentrator that has a life of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.application.service import Service

from vmproxy.app.listeners import Listeners
from vmproxy.config.settings import Config


class Part(Service):
    """What the service starts, reconfigures and stops.

    The calls come in this order: ``check`` and ``reconfigure``, at the start as at every reload; the listeners are
    opened; ``load``, ``startService``; in the end the listeners are closed, and ``stopService`` is called.

    :ivar listeners: by the setting that says where they listen.
    """

    listeners: Mapping[str, Listeners] = {}

    def check(self, config: Config) -> Any:
        """Read what a configuration names, on any thread; nothing is changed yet.

        :returns: what :meth:`reconfigure` is to be given.
        :raises ConfigError: if it cannot be used.
        """

    def reconfigure(self, config: Config, checked: Any) -> list[str]:
        """Take a configuration.

        :returns: what else than settings has changed, for people to read.
        """
        return []

    def load(self) -> None:
        """Read what is on the disk; privileges have been dropped.

        :raises VMProxyError, OSError: if the concentrator cannot start.
        """
