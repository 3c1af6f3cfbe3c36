"""Alerts: what somebody should know of what consoles print, and of vmproxy itself."""
