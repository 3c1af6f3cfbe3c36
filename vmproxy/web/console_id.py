"""How a console is called in the API."""

from __future__ import annotations

from vmproxy.console.console import Console


def console_id(console: Console) -> str:
    """``UUID``, or ``UUID.PORT`` for another port than the first."""
    return str(console.uuid) if console.port == "1" else f"{console.uuid}.{console.port}"
