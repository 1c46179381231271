"""The script on two ranks, without a supervisor, as a test needs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ports import free_port

SCRIPT = Path(__file__).parents[2] / "train" / "pretrain.py"
FLAGS = [
    "--arch=test_resnet", "--size=32", "--batch-size=4", "--device=cpu", "--threads=1", "--amp=off", "--log-every=1",
    "--checkpoint-every=1",
]  # fmt: skip
PATIENCE = 300  # seconds


def start(shards: Path, out: Path, *flags: str) -> list[subprocess.Popen[str]]:
    """Two ranks, without a supervisor that would end one for the other."""
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), "--shards", str(shards), "--out", str(out), *FLAGS, *flags],
            env=os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]


def finish(ranks: list[subprocess.Popen[str]]) -> tuple[list[int], list[str]]:
    """Exit codes, and what each rank said as an error."""
    try:
        said = [rank.communicate(timeout=PATIENCE)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    errors = [[line for line in text.splitlines() if line.startswith("error")] for text in said]
    assert "Traceback" not in "".join(said), said
    assert all(rank.returncode >= 0 for rank in ranks), ([rank.returncode for rank in ranks], said)
    return [rank.returncode for rank in ranks], ["\n".join(lines) for lines in errors]
