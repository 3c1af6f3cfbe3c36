"""The options of ``twistd vmproxy``, and its service: the only module that imports the reactor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from twisted.internet.posixbase import PosixReactorBase
from twisted.python import usage

import vmproxy
from vmproxy.app.privileges import import_everything
from vmproxy.app.service import VMProxyService
from vmproxy.base.clock import make_steady
from vmproxy.base.compat import quicken
from vmproxy.config.settings import load
from vmproxy.errors import ConfigError

UMASK = 0o027
"""Logs and consoles are for the account and its group, whatever the umask of the shell that starts the daemon."""


class Options(usage.Options):
    """The command line of ``twistd vmproxy``."""

    synopsis = "[options]"
    longdesc = (
        "A virtual serial port concentrator for VMware virtual machines. Without a configuration file:"
        " VMs on TCP 13370, SSH on 2222, state and logs under ./var."
    )
    optParameters = [
        ["config", "c", None, "the configuration file (TOML)"],
        ["state-dir", None, None, "where keys and the list of consoles are kept"],
        ["log-dir", None, None, "where the VMs' logs are written"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.lists: dict[str, str | list[str]] = {}

    def opt_vm_listen(self, endpoint: str) -> None:
        """where VMs connect, a Twisted endpoint such as tcp:13370; may be given several times"""
        self._add("vm-listen", endpoint)

    def opt_ssh_listen(self, endpoint: str) -> None:
        """where operators connect, such as tcp:2222; may be given several times"""
        self._add("ssh-listen", endpoint)

    def opt_service_uri(self, word: str) -> None:
        """a service URI to accept, * for any; may be given several times"""
        self._add("service-uri", word)

    def opt_version(self) -> None:
        """print the version and exit"""
        print(f"vmproxy {vmproxy.__version__}")
        raise SystemExit(0)

    def _add(self, name: str, value: str) -> None:
        items = self.lists.setdefault(name, [])
        assert isinstance(items, list)
        items.append(value)

    def overrides(self) -> dict[str, str | list[str]]:
        """The settings that the command line overrides, by option."""
        single = {name: self[name] for name in ("state-dir", "log-dir") if self[name] is not None}
        return {**self.lists, **single}


def makeService(options: Options) -> VMProxyService:
    """The service for ``twistd``.

    :raises SystemExit: with every problem, if the configuration cannot be used.
    """
    from twisted.internet import reactor

    import_everything()
    path = Path(options["config"]).absolute() if options["config"] is not None else None
    overrides = options.overrides()
    try:
        config = load(path, overrides)
    except ConfigError as error:
        raise SystemExit(str(error)) from None
    make_steady(cast(PosixReactorBase, reactor))
    quicken(reactor)
    twistd = options.parent
    foreground = twistd is None or bool(twistd.get("nodaemon"))
    if twistd is not None and twistd.get("umask") is None:
        # For twistd's own log, which is opened next, and for the rest of the process, for which twistd sets another.
        os.umask(UMASK)
        twistd["umask"] = UMASK
    return VMProxyService(config, cast(PosixReactorBase, reactor), foreground, lambda: load(path, overrides), path)
