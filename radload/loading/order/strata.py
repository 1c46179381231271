"""From `Loader(sampler=, weights=)` to a sampler over the row lists of a data set: checked by the consumer, opened on both sides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.dataset.index import Index, split_range
from radload.dataset.labels import ClassRows, LabelSet, read_class_rows
from radload.dataset.schema import SPLITS
from radload.errors import FormatError, UsageError
from radload.loading.order import blocks
from radload.loading.order.sampling import Patients, RowLists, Sampler, Strata, Uniform
from radload.loading.planning.neighbours import Drawn

UNIFORM, BALANCED, WEIGHTS, PATIENT, BLOCKS = "uniform", "balanced", "weights", "patient", "blocks"
SAMPLERS = (UNIFORM, BALANCED, WEIGHTS, PATIENT, BLOCKS)
BLOCK = 4096  # draws in which shares are kept exactly; shares finer than 1/BLOCK are rounded
MAX_RUN, MAX_RUNS = 65536, 1 << 24  # samples of a run, and runs open at once
MAX_CLASSES = 65536  # a block of "balanced" holds each class once, and is shuffled in one piece


@dataclass(frozen=True, slots=True)
class Sampling:
    """What was asked for, in values that JSON can hold.

    Attributes:
        name: one of SAMPLERS; split: "train", …, or None for all.
        labels: the label set whose classes are meant; digest: of that set.
        quotas: "weights" only: draws of each class (by code) in one block; 0: never.
        block, runs: "blocks" only, see blocks.Blocks.
    """

    name: str
    split: str | None
    labels: str | None = None
    digest: str | None = None
    quotas: tuple[int, ...] | None = None
    block: int | None = None
    runs: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Sampling:
        quotas = content["quotas"]
        return cls(**{**content, "quotas": None if quotas is None else tuple(quotas)})


def check_sampling(
    sampler: str | None,
    weights: Mapping[str, float] | None,
    split: str | None,
    labels: LabelSet | None,
    training: bool,
    root: Path,
    global_batch: int = 1,
    block: int | None = None,
    runs: int | None = None,
) -> Sampling:
    """The sampling that the arguments mean; `labels`: the label set in use; `training`: shuffled, and full batches only.

    Raises:
        UsageError: an unknown name, weights that do not name the classes, no classes, or a sampler where no training is.
    """
    name = sampler if sampler is not None else UNIFORM if weights is None else WEIGHTS
    if name not in SAMPLERS:
        raise UsageError(f"sampler={sampler!r} is unknown: choose one of {', '.join(map(repr, SAMPLERS))}")
    if (weights is not None) != (name == WEIGHTS):
        raise UsageError(
            f'sampler={name!r} with weights={weights!r} cannot be: weights={{class: share}} go with sampler="weights" alone'
        )
    if name != BLOCKS and (block is not None or runs is not None):
        raise UsageError(
            f'sampler={name!r} with block={block} and runs={runs} cannot be: they go with sampler="blocks" alone'
        )
    if name == UNIFORM:
        return Sampling(name, split)
    if not training:
        raise UsageError(
            f"sampler={name!r} is for training: evaluation (shuffle or drop_last off) sees each sample once"
        )
    if name == PATIENT:
        return Sampling(name, split)
    if name == BLOCKS:
        return Sampling(name, split, block=_block(block), runs=_runs(runs, global_batch))
    if labels is None or labels.task != "single":
        why = "the data set has none in use" if labels is None else f"set {labels.name!r} has several per sample"
        raise UsageError(f"sampler={name!r} needs one label per sample, {why}: name such a label set")
    sizes = _class_counts(read_class_rows(root, labels.name), split)[1].sum(axis=1)
    used = int((sizes > 0).sum())
    if not 0 < used <= MAX_CLASSES:
        raise UsageError(f"sampler={name!r} cannot draw from {used} classes: 1 to {MAX_CLASSES} are possible")
    quotas = None if weights is None else tuple(_quotas(weights, labels.classes, sizes).tolist())
    return Sampling(name, split, labels.name, labels.digest, quotas)


def open_sampler(sampling: Sampling, index: Index, seed: int, drawn: Drawn | None = None) -> Sampler:
    """The sampler over the mapped row lists. Raises FormatError where they do not belong to the data set.

    drawn: rows that "uniform" draws from, where that is not all of the split.
    """
    rows = split_range(index, sampling.split)
    if sampling.name == UNIFORM:
        return Uniform(len(rows if drawn is None else drawn), seed)
    if sampling.name == BLOCKS:
        return blocks.Blocks(len(rows), seed, _block(sampling.block), _runs(sampling.runs, 1))
    if sampling.name == PATIENT:
        return Patients(_patients(index, rows), seed, len(rows))
    found = read_class_rows(index.label_root, sampling.labels or "", index.files)
    if found.digest != sampling.digest:
        raise FormatError(f"label set {sampling.labels!r} was replaced while it was being opened: start again")
    starts, counts = _class_counts(found, sampling.split)
    equal = (counts.sum(axis=1) > 0).astype(np.int64)
    quotas = equal if sampling.quotas is None else np.array(sampling.quotas, np.int64)
    used = np.flatnonzero(quotas)
    lists = RowLists(found.rows, starts[used], counts[used], rows.start, rows.stop, f"label set {sampling.labels!r}")
    return Strata(lists, quotas[used], int(counts[used].sum()), seed, len(rows))


def facts(sampling: Sampling, classes: tuple[str, ...], index: Index) -> dict[str, Any]:
    """What a state must agree on: the sampler, its weights, and a digest of what the draws depend on beside the pixels."""
    weights = None
    if sampling.quotas is not None:
        weights = {name: quota for name, quota in zip(classes, sampling.quotas, strict=True) if quota}
    strata = sampling.digest
    if sampling.name == PATIENT:
        series = index.series_in_order()
        digest = blake2b(np.ascontiguousarray(series["patient"]).tobytes(), digest_size=16)
        digest.update(np.ascontiguousarray(series["count"]).tobytes())
        strata = digest.hexdigest()
    shape = None if sampling.block is None else [sampling.block, sampling.runs]
    return {"sampler": sampling.name, "weights": weights, "strata": strata, "blocks": shape}


def _block(block: int | None) -> int:
    if block is not None and not 2 <= block <= MAX_RUN:
        raise UsageError(f"block={block} cannot be used: give 2 to {MAX_RUN} samples that are read in one run")
    return blocks.BLOCK if block is None else block


def _runs(runs: int | None, global_batch: int) -> int:
    """Whole global batches, so that a run stays with one rank."""
    if runs is not None and (runs < global_batch or runs % global_batch or runs > MAX_RUNS):
        raise UsageError(
            f"runs={runs} cannot be used: give a multiple of the global batch of {global_batch}, up to {MAX_RUNS}, "
            "so that no batch holds two samples of a run"
        )
    return blocks.ROUND * global_batch if runs is None else runs


def _class_counts(found: ClassRows, split: str | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(starts, counts) of each class's rows, (classes, pieces): a piece per split."""
    bounds = [found.offsets[name] for name in (SPLITS if split is None else (split,))]
    return np.stack([b[:-1] for b in bounds], axis=1), np.stack([np.diff(b) for b in bounds], axis=1)


