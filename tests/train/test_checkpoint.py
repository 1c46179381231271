"""A checkpoint is whole or it is not used: cut or flipped anywhere, the one before it is taken. Loading runs no code."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radload.errors import FormatError, UsageError
from radload.train import checkpoint

STATE = {
    "model": {"weight": torch.arange(12.0).reshape(3, 4).to(torch.bfloat16), "count": torch.tensor(7)},
    "loader": {"seed": 0, "position": 3, "fingerprint": "abc", "shuffle": True},
    "classes": ["a", "b"],
    "config": {"lr": 0.1, "window": None},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in (10, 20):
        checkpoint.save(tmp_path / "c", step, {**STATE, "mark": step}, keep=2)
    return tmp_path / "c"


def test_what_is_saved_comes_back(folder: Path) -> None:
    path, notes = checkpoint.newest(folder)
    assert path is not None and checkpoint.step_of(path) == 20 and not notes
    state = checkpoint.load(path)
    assert state["mark"] == state["step"] == 20
    assert (
        state["loader"] == STATE["loader"]
        and state["classes"] == STATE["classes"]
        and state["config"] == STATE["config"]
    )
    torch.testing.assert_close(state["model"], STATE["model"], rtol=0, atol=0)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in range(1, 6):
        checkpoint.save(tmp_path, step, STATE, keep=2)
    assert [checkpoint.step_of(path) for path in checkpoint.known(tmp_path)] == [5, 4]
    assert len(list(tmp_path.iterdir())) == 2


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60
)
@given(share=st.floats(0, 1, exclude_max=True))
def test_cut_anywhere_the_one_before_is_used(folder: Path, share: float) -> None:
    path = checkpoint.path_of(folder, 20)
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: int(len(whole) * share)])
        found, notes = checkpoint.newest(folder)
        assert found is not None and checkpoint.step_of(found) == 10 and len(notes) == 1
        assert checkpoint.load(found)["mark"] == 10
    finally:
        path.write_bytes(whole)


def test_a_flipped_byte_of_any_member_is_seen(folder: Path) -> None:
    path = checkpoint.path_of(folder, 20)
    whole = path.read_bytes()
    at = whole.index(STATE["model"]["weight"].view(torch.int16).numpy().tobytes())  # type: ignore[index,call-overload]
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert not checkpoint.is_whole(path)
    found, _ = checkpoint.newest(folder)
    assert found is not None and checkpoint.step_of(found) == 10


def test_an_unfinished_write_is_cleared_and_ignored(folder: Path) -> None:
    (folder / ".step-000000030.pt.123.tmp").write_bytes(b"half")
    found, notes = checkpoint.newest(folder)
    assert found is not None and checkpoint.step_of(found) == 20 and not notes
    assert sorted(path.name for path in folder.iterdir()) == ["step-000000010.pt", "step-000000020.pt"]


def test_nothing_there(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path / "absent") == (None, [])
    with pytest.raises(UsageError, match="no checkpoint"):
        checkpoint.load(tmp_path / "step-000000001.pt")
    with pytest.raises(UsageError, match="step-NNNNNNNNN"):
        checkpoint.step_of(tmp_path / "model.pt")


def test_a_pickle_that_would_run_code_does_not(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (open, (str(tmp_path / "ran"), "w"))  # type: ignore[return-value]

    path = checkpoint.path_of(tmp_path, 1)
    torch.save({"version": 1, "x": Evil()}, path)
    with pytest.raises(FormatError, match="cannot be read"):
        checkpoint.load(path)
    assert not (tmp_path / "ran").exists()


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = checkpoint.path_of(tmp_path, 1)
    torch.save({"version": 99}, path)
    with pytest.raises(FormatError, match="version 99"):
        checkpoint.load(path)


FULL = """
import resource, signal, sys
from pathlib import Path
import torch
from radload.errors import RadloadError
from radload.train import checkpoint
folder = Path(sys.argv[1])
checkpoint.save(folder, 10, {"mark": 10}, keep=2)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    checkpoint.save(folder, 20, {"weight": torch.zeros(100_000)}, keep=2)
except RadloadError as error:
    print(error)
"""


@pytest.mark.parametrize("room", [4096, 300_000])
def test_a_disk_without_room_is_a_sentence_and_the_last_checkpoint_stays(tmp_path: Path, room: int) -> None:
    """The kernel refuses the write in the middle of the file, as a full disk does."""
    said = subprocess.run([sys.executable, "-c", FULL, str(tmp_path / "c"), str(room)], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(
        "the checkpoint of step 20 cannot be written (File too large), step-000000010.pt is the last usable"
    )
    found, notes = checkpoint.newest(tmp_path / "c")
    assert found is not None and checkpoint.load(found)["mark"] == 10 and not notes
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["step-000000010.pt"]


@pytest.mark.parametrize("links", [True, False])
def test_the_best_outlives_the_newest(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:

        def refuse(path: Path, target: Path) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(Path, "hardlink_to", refuse)
    for step, score in ((1, 0.5), (2, 0.9), (3, 0.7), (4, 0.9)):
        checkpoint.save(tmp_path, step, {**STATE, "mark": step}, keep=1)
        assert checkpoint.mark_best(tmp_path, step, score) == (step < 3), "a later one must be better"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.json", "best.pt", "step-000000004.pt"]
    assert checkpoint.load(tmp_path / "best.pt")["mark"] == 2 and checkpoint.step_of(tmp_path / "best.pt") == 2
