"""What can be done about samples that cannot be used: a next version of the data set without them.

New shards are written beside the damaged ones, then index and labels, and last the manifest, which makes the version the current one: a
repair that is killed before leaves the version that was, and shards that no version names, which the next repair removes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radload.dataset.generation import write_generation
from radload.dataset.index import Index, open_index
from radload.dataset.manifest import read_manifest, write_manifest
from radload.dataset.parts import index_parts
from radload.dataset.segment import ShardPart
from radload.errors import UsageError
from radload.pack.rewrite import rewrite_shard
from radload.pack.sweep import remove_unused_shards
from radload.verify.run import Report
from radload.versions.forget import locked


@dataclass(frozen=True, slots=True)
class Dropped:
    """What `drop` did: samples left out, the version without them, and the shards written for it."""

    samples: int
    generation: int
    written: tuple[str, ...]


def drop(root: Path, report: Report) -> Dropped:
    """Make the next version of the data set in `root`, without the bad samples of `report`; their shards are written anew for it.

    Keys, splits and labels of what stays do not change. Versions before still name the damaged shards.

    Args:
        report: of the current version.

    Raises:
        UsageError: a damaged index, another version, nothing that would be left, or another program writes to the data set.
        CorruptSample: a shard has been damaged further since.
    """
    if not report.index_ok:
        raise UsageError(
            f"the index of {root} is damaged, so nothing says which samples are good: restore it from a copy"
        )
    with locked(root, "repairing"):
        manifest = read_manifest(root)
        index = open_index(root, manifest)
        if report.generation != manifest.generation:
            raise UsageError(
                f"version {report.generation} of {root} is not the current one: only that one can be repaired"
            )
        keep = np.ones(len(index.records), np.bool_)
        keep[list(report.bad)] = False
        if not keep.any():
            raise UsageError(f"no sample of {root} can be used: restore the shards from a copy, or pack again")
        remove_unused_shards(root, manifest)
        damaged = {problem.shard for problem in report.problems} & set(index.shard_names)
        written: list[str] = []
        parts = _parts(root, index, keep, damaged, written)
        tables, samples = (index.table("patients"), index.table("studies")), index.table("samples").schema
        new = write_generation(root, manifest, index, parts, *tables, samples.remove_metadata())
        dropped = int((~keep).sum())
        note = f"{dropped:,} damaged samples were left out (radload verify --repair drop)"
        write_manifest(root, replace(new, notes=[*new.notes, note]))
        return Dropped(dropped, new.generation, tuple(written))


def _parts(
    root: Path, index: Index, keep: NDArray[np.bool_], damaged: Collection[str], written: list[str]
) -> Iterator[ShardPart]:
    """The parts of the new index; shards that are `damaged` are written anew, and named in `written`, when their turn comes."""
    free = index.next_shard
    for part in index_parts(index, keep):
        if part.name in damaged:
            name = f"{part.name.partition('/')[0]}/{free:06d}.tar"
            free += 1
            yield rewrite_shard(root, part, name)
            written.append(name)
        else:
            yield part
