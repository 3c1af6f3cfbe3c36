"""What another system knows of a console."""

from __future__ import annotations

from dataclasses import dataclass

from vmproxy.access.labels import Pair


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels that another system gives.

    :ivar given: those that rules may use; ``told``: the others.
    """

    given: tuple[Pair, ...] = ()
    told: tuple[Pair, ...] = ()
