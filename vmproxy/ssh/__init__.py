"""The operators' side: consoles over SSH."""
