"""The commands of `vmproxy'."""
