"""The operators' commands, a module each."""
