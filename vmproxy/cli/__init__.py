"""The commands of ``vmproxy``."""
