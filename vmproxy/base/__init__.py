"""What knows nothing of consoles: time, addresses, text, limits of what is logged."""
