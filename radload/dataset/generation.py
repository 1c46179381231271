"""Writing the next version of a data set: a whole index of its own, and the labels that belong to it, beside those of the versions before.

A version is one segment with all of its rows, not a difference to another: what reads it is the same for every version, and a split stays
a range of rows. The manifest, written last by the caller, is what makes it the current one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload.dataset.files import sync_folder, write_json
from radload.dataset.index import Index
from radload.dataset.labels import LabelSet, label_names, read_labels, write_labels
from radload.dataset.manifest import MANIFEST, Manifest, generation_folder
from radload.dataset.schema import RECORD, SERIES_RECORD, SPLITS
from radload.dataset.segment import ShardPart, write_segment
from radload.errors import UsageError

_TEMPORARY = ".next"  # in the folder of the segments


@dataclass(frozen=True, slots=True)
class MoreLabels:
    """Labels of samples that a version adds: set `labels.name`, and the key of each of its codes."""

    labels: LabelSet
    keys: NDArray[np.uint64]


def write_generation(
    root: Path,
    before: Manifest,
    index: Index,
    parts: Iterable[ShardPart],
    patients: pa.Table,
    studies: pa.Table,
    samples: pa.Schema,
    more: Callable[[], MoreLabels | None] = lambda: None,
) -> Manifest:
    """Write the index and labels of the version after `before`, whose index is `index`; returns its manifest, to be written by the caller.

    Args:
        parts: of all its shards, in order of (split, shard); patients, studies: the tables that they refer to.
        samples: schema of the parts' samples. more: labels of samples that `index` does not have, asked for when all parts are written.

    Raises:
        UsageError: `more` has another task than the set of its name.
    """
    generation = before.generation + 1
    temporary, folder = root / "index" / _TEMPORARY, generation_folder(root, generation)
    for path in (temporary, folder):
        shutil.rmtree(path, ignore_errors=True)
    used = index.next_key, index.next_shard
    summary = write_segment(temporary, generation, parts, patients, studies, samples, used)
    keys = np.fromfile(temporary / "records.bin", RECORD)["key"].copy()
    ranges, start = {}, 0
    for name in SPLITS:
        ranges[name] = range(start, start + summary.splits[name]["samples"])
        start = ranges[name].stop
    for labels in carried_labels(index, keys, more()):
        write_labels(temporary, labels, keys, ranges)
    archive = generation_folder(root, before.generation) / MANIFEST
    if not archive.is_file():
        write_json(archive, asdict(before))
    temporary.rename(folder)
    sync_folder(folder.parent)
    seen = np.unique(np.fromfile(folder / "series.bin", SERIES_RECORD)["patient"])
    known = np.asarray(patients.column("known").to_numpy(zero_copy_only=False), np.bool_)
    return replace(
        before,
        generation=generation,
        generations=[generation],
        fingerprint=summary.fingerprint,
        samples=summary.samples,
        series=summary.series,
        patients=len(seen),
        unknown_patients=int((~known[seen]).sum()),
        splits=summary.splits,
        masks=summary.masks,
    )


def carried_labels(index: Index, keys: NDArray[np.uint64], more: MoreLabels | None = None) -> Iterator[LabelSet]:
    """All label sets of `index` for the samples `keys`; one that a set says nothing of has no label (-1), or an unknown one (NaN)."""
    names = label_names(index.label_root)
    for name in names:
        labels = read_labels(index.label_root, name, index.keys)
        yield _carry(
            labels, index.records["key"], keys, more if more is not None and more.labels.name == name else None
        )
    if more is not None and more.labels.name not in names:
        new = more.labels
        yield replace(new, codes=carry_codes(new, [(more.keys, new.codes)], keys))


def _carry(labels: LabelSet, before: NDArray[np.uint64], keys: NDArray[np.uint64], more: MoreLabels | None) -> LabelSet:
    sources = [(before, labels.codes)]
    classes = labels.classes
    if more is not None:
        new = more.labels
        if new.task != labels.task:
            raise UsageError(
                f"the labels of the new files are of another kind ({new.task}) than set {labels.name!r} ({labels.task}): give one label "
                "column for single labels, several for multi-label"
            )
        classes = (*classes, *(name for name in new.classes if name not in classes))  # codes in use stay what they are
        place = np.array([classes.index(name) for name in new.classes], np.int32)
        if labels.task == "single":
            codes = np.where(new.codes >= 0, place[new.codes] if len(place) else -1, -1)
        else:
            codes = np.full((len(new.codes), len(classes)), np.nan, np.float32)
            codes[:, place] = new.codes
        sources.append((more.keys, codes))
    labels = replace(labels, classes=classes)
    return replace(labels, codes=carry_codes(labels, sources, keys))


def carry_codes(
    labels: LabelSet, sources: list[tuple[NDArray[np.uint64], NDArray[Any]]], keys: NDArray[np.uint64]
) -> NDArray[Any]:
    """Codes of the samples `keys` in the task and classes of `labels`. sources: keys, and the codes of each of them."""
    single, classes = labels.task == "single", len(labels.classes)
    found = np.full(len(keys), -1, np.int32) if single else np.full((len(keys), classes), np.nan, np.float32)
    for known, codes in sources:
        if not len(known):
            continue
        order = np.argsort(known)
        place = order[np.minimum(np.searchsorted(known, keys, sorter=order), len(known) - 1)]
        there = known[place] == keys
        if single:
            found[there] = codes[place[there]]
        else:
            found[there, : codes.shape[1]] = codes[place[there]]
    return found
