"""Whatever dies, and on however many processes a run goes on: each step gets the samples and augmentations it would have got."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from recording import iterate_recorded, recorded

from radload.train.feed import Feed
from radload.train.log import read_log
from radload.train.pretrain import main

SCRIPT = Path(__file__).with_name("recording.py")
TOTAL, BATCH, STEPS_PER_EPOCH = 44, 4, 11
FLAGS = [
    "--arch=test_resnet", "--sizes=24:0.4,32", f"--batch-size={BATCH}", "--epochs=4", "--device=cpu", "--threads=1", "--amp=off",
    "--log-every=1", "--checkpoint-every=3", "--rotate=10",
]  # fmt: skip
PATIENCE = 300  # seconds


def flags(shards: Path, folder: Path) -> list[str]:
    """Of the run in folder/run."""
    return [f"--shards={shards}", f"--out={folder / 'run'}", *FLAGS]


def launch(shards: Path, folder: Path) -> subprocess.Popen[str]:
    """The run on two processes under torchrun, which starts them again when one dies; it records into folder/record."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=3"]
    settings = {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "RECORD": str(folder / "record")}
    return subprocess.Popen(
        [sys.executable, *torchrun, str(SCRIPT), *flags(shards, folder)],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_here(shards: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run on this process alone."""
    (folder / "record").mkdir(parents=True, exist_ok=True)
    with monkeypatch.context() as patch:
        patch.setenv("RECORD", str(folder / "record"))
        patch.setattr(Feed, "__iter__", iterate_recorded)
        assert main(flags(shards, folder)) == 0
    assert (folder / "run/DONE").is_file()


def wait_for_step(run: subprocess.Popen[str], folder: Path, step: int) -> None:
    """Return when the log says that `step` is done."""
    log, limit = folder / "run/log.jsonl", time.monotonic() + PATIENCE
    while not (log.is_file() and any(line["step"] >= step for line in read_log(log)[-1:])):
        assert run.poll() is None and time.monotonic() < limit, run.communicate(timeout=PATIENCE)[0]
        time.sleep(0.01)


@pytest.mark.soak
def test_the_sequence_of_samples_survives_kills_and_other_world_sizes(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_here(labelled, whole, monkeypatch)
    expected = recorded(whole / "record")
    assert sorted(expected) == list(range(1, TOTAL + 1)) and all(len(draws) == BATCH for draws in expected.values())
    for epoch in range(4):
        seen = [row for step in range(STEPS_PER_EPOCH) for row, _ in expected[epoch * STEPS_PER_EPOCH + step + 1]]
        assert len(set(seen)) == len(seen), "nothing twice in an epoch"

    (broken / "record").mkdir(parents=True)
    run = launch(labelled, broken)
    wait_for_step(run, broken, 13)
    (victim,) = (int(path.stem.split("-")[1]) for path in (broken / "record").glob("1-*"))
    os.kill(victim, signal.SIGKILL)  # torchrun starts both again
    wait_for_step(run, broken, 24)
    assert len(list((broken / "record").glob("1-*"))) == 2, "one restart, which found the other at once"
    run.send_signal(signal.SIGTERM)
    output, _ = run.communicate(timeout=PATIENCE)
    assert (broken / "run/STOPPED").is_file(), output
    assert "--max-restarts" not in output, "started as the documentation says"

    run_here(labelled, broken, monkeypatch)  # on half as many
    assert recorded(broken / "record") == expected
    sizes = [line["size"] for line in read_log(broken / "run/log.jsonl") if line["kind"] == "train"]
    assert sizes == [24] * round(0.4 * TOTAL) + [32] * (TOTAL - round(0.4 * TOTAL))
