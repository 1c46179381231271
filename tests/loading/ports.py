"""Ports for servers that a test starts."""

from __future__ import annotations

import random
import socket

# Below those that Linux gives to connections and to who binds port 0: nothing takes it between this answer and the server's start.
_FIRST, _LAST = 12_000, 32_000


def free_port() -> int:
    """A port on which nobody listens, another each time and in each process."""
    choice = random.SystemRandom()
    while True:
        port = choice.randrange(_FIRST, _LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
