"""`radload compact`: the bytes of patients who withdrew go from shards, index, labels, the private folder and caches.

Shards that hold such samples are written anew without them, under new names; every other byte of them is copied. The next version refers
to the new shards, and only when it is the current one are the old shards and versions removed: a kill at any time leaves a data set that
is whole, and the next call goes on.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload.dataset.files import sync_folder
from radload.dataset.generation import write_generation
from radload.dataset.index import Index, open_index
from radload.dataset.manifest import Manifest, generation_folder, read_manifest, write_manifest
from radload.dataset.parts import index_parts
from radload.dataset.schema import RECORD, SPLITS
from radload.dataset.segment import ShardPart
from radload.errors import FormatError
from radload.pack.forgotten import read_forgotten, read_gone_caches, write_forgotten
from radload.pack.private import check_private, default_private
from radload.pack.rewrite import rewrite_shard
from radload.pack.sweep import remove_temporaries, remove_unused_shards, shards_of
from radload.versions.caches import identities, remove_caches
from radload.versions.forget import locked
from radload.versions.names import remove_names

_NO_KEYS: Final = np.zeros(0, np.uint64)


@dataclass(frozen=True, slots=True)
class Compacted:
    """What `compact` did.

    Attributes:
        samples: whose bytes are gone; shards: written anew; version: the current one now; removed: versions that are gone.
        caches: files of decoded images that are gone.
    """

    samples: int
    shards: int
    version: int
    removed: tuple[int, ...]
    caches: int = 0


@dataclass(frozen=True, slots=True)
class _Hidden:
    """What has to go: keys of samples, ascending, and the names of the shards that hold them."""

    keys: NDArray[np.uint64] = field(default_factory=lambda: _NO_KEYS)
    shards: frozenset[str] = frozenset()


def compact(shards: Path, private: Path | None = None, caches: Sequence[Path] = ()) -> Compacted:
    """Remove the bytes of all patients whom `forget` was told.

    Args:
        private: private folder, None: `<shards>.private`.
        caches: folders that were given to `Loader(cache=)`: what they hold of versions that this or an earlier call removed goes.

    Raises:
        UsageError: no data set, no private folder of it, or another command is at work.
        FormatError: a shard or an index is damaged: restore it first.
    """
    root = shards.resolve()
    with locked(root, "compacting"):
        manifest = read_manifest(root)
        folder = (private or default_private(root)).resolve()
        check_private(root, folder)
        remove_temporaries(root, folder)
        waiting = [one for one in manifest.withdrawn if generation_folder(root, one).is_dir()]
        patients, gone_caches = read_forgotten(folder), read_gone_caches(folder)
        if not waiting:
            removed_caches = sum(remove_caches(path, gone_caches) for path in caches)
            remove_names(folder, patients, _NO_KEYS)
            remove_unused_shards(root, manifest)
            return Compacted(0, 0, manifest.generation, (), removed_caches)
        index = open_index(root, manifest)
        hidden = _hidden(root, index, waiting)
        again = sorted(hidden.shards & set(index.shard_names))
        if again:
            manifest = _rewrite(root, manifest, index, again)
        doomed = [one for one in _older(root, manifest) if one in waiting or shards_of(root, one) & hidden.shards]
        gone_caches |= identities(root, doomed)  # kept, because nothing tells them when the versions are gone
        write_forgotten(folder, patients, gone_caches)
        removed_caches = sum(remove_caches(path, gone_caches) for path in caches)
        if 0 in doomed:  # before its folder, which says that there is still something to do
            shutil.rmtree(root / "labels", ignore_errors=True)
        for one in doomed:
            if one not in waiting:
                _remove_version(root, one)
        for name in sorted(hidden.shards):
            (root / name).unlink(missing_ok=True)
        for split in SPLITS:
            if (root / split).is_dir():
                sync_folder(root / split)
        remove_names(folder, patients, hidden.keys)
        # Last those by which a call that goes on knows what there is to do.
        for one in waiting:
            _remove_version(root, one)
        remove_unused_shards(root, manifest)
        return Compacted(len(hidden.keys), len(again), manifest.generation, tuple(sorted(doomed)), removed_caches)


def _remove_version(root: Path, generation: int) -> None:
    """Remove the folder of a version: at once for who looks for it, and then from the disk."""
    gone = root / "index" / f".gone-{generation}"
    shutil.rmtree(gone, ignore_errors=True)
    generation_folder(root, generation).rename(gone)
    sync_folder(root / "index")
    shutil.rmtree(gone)


def _older(root: Path, manifest: Manifest) -> list[int]:
    """Generations before the current one that have a folder."""
    names = (path.name for path in (root / "index").glob("[0-9]*"))
    return sorted(int(name) for name in names if name.isdecimal() and int(name) < manifest.generation)


def _hidden(root: Path, index: Index, waiting: Sequence[int]) -> _Hidden:
    """Samples that a withdrawn version has and the current one has not, and their shards."""
    keys, shards = [_NO_KEYS], set()
    for one in waiting:
        records = _records(root, one)
        gone = ~np.isin(records["key"], index.records["key"])
        keys.append(records["key"][gone])
        table = _arrow(root, one, "shards")
        names = table.column("name").to_pylist()
        shards |= {names[row] for row in np.unique(records["shard"][gone]).tolist()}
    return _Hidden(np.unique(np.concatenate(keys)), frozenset(shards))


def _records(root: Path, generation: int) -> NDArray[np.void]:
    path = generation_folder(root, generation) / "records.bin"
    try:
        return np.fromfile(path, RECORD)
    except OSError as error:
        raise FormatError(f"{path} cannot be read ({error.strerror}): restore it from a copy") from None


def _arrow(root: Path, generation: int, name: str) -> pa.Table:
    path = generation_folder(root, generation) / f"{name}.arrow"
    try:
        with path.open("rb") as file:
            return pa.ipc.open_file(file).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise FormatError(f"{path} cannot be read ({type(error).__name__}): restore it from a copy") from None


def _rewrite(root: Path, before: Manifest, index: Index, names: Sequence[str]) -> Manifest:
    """Make the version whose shards `names` hold what `index` knows of them, and nothing else, the current one."""
    number = index.next_shard
    new_names = {}
    for name in names:
        new_names[name] = f"{name.partition('/')[0]}/{number:06d}.tar"
        number += 1

    def parts() -> Iterator[ShardPart]:
        for part in index_parts(index):
            yield _copy_shard(root, part, new_names[part.name]) if part.name in new_names else part

    patients, studies, samples = (index.table(name) for name in ("patients", "studies", "samples"))
    manifest = write_generation(root, before, index, parts(), patients, studies, samples.schema)
    write_manifest(root, manifest)
    return manifest


def _copy_shard(root: Path, part: ShardPart, name: str) -> ShardPart:
    """Write the samples of `part`, and no other, from its shard into a new one. Raises FormatError for a shard that is not whole."""
    path = root / part.name
    try:
        with path.open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").digest() == part.sha256
    except OSError as error:
        raise FormatError(f"shard {part.name} cannot be read ({error.strerror}): restore it from a copy") from None
    if not whole:
        raise FormatError(f"shard {part.name} is damaged (SHA-256): restore it from a copy, then compact again")
    return rewrite_shard(root, part, name)
