"""Shards that no version of a data set refers to: what a pack that was killed, or a compaction, leaves behind."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from radload.dataset.files import sync_folder
from radload.dataset.manifest import Manifest, generation_folder, generations
from radload.dataset.schema import SPLITS
from radload.errors import FormatError


def shards_of(root: Path, generation: int) -> set[str]:
    """Names of the shards that a version refers to. Raises FormatError."""
    path = generation_folder(root, generation) / "shards.arrow"
    try:
        with path.open("rb") as file:
            return set(pa.ipc.open_file(file).read_all().column("name").to_pylist())
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise FormatError(f"{path} cannot be read ({type(error).__name__}): restore it from a copy") from None


def remove_unused_shards(root: Path, manifest: Manifest, also: Collection[str] = ()) -> int:
    """Remove the shards that neither a version that is there, nor `also` names; returns their bytes. The caller holds the lock."""
    there = [
        *generations(root, manifest),
        *(one for one in manifest.withdrawn if generation_folder(root, one).is_dir()),
    ]
    used = set(also).union(*(shards_of(root, one) for one in there))
    freed = 0
    for split in SPLITS:
        folder = root / split
        for path in folder.glob("[0-9]*.tar"):
            if f"{split}/{path.name}" not in used:
                freed += path.stat().st_size
                path.unlink()
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        elif folder.is_dir():
            sync_folder(folder)
    return freed


def remove_temporaries(root: Path, private: Path) -> None:
    """Remove files that a process that was killed had begun to write. The caller holds the lock."""
    for pattern in (".*.tmp", "*/.*.tmp", "index/*/.*.tmp"):
        for path in root.glob(pattern):
            path.unlink(missing_ok=True)
    for path in private.glob(".*.tmp"):
        path.unlink(missing_ok=True)
    for path in (root / "index").glob(".gone-*"):
        shutil.rmtree(path)
