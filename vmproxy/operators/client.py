"""Client: who asks for something, as all fronts have one: a session at a terminal, a request of the HTTP API."""

from __future__ import annotations

from typing import Protocol

from vmproxy.operators.operator import Operator
from vmproxy.operators.services import Services


class Client(Protocol):
    """An operator's client, as far as reading needs to know it."""

    @property
    def operator(self) -> Operator:
        """The operator."""

    @property
    def services(self) -> Services:
        """What all clients share."""
