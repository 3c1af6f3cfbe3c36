"""Ports for programs that cannot be told to take any."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, and that the system gives to nobody who asks it for any meanwhile."""
    given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(100 if given > 2000 else 0):
        port = random.randrange(1024, given)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    with socket.create_server(("127.0.0.1", 0)) as taken:  # that may be any of them here
        return int(taken.getsockname()[1])
