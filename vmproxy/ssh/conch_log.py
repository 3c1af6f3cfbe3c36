"""A logger for conch's classes, which log each packet's fate, and what clients say as if it were a format.

What matters about a connection is logged where it is decided. Only failures, that is bugs, still come through.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger, LogLevel


class QuietLogger(Logger):
    """Passes failures on and nothing else."""

    def emit(self, level: Any, format: str | None = None, **kwargs: Any) -> None:  # noqa: A002 - Twisted's name
        """Log an event if it is critical."""
        if level >= LogLevel.critical:
            super().emit(level, format, **kwargs)
