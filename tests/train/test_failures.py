"""Two processes that meet damaged shards, or lose a loader, end together: code 2 on both, one sentence, whole checkpoints."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from script import FLAGS, PATIENCE, SCRIPT, finish, start
from train_data import TRAIN, flip_bytes

from radload.train import checkpoint
from radload.train.log import read_log


@pytest.fixture
def damaged(labelled: Path, tmp_path: Path) -> Path:
    """A third of the training samples have a wrong checksum."""
    root = tmp_path / "damaged"
    shutil.copytree(labelled, root)
    flip_bytes(root, range(0, TRAIN, 3))
    return root


def test_too_many_damaged_samples_end_both_ranks_at_one_step(damaged: Path, labelled: Path, tmp_path: Path) -> None:
    """Neither rank alone has seen more than the limit: they counted together."""
    out = tmp_path / "run"
    codes, (first, second) = finish(start(damaged, out, "--epochs=2", "--seed=3", "--max-failures=8"))
    assert codes == [2, 2] and second == "", "the summary is said once"
    counts = re.search(r"(\d+) samples of epoch 0 cannot be read \(rank 0: (\d+), rank 1: (\d+)\).*allows \(8\)", first)
    assert counts is not None, first
    total, *of_ranks = map(int, counts.groups())
    assert total == sum(of_ranks) > 8 and all(0 < count <= 8 for count in of_ranks)
    assert of_ranks == [4, 6], "as the order of seed 3 has it at the sixth step"
    assert f"train/000000.tar: {total} wrong checksum" in first
    newest, notes = checkpoint.newest(out / "checkpoints")
    assert newest is not None and notes == []
    step = checkpoint.step_of(newest)
    assert [line["step"] for line in read_log(out / "log.jsonl")][-1] == step, "the last whole step has a checkpoint"
    ranks = start(
        labelled, out, "--epochs=2", "--seed=3", "--max-failures=8"
    )  # with the shards restored it goes on from there
    said = ranks[0].communicate(timeout=PATIENCE)[0]
    assert finish(ranks[1:])[0] == [0] and ranks[0].returncode == 0
    assert f"going on after step {step}" in said and (out / "DONE").is_file()


def test_torchrun_ends_too_and_says_it_once(damaged: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT)]
    ended = subprocess.run(
        [*command, "--shards", str(damaged), "--out", str(tmp_path / "run"), *FLAGS, "--max-failures=0.1"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode != 0 and ended.stderr.count("more than max_failures allows (5)") == 1, ended.stderr
    assert "exitcode  : 2" in ended.stderr, "torchrun's own table"


def test_damage_below_the_limit_ends_nothing_and_validation_counts_it_over_ranks(damaged: Path, tmp_path: Path) -> None:
    flip_bytes(damaged, [TRAIN + 2, TRAIN + 3, TRAIN + 10])
    codes, errors = finish(start(damaged, tmp_path / "run", "--epochs=1", "--max-failures=0.9"))
    assert (codes, errors) == ([0, 0], ["", ""])
    (val,) = (line for line in read_log(tmp_path / "run/log.jsonl") if line["kind"] == "val")
    assert val["unreadable"] == 3 and val["samples"] == 11 - 2 - 3, "eleven, two of them unlabelled"


def test_a_lost_loader_of_one_rank_ends_both(labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    ranks = start(labelled, out, "--epochs=500", "--keep=1")
    log, limit = out / "log.jsonl", time.monotonic() + PATIENCE
    while not (log.is_file() and len(read_log(log)) > 2):
        assert time.monotonic() < limit and all(rank.poll() is None for rank in ranks), finish(ranks)
        time.sleep(0.05)
    for task in Path(f"/proc/{ranks[1].pid}/task").glob("*/children"):
        for pid in task.read_text().split():
            os.kill(int(pid), signal.SIGKILL)
    killed = time.monotonic()
    codes, (first, second) = finish(ranks)
    assert codes == [2, 2] and second == ""
    assert re.search(r"rank 1 of 2 cannot go on, so all ranks end: the loader process \(pid \d+\).*SIGKILL", first), (
        first
    )
    assert time.monotonic() - killed < 120, "one rank tells the other, which does not wait for a time-out"
    assert checkpoint.newest(out / "checkpoints")[0] is not None
