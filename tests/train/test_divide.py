"""Divisions are by patient, in proportion, the same for a seed, and spread every class over the parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lesions import SLICES, write_lesions
from train_data import TRAIN, VAL, single_labels, write

import radload
from radload.dataset.labels import LabelSet
from radload.errors import UsageError
from radload.train.divide import CHOOSE, FIT, OUT, PACKED, PATIENTS, TEST, Targets, divide, read_targets

NO_INDEX = None


def many(patients: int, slices: int = 5, classes: int = 3) -> Targets:
    """Patients of very unequal classes, a tenth of the slices unlabelled."""
    random = np.random.default_rng(0)
    of = np.repeat(np.arange(patients), slices)
    codes = np.repeat(random.choice(classes, patients, p=[0.8, 0.15, 0.05]), slices)
    codes[random.random(len(codes)) < 0.1] = -1
    return Targets(("a", "b", "c"), codes, of)


def test_a_patient_has_one_part_and_the_parts_have_their_shares() -> None:
    targets = many(400)
    for seed in range(5):
        part = divide(targets, NO_INDEX, PATIENTS, seed)  # type: ignore[arg-type]
        assert (part[targets.codes < 0] == OUT).all() and (part[targets.codes >= 0] != OUT).all()
        labelled = part != OUT
        pairs = np.unique(np.stack([targets.patients[labelled], part[labelled]]), axis=1)
        assert len(np.unique(pairs[0])) == pairs.shape[1], "no patient in two parts"
        shares = np.bincount(pairs[1], minlength=3) / pairs.shape[1]
        assert shares == pytest.approx([0.75, 0.10, 0.15], abs=0.01)
        rare = np.unique(targets.patients[targets.codes == 2])
        of = {code: len(np.intersect1d(rare, targets.patients[part == code])) for code in (FIT, CHOOSE, TEST)}
        assert min(of.values()) >= 1 and of[FIT] >= 0.6 * len(rare), "the rarest class is in every part"


def test_seeds_make_the_division() -> None:
    targets = many(100)
    first, again, other = (divide(targets, NO_INDEX, PATIENTS, seed) for seed in (1, 1, 2))  # type: ignore[arg-type]
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(UsageError, match="too few patients"):
        divide(many(2), NO_INDEX, PATIENTS, 0)  # type: ignore[arg-type]


def test_packed_splits_are_kept(tmp_path: Path) -> None:
    three = write_lesions(tmp_path / "three", {"train": 6, "val": 3, "test": 3})
    with radload.open(three) as dataset:
        part = divide(read_targets(dataset), dataset.index, PACKED, 0)
        for name, code in (("train", FIT), ("val", CHOOSE), ("test", TEST)):
            rows = dataset.index.ranges[name]
            assert (part[rows.start : rows.stop] == code).all() and len(rows)
    two = write_lesions(tmp_path / "two", {"train": 20, "val": 3})
    with radload.open(two) as dataset:
        targets = read_targets(dataset)
        part = divide(targets, dataset.index, PACKED, 3)
        train = dataset.index.ranges["train"]
        assert (part[train.stop :] == TEST).all(), "without a test split the validation split is tested on"
        assert (part == CHOOSE).sum() == 3 * SLICES and set(part[: train.stop]) == {FIT, CHOOSE}
        assert not set(targets.patients[part == FIT]) & set(targets.patients[part == CHOOSE])


def test_targets_of_a_data_set(tmp_path: Path) -> None:
    shards = write(tmp_path / "a", single_labels())
    with radload.open(shards) as dataset:
        targets = read_targets(dataset)
        assert targets.classes == ("a", "b", "c") and not targets.multi and targets.labelled.sum() == 57 - 4
        assert (targets.patients[~targets.labelled] == -1).all()
        assert set(targets.patients[targets.labelled]) == set(range(8))
    multi = write_lesions(tmp_path / "b", {"train": 3, "val": 3}, multi=True)
    with radload.open(multi) as dataset:
        targets = read_targets(dataset)
        assert targets.multi and targets.codes.shape == (36, 2) and targets.labelled.all()
    one = LabelSet("default", "single", ("only",), np.zeros(TRAIN + VAL, np.int32), "csv")
    with radload.open(write(tmp_path / "c", one)) as dataset, pytest.raises(UsageError, match="one class"):
        read_targets(dataset)
