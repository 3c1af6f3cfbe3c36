"""The account that the daemon runs under: what it should not be, and what it has to be able to read.

Started as root, ``twistd --uid --gid`` opens the ports and then becomes another account for good. Everything but the
ports and the first reading of the configuration has to be possible for that account: the log and state folders are its
own, and it can read the host keys, the operators' file and the lists of keys. It has to read the configuration as well
for SIGHUP, and its own code: all of it is imported before, but what happens in an account that cannot read its own code
has never been tried.

Invariant: nothing is imported once privileges have been dropped.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import ExtensionFileLoader, SourceFileLoader, SourcelessFileLoader
from pathlib import Path

# What the standard library imports in the middle of its work: for host names, and for the text of a failure.
_LATE = ("ast", "encodings.idna", "linecache", "tokenize", "traceback", "unicodedata")


def import_everything() -> None:
    """Import what would be imported later; to be called before privileges are dropped."""
    for name in _LATE:
        importlib.import_module(name)


def running_as() -> str:
    """What is wrong with the account; empty if nothing is. To be called when privileges have been dropped."""
    if os.geteuid() == 0:
        return "vmproxy runs as root, which it does not need: give twistd --uid and --gid, or run it as another account"
    if os.getuid() == 0:
        return "vmproxy has put root's rights aside only (twistd --euid), and can take them again: leave --euid out"
    return ""


def unreadable_code() -> str:
    """Why the account cannot read what the process is made of; empty if it can."""
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
