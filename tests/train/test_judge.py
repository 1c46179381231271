"""The verdict's figures are those that plain loops give for slices, studies, patients and subgroups; its intervals are over patients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from test_auroc import by_pairs

from radload.dataset.index import Index
from radload.dataset.schema import RECORD, SAMPLES, SERIES, SERIES_RECORD
from radload.errors import UsageError
from radload.inference.memory import MemoryIndex
from radload.train.judge import SMALLEST, check_subgroups, judge, summary, verdict
from radload.train.predictions import Predictions

CLASSES = ("air", "bone", "fat")
PATIENTS, SLICES = 24, 6  # two studies of three slices each


def index() -> Index:
    """A series per study; manufacturers M0 (most), M1 and M2 (two patients); echo times of many values."""
    series = np.zeros(PATIENTS * 2, SERIES_RECORD)
    series["study"] = np.arange(len(series))
    series["patient"] = series["study"] // 2
    series["first_row"], series["count"] = series["study"] * 3, 3
    records = np.zeros(PATIENTS * SLICES, RECORD)
    records["key"] = 500 + np.arange(len(records))
    records["series"] = np.arange(len(records)) // 3
    makers = ["M2" if p < 2 else "M1" if p % 3 == 0 else "M0" for p in series["patient"].tolist()]
    rows = [
        {field.name: None for field in SERIES} | {"manufacturer": maker, "echo_time": 1.5 * number if number else None}
        for number, maker in enumerate(makers)
    ]
    keys = [{field.name: None for field in SAMPLES} | {"key": key} for key in records["key"].tolist()]
    tables = {"series": pa.Table.from_pylist(rows, SERIES), "samples": pa.Table.from_pylist(keys, SAMPLES)}
    return MemoryIndex(Path(), records, series, ("CT",), {}, tables=tables)


def predictions(multi: bool = False, seed: int = 0) -> Predictions:
    """Of every second sample and some more; a patient's slices resemble each other; a patient has mixed labels, some none."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(PATIENTS * SLICES, 110, replace=False))
    patient = rows // SLICES
    target = patient % 3
    logits = 0.8 * np.eye(3)[target] + rng.normal(size=(PATIENTS, 3))[patient] + 0.3 * rng.normal(size=(110, 3))
    logits = np.round(logits, 1)  # ties
    if multi:
        targets: NDArray[Any] = (rng.random((110, 3)) < 0.4).astype(np.float32)
        targets[rng.random((110, 3)) < 0.2] = np.nan
        return Predictions(rows, logits.astype(np.float32), targets, rng.random(110).astype(np.float32))
    target = np.where(patient == 5, rng.integers(0, 3, 110), target)
    target[rng.random(110) < 0.1] = -1
    scores = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)
    losses = np.where(target < 0, np.nan, -scores[np.arange(110), target]).astype(np.float32)
    return Predictions(rows, scores, target, losses)


def areas(scores: NDArray[Any], present: NDArray[Any]) -> list[float]:
    found = []
    for k in range(scores.shape[1]):
        known = ~np.isnan(present[:, k])
        found.append(by_pairs(scores[known, k].tolist(), (present[known, k] > 0.5).tolist()))
    return found


def accuracies(scores: NDArray[Any], target: NDArray[Any]) -> tuple[float, float]:
    best, known = scores.argmax(axis=1), target >= 0
    recalls = [(best[target == k] == k).mean() for k in range(3) if (target == k).any()]
    return float((best == target)[known].mean()), float(np.mean(recalls))


def check(found: dict[str, Any], scores: NDArray[Any], target: NDArray[Any], present: NDArray[Any]) -> None:
    top1, balanced = accuracies(scores, target)
    assert found["top1"]["value"] == pytest.approx(top1) and found["top5"]["value"] == 1
    assert found["balanced_accuracy"]["value"] == pytest.approx(balanced)
    expected = areas(scores, present)
    assert [found["auroc_by_class"][name]["value"] for name in CLASSES] == pytest.approx(expected, abs=1e-9)
    assert found["auroc"]["value"] == pytest.approx(np.mean(expected), abs=1e-9)
    for measure in (found["top1"], found["balanced_accuracy"], found["auroc"], *found["auroc_by_class"].values()):
        assert measure["low"] <= measure["value"] <= measure["high"] and measure["low"] < measure["high"]


@pytest.mark.parametrize("seed", range(3))
def test_every_level_and_rule(seed: int) -> None:
    given, data = predictions(seed=seed), index()
    found = verdict(given, CLASSES, data)
    one_hot = np.where(given.targets[:, None] < 0, np.nan, np.eye(3)[given.targets])
    check(found["slice"], given.scores, given.targets, one_hot)
    assert (found["samples"], found["slice"]["samples"], found["resamples"]) == (110, 110, 1000)
    rules = {
        "mean": lambda p: p.mean(axis=0),
        "max": lambda p: p.max(axis=0),
        "top3": lambda p: np.sort(p, axis=0)[-3:].mean(axis=0),
    }
    for level, size in (("study", 3), ("patient", SLICES)):
        group = given.rows // size
        names = np.unique(group)
        present = np.array(
            [
                np.nanmax(one_hot[group == g], axis=0) if (given.targets[group == g] >= 0).any() else [np.nan] * 3
                for g in names
            ]
        )
        kinds = np.nansum(present, axis=1)
        target = np.where(kinds == 1, np.nan_to_num(present).argmax(axis=1), -1)
        assert found[level]["mixed"] == (kinds > 1).sum() and found[level]["groups"] == len(names)
        assert level == "study" or found[level]["mixed"] == 1
        for rule, function in rules.items():
            scores = np.array([function(np.exp(given.scores[group == g].astype(np.float64))) for g in names])
            check(found[level][rule], scores, target, present)
            matrix = np.zeros((3, 3), int)
            for true, best in zip(target, scores.argmax(axis=1), strict=True):
                matrix[true, best] += true >= 0
            assert found["confusion"][f"{level}_{rule}"] == matrix.tolist()


