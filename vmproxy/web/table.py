"""The table of all routes."""

from __future__ import annotations

from vmproxy.web.api import (
    account,
    admin,
    alerts,
    console,
    console_log,
    consoles,
    doing,
    events,
    health,
    log,
    metrics,
    pages,
    recording,
    search,
    segments,
    sessions,
    sign_on,
    status,
    timeline,
    tokens,
    websockets,
)
from vmproxy.web.openapi import document_route
from vmproxy.web.route import Route

_OTHERS: tuple[Route, ...] = (
    *account.ROUTES,
    *admin.ROUTES,
    *alerts.ROUTES,
    *console.ROUTES,
    *console_log.ROUTES,
    *consoles.ROUTES,
    *doing.ROUTES,
    *events.ROUTES,
    *health.ROUTES,
    *log.ROUTES,
    *metrics.ROUTES,
    *pages.ROUTES,
    *recording.ROUTES,
    *search.ROUTES,
    *segments.ROUTES,
    *sessions.ROUTES,
    *sign_on.ROUTES,
    *status.ROUTES,
    *timeline.ROUTES,
    *tokens.ROUTES,
    *websockets.ROUTES,
)

ROUTES = (*_OTHERS, document_route(_OTHERS))
"""All of them; each subject has its own in a module."""
