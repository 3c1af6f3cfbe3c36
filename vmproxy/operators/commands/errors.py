"""Errors of commands: a text for the operator, and an exit status for scripts."""

from __future__ import annotations

from vmproxy.errors import VMProxyError
from vmproxy.operators import exit_status


class CommandError(VMProxyError):
    """Something that cannot be done; the text says why.

    :ivar status: the exit status.
    """

    def __init__(self, text: str, status: int = exit_status.FAILED) -> None:
        super().__init__(text)
        self.status = status


class HelpWanted(VMProxyError):
    """A command with ``-h``: its help is wanted, and nothing else."""


class UsageError(CommandError):
    """A command that cannot be understood; the text says what would be right."""

    def __init__(self, text: str) -> None:
        super().__init__(text, exit_status.USAGE)
