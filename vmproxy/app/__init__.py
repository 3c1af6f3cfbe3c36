"""The process: service, start, listeners, systemd, privileges."""
