"""Everything on the disk: the consoles' logs, their events, their reading and keeping."""