def _quotas(weights: Mapping[str, float], classes: tuple[str, ...], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Draws of each class per block: exact where a block of up to BLOCK draws can be, else by largest remainders, at least 1."""
    unknown = [name for name in weights if name not in classes]
    if unknown:
        raise UsageError(f"weights name {unknown[0]!r}, which is no class: choose from {', '.join(classes)}")
    missing = [name for name, size in zip(classes, sizes, strict=True) if size and name not in weights]
    if missing:
        raise UsageError(f"weights say nothing of class {missing[0]!r}: give each class a share, 0 leaves it out")
    values = [weights.get(name, 0) for name in classes]
    if not all(isinstance(v, int | float) and 0 <= v < math.inf for v in values) or not 0 < sum(values) < math.inf:
        raise UsageError(f"weights={dict(weights)!r} cannot be used: give numbers from 0, not all of them 0")
    empty = [name for name, value, size in zip(classes, values, sizes, strict=True) if value and not size]
    if empty:
        raise UsageError(f"weights ask for class {empty[0]!r}, of which the split has no sample: give it 0")
    if len(classes) > BLOCK:
        raise UsageError(f"weights for a set of {len(classes)} classes cannot be kept: up to {BLOCK} are possible")
    share = np.array(values, np.float64) / math.fsum(values)
    for size in range(max(1, int((share > 0).sum())), BLOCK + 1):
        wanted = share * size
        whole = np.rint(wanted)
        if np.abs(wanted - whole).max() < 1e-9 * size and (whole[share > 0] >= 1).all():
            return whole.astype(np.int64)
    return _apportioned(share)


def _apportioned(share: NDArray[np.float64]) -> NDArray[np.int64]:
    """BLOCK draws by largest remainders (Hamilton's method), where every class with a share gets one at least."""
    floor = np.maximum(np.floor(share * BLOCK), share > 0).astype(np.int64)
    rest = BLOCK - int(floor.sum())
    if rest >= 0:
        order = np.argsort(-(share * BLOCK - floor), kind="stable")
        floor[order[:rest]] += 1
        return floor
    for _ in range(-rest):  # tiny shares were raised to one draw: the largest pay for it
        floor[np.argmax(floor)] -= 1
    return floor


def _patients(index: Index, rows: range) -> RowLists:
    """Row lists of the patients of a split. Raises UsageError where one of them has samples in another split too."""
    series = index.series_in_order()
    first, stop = np.searchsorted(series["first_row"], np.array([rows.start, rows.stop], np.uint64))
    here = series[int(first) : int(stop)]
    counts = np.bincount(here["patient"], weights=here["count"]).astype(np.int64)
    patients = np.flatnonzero(counts)
    offsets, listed = index.patient_lists()
    starts = offsets[patients].astype(np.int64)
    if not np.array_equal(offsets[patients + 1].astype(np.int64) - starts, counts[patients]):
        raise UsageError(
            'patients have samples in several splits, so sampler="patient" would draw from all: `radload audit` lists them'
        )
    source = "the index's list of patients"
    return RowLists(listed, starts[:, None], counts[patients][:, None], rows.start, rows.stop, source)
