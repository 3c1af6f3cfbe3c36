"""Checks of the account that the daemon runs under.

Started as root, ``twistd --uid --gid`` opens the ports and then becomes another account for good. That account owns the
folders of logs and state, and must be able to read the host keys, the operators file, the files of keys, the
configuration (for SIGHUP), and the code of the process.

Invariant: nothing is imported once privileges have been dropped.
"""

from __future__ import annotations

import getpass
import importlib
import os
import sys
from importlib.machinery import ExtensionFileLoader, SourceFileLoader, SourcelessFileLoader
from pathlib import Path

# What the standard library imports in the middle of its work: for host names, and for the text of a failure.
_LATE = ("ast", "encodings.idna", "linecache", "tokenize", "traceback", "unicodedata")


def import_everything() -> None:
    """Import what would be imported after privileges have been dropped."""
    for name in _LATE:
        importlib.import_module(name)


def running_as() -> str:
    """The problem with the account once privileges have been dropped; empty if there is none."""
    if os.geteuid() == 0:
        return (
            "vmproxy runs as root, which it does not need: run it as another account, or by twistd with --uid and --gid"
        )
    if os.getuid() == 0:
        return "vmproxy has only set root's rights aside (twistd --euid), and can take them again: leave --euid out"
    return ""


def unreadable_code() -> str:
    """Why the account cannot read the code of the process; empty if it can."""
    loaders = (SourceFileLoader, SourcelessFileLoader, ExtensionFileLoader)
    for module in list(sys.modules.values()):
        spec = getattr(module, "__spec__", None)
        path = spec.origin if spec is not None and isinstance(spec.loader, loaders) else None
        if path is not None and not os.access(path, os.R_OK):
            return (
                f"the account {os.getuid()} cannot read its own code, such as {path}: let it read the folders above,"
                " or install vmproxy where it can"
            )
    return ""


def readable_again(config: Path | None) -> str:
    """Why the configuration cannot be read again on SIGHUP; empty if it can.

    :param config: the configuration file, if there is one.
    """
    if config is None or os.access(config, os.R_OK):
        return ""
    return (
        f"the configuration was read before root's rights were dropped; the account {os.getuid()} cannot read"
        f" {config}, so SIGHUP will fail: let its group read it"
    )


def account_name() -> str:
    """The name of the account; ``uid-1234`` where the machine has none for it, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid-{os.getuid()}"
