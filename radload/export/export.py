"""`radload export`: from the samples that are chosen to a data set of its own, which appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.dataset import Dataset
from radload.dataset.addresses import check_local
from radload.dataset.files import disk_failures_are_said, sync_folder
from radload.dataset.generation import carry_codes
from radload.dataset.index import segment_folder
from radload.dataset.labels import label_names, read_labels, write_labels
from radload.dataset.manifest import Manifest, write_manifest
from radload.dataset.schema import SPLITS
from radload.dataset.segment import SegmentSummary, ShardPart, write_segment
from radload.errors import UsageError
from radload.export.arrange import Arrangement, arrange
from radload.export.choose import chosen_rows
from radload.export.copy import copy_shard
from radload.export.record import record_export
from radload.pack import privacy
from radload.pack.private import default_private, find_private


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Options of `radload export`.

    Attributes:
        shards: the data set; to: a folder that does not exist yet, or an empty one.
        where: a condition on the columns of the index; None: all samples.
        new_pseudonyms: of patients, studies and series, made with a key that nobody keeps.
        drop_geometry: no positions, orientations and what follows from them (`copy.GEOMETRY_OF_SAMPLES`, `GEOMETRY_OF_SERIES`).
        version: of the data set, None: the current one.
        private: private folder, in which the export is noted; None: `<shards>.private`, where it is there.
    """

    shards: Path
    to: Path
    where: str | None = None
    new_pseudonyms: bool = False
    drop_geometry: bool = False
    version: int | str | None = None
    private: Path | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported; noted: whether the private folder knows of it."""

    samples: int
    series: int
    patients: int
    shards: int
    noted: bool


def export(options: ExportOptions) -> Exported:
    """Write the data set `options.to`.

    Keys are new, and in another order; pixels are copied bit for bit. No crosswalk is written: nobody, not even who exported, can
    tell from the export's pseudonyms and keys which samples they are.

    Raises:
        UsageError: no data set, no such version, a condition that cannot be used, or a folder that is in the way.
        CorruptSample, FormatError: a shard that is damaged.
    """
    check_local("--to", options.to, "give a local folder, and copy it to the bucket afterwards")
    root, to = options.shards.resolve(), options.to.resolve()
    private = find_private(root, options.private)
    _check_target(to, (root, default_private(root), *((private.resolve(),) if private is not None else ())))
    with Dataset(root, version=options.version) as dataset, disk_failures_are_said("exporting"):
        keep = chosen_rows(dataset, options.where)
        secret = privacy.new_key()

        def rename(domain: str, pseudonym: str) -> str:
            return privacy.pseudonym(secret, domain, pseudonym) if options.new_pseudonyms else pseudonym

        plan = arrange(dataset.index, keep, privacy.new_key(), rename)
        temporary = to.with_name(f".{to.name}.{os.getpid()}.tmp")
        try:
            temporary.mkdir(parents=True)
            new_keys = np.zeros(len(dataset), np.uint64)

            def parts() -> Iterator[ShardPart]:
                for name, split, places in plan.shards:
                    for place in places:
                        new_keys[place.rows] = place.first_key + np.arange(len(place.rows))
                    yield copy_shard(dataset, temporary, name, split, places, rename, options.drop_geometry)

            schema = dataset.index.table("samples").schema
            folder = temporary / segment_folder(0)
            segment = write_segment(folder, 0, parts(), plan.patients, plan.studies, schema)
            _write_labels(dataset, temporary, keep, new_keys, segment)
            key_id = privacy.key_id(secret) if options.new_pseudonyms else dataset.manifest.key_id
            used = _used(plan)
            counts = np.bincount(dataset.index.records["series"][keep], minlength=len(dataset.index.series))
            whole = bool((counts[used] == dataset.index.series["count"][used]).all())
            write_manifest(temporary, _manifest(dataset.manifest, segment, plan, key_id, whole))
            if private is not None:  # first: an export that nobody knows of could never be called back
                names = dataset.index.table("patients").column("pseudonym").to_pylist()
                patients = {names[row] for row in np.unique(dataset.index.series["patient"][used]).tolist()}
                record_export(private, to, dataset.manifest.generation, segment.fingerprint, patients)
            temporary.rename(to)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(to.parent)
        return Exported(segment.samples, segment.series, plan.patients.num_rows, len(plan.shards), private is not None)


def _check_target(to: Path, closed: tuple[Path, ...]) -> None:
    """UsageError where `to` lies in a folder that is `closed`, or holds something."""
    if any(to == one or one in to.parents for one in closed):
        raise UsageError(f"--to {to} lies inside the data set or its private folder: give a folder outside of them")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UsageError(f"--to {to} exists and holds something: give a new or an empty folder")


def _used(plan: Arrangement) -> NDArray[np.int64]:
    """Rows of the series that are exported, in the old index."""
    return np.array(sorted(place.series for _, _, places in plan.shards for place in places))


def _write_labels(
    dataset: Dataset, to: Path, keep: NDArray[np.bool_], new_keys: NDArray[np.uint64], segment: SegmentSummary
) -> None:
    """All label sets, in order of the new keys: an export is generation 0, whose keys ascend over the splits."""
    index = dataset.index
    ranges, start = {}, 0
    for name in SPLITS:
        ranges[name] = range(start, start + segment.splits[name]["samples"])
        start = ranges[name].stop
    keys = np.arange(start, dtype=np.uint64)
    for name in label_names(index.label_root):
        labels = read_labels(index.label_root, name, index.keys)
        codes = carry_codes(labels, [(new_keys[keep], labels.codes[keep])], keys)
        write_labels(to, replace(labels, codes=codes), keys, ranges)


def _manifest(before: Manifest, segment: SegmentSummary, plan: Arrangement, key_id: str, whole: bool) -> Manifest:
    known = plan.patients.column("known").to_pylist()
    held = before.split_rule.get("holdout")
    rule: dict[str, Any] = {name: value for name, value in before.split_rule.items() if name != "holdout"}
    if isinstance(held, dict):
        rule["holdout"] = {}  # that there was one; its keyed hash would link this to other data sets
    return replace(
        before,
        generation=0,
        generations=[0],
        fingerprint=segment.fingerprint,
        samples=segment.samples,
        series=segment.series,
        patients=len(known),
        unknown_patients=known.count(False),
        splits=segment.splits,
        split_rule=rule,
        key_id=key_id,
        source={"packed": 0, "rejected": 0, "ignored": 0},
        notes=["a part of another data set (radload export)"],
        burned_in=before.burned_in | {"decisions": []},
        masks=segment.masks,
        encoding=before.encoding | {"whole_series": bool(before.encoding.get("whole_series")) and whole},
        withdrawn=[],
    )
