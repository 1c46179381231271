"""The server that worker processes are forked from, started early: it imports what they need while the program imports its own."""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from typing import Final

PRELOAD: Final = ("radload.pack.catalog_rows", "radload.pack.job")


def start_server() -> None:
    """Start the fork server, which goes with this process, and do not wait for it."""
    multiprocessing.set_forkserver_preload(list(PRELOAD))
    forkserver.ensure_running()
