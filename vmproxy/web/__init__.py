"""The web front: HTTP API, websockets, pages, metrics."""
