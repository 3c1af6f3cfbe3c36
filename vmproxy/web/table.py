"""The table of all routes."""

from __future__ import annotations

from vmproxy.web.api import account, health, pages, websockets
from vmproxy.web.route import Route

ROUTES: tuple[Route, ...] = (
    *account.ROUTES,
    *health.ROUTES,
    *pages.ROUTES,
    *websockets.ROUTES,
)
"""All of them; each subject has its own in a module."""
