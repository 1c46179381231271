"""Several ranks on several nodes, processes that know torchrun's environment and nothing else: together they give what one gives.

Nodes are simulated by LOCAL_RANK, LOCAL_WORLD_SIZE and a cache folder of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from make import ct_series, write_dataset
from ports import free_port

GLOBAL_BATCH = 24
SKIP = 2  # steps of the second epoch before another loader goes on
SCRIPT = Path(__file__).with_name("ranks_make.py")
ROOT = Path(__file__).parents[3]

Ranks = list[dict[str, Any]]


def run(root: Path, folder: Path, nodes: int, local: int, cached: bool) -> Ranks:
    """What each of nodes * local ranks got."""
    folder.mkdir()
    world = nodes * local
    port = free_port()
    processes = []
    for rank in range(world):
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "RANK": str(rank),
            "WORLD_SIZE": str(world),
            "LOCAL_RANK": str(rank % local),
            "LOCAL_WORLD_SIZE": str(local),
            "OMP_NUM_THREADS": "1",
        }
        cache = str(folder / f"node{rank // local}") if cached else ""
        command = [sys.executable, str(SCRIPT), str(root), str(folder / f"{rank}.json")]
        command += [str(GLOBAL_BATCH // world), cache, str(SKIP)]
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    try:
        for process in processes:
            _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said[-3000:]
    finally:
        for process in processes:
            process.kill()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]


def together(ranks: Ranks, epoch: int) -> list[list[Any]]:
    """The global batch of each step, sorted."""
    steps = {len(rank["train"][epoch]) for rank in ranks}
    assert len(steps) == 1, "ranks have unequal numbers of steps"
    return [sorted(chain.from_iterable(rank["train"][epoch][step] for rank in ranks)) for step in range(steps.pop())]


def evaluated(ranks: Ranks) -> list[Any]:
    """All samples of an evaluation, sorted."""
    assert len({len(rank["evaluation"]) for rank in ranks}) == 1, "ranks have unequal numbers of steps"
    return sorted(item for rank in ranks for batch in rank["evaluation"] for item in batch)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """101 slices: four global batches and five samples that fill none."""
    series = [ct_series(i, 10) for i in range(9)] + [ct_series(9, 11)]
    return write_dataset(tmp_path_factory.mktemp("ranks") / "ct", series)


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    """One rank without a cache."""
    return run(data, tmp_path_factory.mktemp("alone") / "run", 1, 1, cached=False)


def test_one_rank_is_a_run_worth_comparing_with(alone: Ranks) -> None:
    first, second = (together(alone, epoch) for epoch in (0, 1))
    assert [len(batch) for batch in first] == [len(batch) for batch in second] == [GLOBAL_BATCH] * 4
    assert len({row for batch in first for row, _ in batch}) == 96 and first != second
    assert [row for row, _ in evaluated(alone)] == list(range(101))


LONG = pytest.mark.soak  # eight ranks on two cores


@pytest.mark.parametrize(
    ("nodes", "local", "cached"),
    [(1, 2, True), (2, 2, True), pytest.param(2, 2, False, marks=LONG), pytest.param(4, 2, True, marks=LONG)],
)
def test_ranks_give_what_one_gives(
    data: Path, alone: Ranks, tmp_path: Path, nodes: int, local: int, cached: bool
) -> None:
    ranks = run(data, tmp_path / "run", nodes, local, cached)
    assert [rank["places"]["LOCAL_RANK"] for rank in ranks] == [str(n % local) for n in range(nodes * local)]
    for epoch in (0, 1):
        assert together(ranks, epoch) == together(alone, epoch)
    assert evaluated(ranks) == evaluated(alone), "each sample once, whoever has it"
    if cached:
        folders = [tmp_path / "run" / f"node{node}" for node in range(nodes)]
        kept = [sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) for folder in folders]
        assert min(kept) > 0, "a node without a cache"
