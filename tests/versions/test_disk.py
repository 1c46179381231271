"""A disk that refuses what append, forget, compact, export, repair and label write: one sentence, and the same call ends the work."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest_pack import WriteSeries

import radload
from radload.dataset.manifest import read_manifest
from radload.errors import RadloadError, UsageError
from radload.export import ExportOptions, export
from radload.pack import PackOptions, append, pack
from radload.pack.relabel import LabelOptions, add_labels
from radload.verify import drop, verify
from radload.versions import compact, forget


@pytest.fixture
def folder(clinic: Path, write_series: WriteSeries) -> Path:
    """A data set of two versions, more to append, and a list of who withdrew."""
    tmp_path = clinic.parent
    options = PackOptions(clinic, tmp_path / "out", split="60/20/20", shard_size=0.004, workers=0)
    pack(options)
    write_series(clinic / "new", patient="P7", study="st7", series="s7")
    append(options)
    write_series(clinic / "newer", patient="P8", study="st8", series="s8")
    (tmp_path / "list").write_text("P0\n")
    return tmp_path


def _append(folder: Path) -> None:
    append(PackOptions(folder / "clinic", folder / "out", split="60/20/20", shard_size=0.004, workers=0))


def _forget(folder: Path) -> None:
    forget(folder / "out", folder / "list")


def _compact(folder: Path) -> None:
    compact(folder / "out")


def _export(folder: Path) -> None:
    export(ExportOptions(folder / "out", folder / "partner", new_pseudonyms=True))


def _repair(folder: Path) -> None:
    drop(folder / "out", replace(verify(folder / "out", workers=0), bad=(0,)))


def _label(folder: Path) -> None:
    add_labels(LabelOptions(folder / "out", labels_from="modality", name="kind", replace=True))


ACTS: dict[str, Callable[[Path], None]] = {
    "packing": _append,
    "forgetting": _forget,
    "compacting": _compact,
    "exporting": _export,
    "repairing": _repair,
    "labelling": _label,
}


@pytest.mark.parametrize("what", ACTS)
def test_a_full_disk_is_a_sentence_and_the_same_call_ends_the_work(
    folder: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "compacting":
        forget(folder / "out", folder / "list")
    failed = 0
    for allowed in range(0, 40, 3):
        before = read_manifest(folder / "out")
        with monkeypatch.context() as patch:
            _full_after(patch, allowed)
            try:
                ACTS[what](folder)
                break
            except (RadloadError, UsageError) as error:
                said = str(error)
        failed += 1
        assert said.startswith(f"{what} stopped (no space left on device): ") and "\n" not in said, said
        assert "run the same command again" in said and str(folder) not in said
        assert not list((folder / "out").rglob("*.tmp"))
        assert read_manifest(folder / "out").generation in (before.generation, before.generation + 1)
    else:
        ACTS[what](folder)
    assert failed >= 1
    with radload.open(folder / "out") as found:
        assert len(found) == found.manifest.samples
    assert verify(folder / "out", workers=0).whole


def _full_after(patch: pytest.MonkeyPatch, allowed: int) -> None:
    """The disk is full after so many renames."""
    left = [allowed]
    real = {name: getattr(Path, name) for name in ("replace", "rename")}

    def counted(name: str) -> Callable[[Path, Any], Path]:
        def run(path: Path, target: Any) -> Path:
            if not left[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            left[0] -= 1
            done: Path = real[name](path, target)
            return done

        return run

    for name in real:
        patch.setattr(Path, name, counted(name))
