"""How a pack that somebody stops says so."""

from __future__ import annotations


class Stopped(KeyboardInterrupt):
    """Ctrl-C while packing; the message says what is left and how to go on."""
