"""Hooks: what vmproxy tells to others by itself, by running a program or calling a webhook."""
