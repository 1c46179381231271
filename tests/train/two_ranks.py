"""Two processes of a run, for what needs collectives; each gives back what `work` returned, through a file."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ports import free_port

from radload.train.distributed import Ranks, join, leave

PATIENCE = 300  # seconds


def run_on_two(work: Callable[[Ranks], Any], folder: Path) -> list[Any]:
    """What `work`, importable by name, returns on each of two ranks (JSON-able)."""
    context = multiprocessing.get_context("spawn")
    port = free_port()
    processes = [context.Process(target=_rank, args=(work, rank, port, folder)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
        if process.exitcode is None:
            process.kill()
        assert process.exitcode == 0
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def _rank(work: Callable[[Ranks], Any], rank: int, port: int, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    ranks = join("cpu")
    try:
        (folder / f"{rank}.json").write_text(json.dumps(work(ranks)))
    finally:
        leave()
