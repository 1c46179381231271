"""Files whose bytes survive a power cut: what is begun early, what is synced, and that a disk's refusal is heard."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest

from radload.dataset import files
from radload.dataset.files import EarlyWriter, atomic_file, sync_files

STEP = EarlyWriter._STEP


def _synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is synced from here on."""
    names: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    return names


def test_what_is_begun_early_is_each_byte_once_in_whole_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[int, int, int, int]] = []
    monkeypatch.setattr(files, "_begin_writing", lambda: lambda *call: begun.append(call))
    with (tmp_path / "a").open("wb") as file:
        early = EarlyWriter(file)
        for size in (10, STEP - 1, STEP, STEP + 5, 3 * STEP, 3 * STEP + 7, 4 * STEP):
            early.reached(size)
        descriptor = file.fileno()
    assert begun == [
        (descriptor, 0, STEP, 2),
        (descriptor, STEP, 2 * STEP, 2),
        (descriptor, 3 * STEP, STEP, 2),
    ]


def test_the_system_takes_what_is_begun_early(tmp_path: Path) -> None:
    content = os.urandom(3 * STEP + 123)
    with atomic_file(tmp_path / "a") as file:
        early = EarlyWriter(file)
        for start in range(0, len(content), STEP):
            file.write(content[start : start + STEP])
            early.reached(min(start + STEP, len(content)))
    assert (tmp_path / "a").read_bytes() == content


@pytest.mark.parametrize("there", [True, False])
def test_memory_and_other_systems_are_left_alone(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*call: object) -> None:
        raise AssertionError(call)

    monkeypatch.setattr(files, "_begin_writing", lambda: never if there else None)
    EarlyWriter(io.BytesIO()).reached(2 * STEP)
    if not there:
        with Path(__file__).open("rb") as file:
            EarlyWriter(file).reached(2 * STEP)


def test_all_files_are_synced_and_a_refusal_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / str(number) for number in range(20)]
    for path in paths:
        path.write_bytes(b"x")
    names = _synced(monkeypatch)
    sync_files(paths)
    assert sorted(names) == sorted(path.name for path in paths)

    def refuse(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "13":
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        sync_files(paths)


def test_a_name_that_need_not_last_costs_no_sync_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = _synced(monkeypatch)
    for lasts in (False, True):
        with atomic_file(tmp_path / "a", name_lasts=lasts) as file:
            file.write(b"x")
    assert [name == tmp_path.name for name in names] == [False, False, True]
    assert (tmp_path / "a").read_bytes() == b"x"
