"""The account that the process runs under."""

from __future__ import annotations

import getpass
import os


def account_name() -> str:
    """The name of the account; ``uid-1234`` where the machine has none for it, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid-{os.getuid()}"
