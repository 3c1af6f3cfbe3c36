"""The web front: HTTP API, pages, metrics."""