def test_several_labels() -> None:
    given = predictions(multi=True)
    found = verdict(given, CLASSES, index())
    assert "top1" not in found["slice"] and "confusion" not in found
    expected = areas(given.scores, given.targets)
    assert [found["slice"]["auroc_by_class"][name]["value"] for name in CLASSES] == pytest.approx(expected)
    group = given.rows // SLICES
    names = np.unique(group)
    present = np.array(
        [np.nanmax(np.where(np.isnan(given.targets[group == g]), -1, given.targets[group == g]), axis=0) for g in names]
    )
    present[present < 0] = np.nan
    scores = np.array([(1 / (1 + np.exp(-given.scores[group == g].astype(np.float64)))).max(axis=0) for g in names])
    areas_found = found["patient"]["max"]["auroc_by_class"]
    assert [areas_found[name]["value"] for name in areas_found] == pytest.approx(
        [a for a in areas(scores, present) if a == a]
    )


def test_subgroups_of_few_patients_are_only_counted() -> None:
    given, data = predictions(), index()
    found = verdict(given, CLASSES, data, ["manufacturer", "echo_time"])["subgroups"]
    maker = np.array(["M2" if p < 2 else "M1" if p % 3 == 0 else "M0" for p in (given.rows // SLICES).tolist()])
    assert set(found["manufacturer"]["values"]) == {"M0", "M1"} and found["manufacturer"]["too_small"] == 1
    for name, one in found["manufacturer"]["values"].items():
        mine = maker == name
        assert (
            one["samples"] == mine.sum() and one["patients"] == len(np.unique(given.rows[mine] // SLICES)) >= SMALLEST
        )
        top1, balanced = accuracies(given.scores[mine], given.targets[mine])
        assert one["top1"]["value"] == pytest.approx(top1) and one["balanced_accuracy"]["value"] == pytest.approx(
            balanced
        )
    quarters = found["echo_time"]["values"]
    assert len(quarters) == 4 and sum(one["samples"] for one in quarters.values()) >= 104
    assert all(" to " in name for name in quarters) and found["echo_time"]["too_small"] == 1  # the series without


def test_a_subgroup_must_be_an_attribute() -> None:
    check_subgroups(index(), ["manufacturer"])
    with pytest.raises(UsageError, match="--subgroups: there is no attribute 'scanner'"):
        check_subgroups(index(), ["scanner"])


def test_files_name_the_hardest_samples_by_key(tmp_path: Path) -> None:
    given = predictions()
    content = judge(tmp_path, given, CLASSES, index(), ["manufacturer"], 12)
    assert json.loads((tmp_path / "val.json").read_text()) == content and content["step"] == 12
    order = [
        at for at in np.argsort(-np.nan_to_num(given.losses, nan=-1), kind="stable")[:50] if given.targets[at] >= 0
    ]
    assert [one["key"] for one in content["hardest"]] == [f"{500 + given.rows[at]:012d}" for at in order]
    assert content["hardest"][0]["probability"] == pytest.approx(np.exp(-given.losses[order[0]]), abs=1e-5)
    assert content["hardest"][0]["label"] == CLASSES[given.targets[order[0]]]
    assert "balanced accuracy per slice 0." in summary(content) and "auroc per patient 0." in summary(content)
    told = f"per patient of the {sum(map(sum, content['confusion']['patient_mean']))} whose slices are of one class"
    assert [told in summary({**content, "patient": {**content["patient"], "mixed": mixed}}) for mixed in (0, 3)] == [
        False,
        True,
    ], "who has no part in the figure is said"
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as file:
        assert file["key"].tolist() == (500 + given.rows).tolist()


def test_one_patient_and_no_labels_are_no_error() -> None:
    given = predictions()
    mine = given.rows < SLICES
    alone = Predictions(given.rows[mine], given.scores[mine], given.targets[mine], given.losses[mine])
    found = verdict(alone, CLASSES, index(), ["manufacturer"])
    assert found["slice"]["top1"]["low"] is None and found["slice"]["auroc"]["value"] is None and found["patients"] == 1
    nothing = Predictions(given.rows, given.scores, np.full(110, -1), np.full(110, np.nan, np.float32))
    found = verdict(nothing, CLASSES, index(), ["manufacturer"])
    assert found["slice"]["top1"]["value"] is None and found["hardest"] == []
    assert summary(found) == "nothing could be judged: no labels, or one class"
