"""The errors that vmproxy raises on purpose.

Every one is a :class:`VMProxyError`, and its text is written for the person who has to act on it: it is
shown to operators, printed by ``vmproxy check``, or logged, as it stands.
"""

from __future__ import annotations


class VMProxyError(Exception):
    """The root of everything that vmproxy raises on purpose."""


class WireError(VMProxyError):
    """A peer sent bytes that do not mean what they must mean; the text says which and why."""


class StartError(VMProxyError):
    """The concentrator cannot start; the text says why."""


class ConfigError(VMProxyError):
    """A configuration that cannot be used.

    :ivar problems: one line each, naming the key and what would be right.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
