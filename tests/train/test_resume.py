"""Two processes, killed in the middle of an epoch, then asked to stop, end with the same bits as two that never stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from radload.train import checkpoint
from radload.train.distributed import set_random_state, step_seed
from radload.train.log import read_log

SCRIPT = Path(__file__).parents[2] / "train" / "pretrain.py"
STEPS_PER_EPOCH, TOTAL = 11, 66
FLAGS = [
    "--arch=test_resnet", "--size=32", "--batch-size=4", "--epochs=6", "--device=cpu", "--threads=1", "--amp=off",
    "--log-every=1", "--checkpoint-every=3", "--keep=4",
]  # fmt: skip
PATIENCE = 300  # seconds


def launch(shards: Path, out: Path) -> subprocess.Popen[str]:
    """torchrun with two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT)]
    return subprocess.Popen(
        [*command, "--shards", str(shards), "--out", str(out), *FLAGS],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(run: subprocess.Popen[str]) -> str:
    """Wait for the end; the output."""
    output, _ = run.communicate(timeout=PATIENCE)
    return output


def wait_for_step(run: subprocess.Popen[str], out: Path, step: int) -> None:
    """Return when the log says that `step` is done."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if (out / "log.jsonl").is_file() and any(line["step"] >= step for line in read_log(out / "log.jsonl")[-1:]):
            return
        assert run.poll() is None, finish(run)
        time.sleep(0.01)
    run.kill()
    raise AssertionError(f"step {step} was not reached:\n{finish(run)}")


def descendants(pid: int) -> list[int]:
    """Process ids of `pid` and all that it started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found.extend(children.get(one, []))
    return found


def test_the_random_state_of_a_step_is_its_own() -> None:
    seeds = {step_seed(seed, step, rank) for seed in range(3) for step in range(100) for rank in range(8)}
    assert len(seeds) == 2400 and step_seed(1, 2, 3) == step_seed(1, 2, 3)


def test_the_random_state_is_that_of_torch() -> None:
    torch.manual_seed(step_seed(0, 5, 1))
    expected = torch.rand(4)
    set_random_state(torch.device("cpu"), step_seed(0, 5, 1))
    assert torch.equal(torch.rand(4), expected)


def test_killed_and_stopped_runs_end_with_the_same_bits(labelled: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    output = finish(launch(labelled, whole))
    assert (whole / "DONE").is_file(), output

    for _ in range(5):  # a busy machine may let this process sleep until it is too late
        shutil.rmtree(broken, ignore_errors=True)
        run = launch(labelled, broken)
        wait_for_step(run, broken, 14)
        for pid in descendants(run.pid):  # the ranks, their loaders and torchrun: nobody gets to say goodbye
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        finish(run)
        if read_log(broken / "log.jsonl")[-1]["step"] < TOTAL - 20:
            break
    assert not (broken / "DONE").exists() and not (broken / "STOPPED").exists()
    newest, _ = checkpoint.newest(broken / "checkpoints")
    assert newest is not None
    while checkpoint.step_of(newest) % STEPS_PER_EPOCH == 0:  # resume in the middle of an epoch
        newest.unlink()
        newest, _ = checkpoint.newest(broken / "checkpoints")
        assert newest is not None
    resumed = checkpoint.step_of(newest)
    assert 0 < resumed < TOTAL - 20

    killed = shutil.copytree(broken, tmp_path / "killed")
    for _ in range(5):
        run = launch(labelled, broken)
        wait_for_step(run, broken, resumed + 10)
        run.send_signal(signal.SIGTERM)  # torchrun hands it on to the ranks
        output = finish(run)
        if not (broken / "DONE").exists():
            break
        shutil.rmtree(broken)
        shutil.copytree(killed, broken)
    assert f"going on after step {resumed}" in output
    stopped = json.loads((broken / "STOPPED").read_text())["step"]
    assert resumed + 10 <= stopped < TOTAL and f"stopped after step {stopped}" in output
    assert checkpoint.path_of(broken / "checkpoints", stopped).is_file() and not (broken / "DONE").exists()

    output = finish(launch(labelled, broken))
    assert f"going on after step {stopped}" in output and (broken / "DONE").is_file(), output
    assert not (broken / "STOPPED").exists()
    one, other = (load_file(folder / "backbone.safetensors") for folder in (whole, broken))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    one, other = (checkpoint.load(checkpoint.path_of(f / "checkpoints", TOTAL)) for f in (whole, broken))
    assert one["loader"] == other["loader"] and all(torch.equal(v, other["model"][k]) for k, v in one["model"].items())
    for key, state in one["optimizer"]["state"].items():
        assert torch.equal(state["momentum_buffer"], other["optimizer"]["state"][key]["momentum_buffer"])
    curves = [
        [
            (line["kind"], line["step"], line["loss"], line.get("accuracy"), line.get("auroc"))
            for line in read_log(f / "log.jsonl")
        ]
        for f in (whole, broken)
    ]
    assert curves[0] == curves[1] and len(curves[0]) == TOTAL + 6


def test_an_error_on_two_ranks_is_said_once(labelled: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT)]
    ended = subprocess.run(
        [*command, "--shards", str(labelled), "--out", str(tmp_path / "run"), *FLAGS, "--batch-size=5"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode != 0 and ended.stderr.count("error: --batch-size 5") == 1
    assert not (tmp_path / "run").exists()
