"""The alerts of a console that nobody has acknowledged, as numbers."""

from __future__ import annotations

from typing import NamedTuple


class AlertMarks(NamedTuple):
    """How many there are of each severity."""

    critical: int = 0
    warning: int = 0
    info: int = 0

    @property
    def total(self) -> int:
        return sum(self)

    def fields(self) -> dict[str, int]:
        """The numbers by severity."""
        return {"critical": self.critical, "warning": self.warning, "info": self.info}

    def __str__(self) -> str:
        """``2 critical, 1 warning``; empty if there are none."""
        return ", ".join(f"{number} {name}" for name, number in self.fields().items() if number)


NO_ALERTS = AlertMarks()
