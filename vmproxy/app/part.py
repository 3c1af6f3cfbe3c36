"""A part of the concentrator that has a life of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.application.service import Service

from vmproxy.app.listeners import Listeners
from vmproxy.base.metrics import Families
from vmproxy.config.settings import Config


class Part(Service):
    """One of the services that the concentrator is made of.

    Order of the calls: ``check`` and ``reconfigure``, at the start and at every reload; the listeners are opened;
    ``load`` and ``startService``. At the end the listeners are closed, then ``stopService`` is called.

    :ivar listeners: the listeners of the part, by the setting with their endpoints.
    """

    listeners: Mapping[str, Listeners] = {}

    def check(self, config: Config) -> Any:
        """Read the files that a configuration names, on any thread, and change nothing.

        :returns: an argument for :meth:`reconfigure`.
        :raises ConfigError: if they cannot be used.
        """

    def reconfigure(self, config: Config, checked: Any) -> list[str]:
        """Take a configuration.

        :returns: the changes beyond settings, for people to read.
        """
        return []

    def metrics(self) -> Families:
        """Figures of the part for those who watch over the process: all that there will ever be, from the start."""
        return iter(())

    def load(self) -> None:
        """Read the part's state from the disk; privileges have been dropped.

        :raises VMProxyError, OSError: if the concentrator cannot start.
        """
