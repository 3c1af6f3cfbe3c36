"""The account that the daemon runs under: what it should not be, and what it has to be able to read.

Started as root, ``twistd --uid --gid`` opens the ports and then becomes somebody else for good. Everything but the
ports, the configuration at the start included (which root reads), has to be possible for that account: the log and
state folders are its own, and the host keys, the operators' file and the lists of keys must be readable for it. The
configuration has to be so as well, or it cannot be read again on SIGHUP; that shows only then, so it is looked at here.
"""

from __future__ import annotations

import os
from pathlib import Path


def running_as() -> str:
    """What is wrong with the account; empty if nothing is. To be called when privileges have been dropped."""
    if os.geteuid() == 0:
        return "vmproxy runs as root, which it does not need: give twistd --uid and --gid, or run it as another account"
    if os.getuid() == 0:
        return "vmproxy has put root's rights aside only (twistd --euid), and can take them again: leave --euid out"
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
