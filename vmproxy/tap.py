"""The two ways to run the service, by ``twistd vmproxy`` and by ``vmproxy run``; only here the reactor is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from twisted.internet.posixbase import PosixReactorBase
from twisted.python import usage

import vmproxy
from vmproxy.app.output import Output
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
    path = Path(options["config"]).absolute() if options["config"] is not None else None
    twistd = options.parent
    try:
        service, _ = _made(path, options.overrides(), twistd is None or bool(twistd.get("nodaemon")))
    except ConfigError as error:
        raise SystemExit(str(error)) from None
    if twistd is not None and twistd.get("umask") is None:
        # For twistd's own log, which is opened next, and for the rest of the process, for which twistd sets another.
        os.umask(UMASK)
        twistd["umask"] = UMASK
    return service


def run_in_foreground(path: Path | None, overrides: Mapping[str, str | list[str]]) -> None:
    """Run the concentrator until a signal ends it.

    :param path: the configuration file, if there is one.
    :param overrides: what the command line says instead, by option name.
    :raises ConfigError: with every problem, if the configuration cannot be used.
    :raises StartError: with one line, if the concentrator cannot start.
    """
    os.umask(UMASK)
    output = Output(sys.stdout, os.environ)
    service, reactor = _made(path, overrides, False, output.set_level)
    output.begin()
    problems: list[Exception] = []

    def start() -> None:
        try:
            service.privilegedStartService()
            service.startService()
        except Exception as error:  # to be raised where a caller is
            problems.append(error)
            reactor.stop()
        else:
            reactor.addSystemEventTrigger("before", "shutdown", service.stopService)

    # From here on a signal, also one in the middle of the start, stops the service in order.
    reactor.callWhenRunning(start)
    reactor.run()
    for problem in problems:
        raise problem


def _made(
    path: Path | None,
    overrides: Mapping[str, str | list[str]],
    foreground: bool,
    set_level: Callable[[str], None] | None = None,
) -> tuple[VMProxyService, PosixReactorBase]:
    from twisted.internet import reactor

    import_everything()
    config = load(path, overrides)
    ours = cast(PosixReactorBase, reactor)
    make_steady(ours)
    quicken(ours)
    return VMProxyService(config, ours, foreground, lambda: load(path, overrides), path, set_level), ours
