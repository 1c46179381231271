"""Whatever a run cannot write ends it with a sentence on all ranks, code 2, and a checkpoint to go on from."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from script import FLAGS, PATIENCE, SCRIPT, finish, start
from test_pretrain import SMALL

from radload.train import checkpoint, pretrain
from radload.train.log import read_log
from radload.train.pretrain import main

NO_ROOM = os.strerror(errno.ENOSPC)


def run(shards: Path, out: Path, *flags: str) -> int:
    return main([*SMALL, f"--shards={shards}", f"--out={out}", *flags])


def begin(shards: Path, out: Path) -> None:
    """A run of one pass, five steps."""
    assert run(shards, out, "--epochs=1") == 0


def test_a_log_without_room_stops_the_run_and_the_last_checkpoint_goes_on(
    labelled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    begin(labelled, out)
    log = out / "log.jsonl"
    log.rename(out / "kept")
    log.symlink_to("/dev/full")
    capfd.readouterr()
    assert run(labelled, out, "--epochs=2") == 2
    error = capfd.readouterr().err
    want = f"error: the log cannot be written ({NO_ROOM}), step-000000005.pt is the last usable checkpoint: make room in {out}"
    assert error.startswith(want) and error.count("\n") == 1
    assert not (out / "DONE").exists()
    log.unlink()
    (out / "kept").rename(log)
    assert run(labelled, out, "--epochs=2") == 0
    assert [line["step"] for line in read_log(log) if line["kind"] == "val"] == [5, 10]


def test_two_ranks_end_together(labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "log.jsonl").symlink_to("/dev/full")
    codes, (first, second) = finish(start(labelled, out, "--epochs=1"))
    assert codes == [2, 2] and second == "", "said once"
    assert first.startswith(f"error: the log cannot be written ({NO_ROOM}), there is no checkpoint: make room")


@pytest.mark.parametrize(
    ("name", "what"),
    [("run.json", "the run's folder"), ("val.json", "the verdict"), ("predictions.npz", "the verdict"),
     ("backbone.safetensors", "the end of the run"), ("DONE/x", "the run's folder")],
)  # fmt: skip
def test_whatever_cannot_be_written_is_said(
    labelled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, what: str
) -> None:
    """A folder of the file's name is in the way."""
    out = tmp_path / "run"
    (out / name).mkdir(parents=True)
    capfd.readouterr()
    assert run(labelled, out, "--max-steps=5") == 2
    error = capfd.readouterr().err
    assert error.startswith(f"error: {what} cannot be written (Is a directory), ") and error.count("\n") == 1
    later = what not in ("the run's folder",)
    assert ("step-000000005.pt is the last usable checkpoint" in error) == later
    assert not (out / "DONE").is_file() and later == (checkpoint.newest(out / "checkpoints")[0] is not None)


def test_a_folder_that_cannot_be_is_said(labelled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert run(labelled, tmp_path / "file/run", "--max-steps=1") == 2
    error = capfd.readouterr().err
    assert error.startswith("error: the run's folder cannot be written (Not a directory)") and error.count("\n") == 1


class FullBoard:
    """A tracker whose disk fills up."""

    def __init__(self) -> None:
        self.lines = 0

    def add(self, kind: str, step: int, numbers: dict[str, float]) -> None:
        self.lines += 1
        if self.lines > 2:
            raise OSError(errno.ENOSPC, NO_ROOM)

    def close(self) -> None:
        raise OSError(errno.ENOSPC, NO_ROOM)


def test_curves_without_room_stop_the_run_too(
    labelled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = FullBoard()
    monkeypatch.setattr(pretrain, "open_trackers", lambda *_: [board])
    assert run(labelled, tmp_path / "run", "--epochs=1", "--log-every=1", "--checkpoint-every=1") == 2
    error = capfd.readouterr().err
    assert error.startswith(f"error: the log cannot be written ({NO_ROOM}), step-000000002.pt is the last usable")
    assert error.count("\n") == 1 and board.lines == 3


def test_a_console_that_takes_nothing_ends_no_run(labelled: Path, tmp_path: Path) -> None:
    command: list[Any] = [
        sys.executable,
        SCRIPT,
        "--shards",
        labelled,
        "--out",
        tmp_path / "run",
        *FLAGS,
        "--max-steps=2",
    ]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "") and (tmp_path / "run/DONE").is_file()
