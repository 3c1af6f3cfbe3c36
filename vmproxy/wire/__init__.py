"""Bytes to meaning and back: Telnet framing, option 232, COM-PORT. No I/O, no clock."""
