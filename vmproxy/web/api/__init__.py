"""The HTTP API: one module per subject, each with its table of routes."""
