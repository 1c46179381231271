"""The full verdict on a validation: slices, studies and patients, subgroups, confusion, the hardest samples; with intervals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from radload.dataset.files import write_json
from radload.dataset.index import Index
from radload.dataset.schema import key_text
from radload.errors import UsageError
from radload.loading.columns import Columns
from radload.train.auroc import areas_by_class, macro, one_hot
from radload.train.bootstrap import CONFIDENCE, Measure, as_text, draw_patients, measure, resamples_for
from radload.train.grouping import MIXED, RULES, group_scores, group_targets
from radload.train.metrics import balanced_accuracy, confusion
from radload.train.predictions import Predictions, save_predictions

SMALLEST: Final = 5  # patients: a smaller subgroup says little about a network, and may say much about a person
HARDEST: Final = 50  # samples listed
_MOST_VALUES: Final = 20  # numbers with more distinct values are cut at their quartiles
_LARGEST_MATRIX: Final = 1000  # classes


def judge(
    folder: Path, predictions: Predictions, classes: tuple[str, ...], index: Index, subgroups: Sequence[str], step: int
) -> dict[str, Any]:
    """Write val.json and predictions.npz to `folder`, and return the former's content (docs/training.md).

    Args:
        index: of the data set; subgroups: names of attributes (columns of the index).

    Raises:
        UsageError: a subgroup that is no attribute of the data set.
    """
    content = {"step": step, **verdict(predictions, classes, index, subgroups)}
    save_predictions(folder / "predictions.npz", predictions, index.records["key"], classes)
    write_json(folder / "val.json", content)
    return content


def is_judged(folder: Path, step: int) -> bool:
    """Whether `folder` has the verdict of `step`."""
    path = folder / "val.json"
    return path.is_file() and json.loads(path.read_bytes()).get("step") == step


def verdict(
    predictions: Predictions, classes: tuple[str, ...], index: Index, subgroups: Sequence[str] = ()
) -> dict[str, Any]:
    """All metrics as plain values; see `judge`."""
    rows = predictions.rows
    series = index.series[index.records["series"][rows]]
    patients = _numbered(series["patient"])
    probabilities, targets = predictions.probabilities, predictions.targets
    count = int(patients.max(initial=-1)) + 1
    resamples = resamples_for(len(rows), len(classes), count)
    content: dict[str, Any] = {
        "samples": len(rows),
        "studies": len(np.unique(series["study"])),
        "patients": count,
        "classes": list(classes),
        "confidence": CONFIDENCE,
        "resamples": resamples,
        "slice": _measured(predictions.scores, targets, one_hot(targets, len(classes)), patients, classes, resamples),
    }
    matrices: dict[str, Any] = {"slice": _matrix(predictions.scores, targets, classes)}
    for level in ("study", "patient"):
        groups = series[level].astype(np.int64)
        single, present = group_targets(targets, groups, len(classes))
        _, first = np.unique(groups, return_index=True)
        content[level] = {"groups": len(first), "mixed": int((single == MIXED).sum()) if single.ndim == 1 else 0}
        for rule in RULES:
            scores = group_scores(probabilities, groups, rule)
            content[level][rule] = _measured(scores, single, present, patients[first], classes, resamples)
            matrices[f"{level}_{rule}"] = _matrix(scores, single, classes)
    if not predictions.multi and len(classes) <= _LARGEST_MATRIX:
        content["confusion"] = matrices
    content["subgroups"] = _subgroups(predictions, classes, index, subgroups, patients, resamples)
    content["hardest"] = _hardest(predictions, classes, index)
    return content


def summary(content: dict[str, Any]) -> str:
    """The verdict in one line for the console."""
    parts = []
    for level, found in (("slice", content["slice"]), ("patient", content["patient"]["mean"])):
        for name in ("balanced_accuracy", "auroc"):
            if text := as_text(found.get(name)):
                alike = level == "patient" and name == "balanced_accuracy" and content["patient"]["mixed"]
                whose = f" of the {_counted(content)} whose slices are of one class" if alike else ""
                parts.append(f"{name.replace('_', ' ')} per {level}{whose} {text}")
    return "; ".join(parts) if parts else "nothing could be judged: no labels, or one class"


def _counted(content: dict[str, Any]) -> int:
    """Patients with a part in accuracies: those whose labelled slices agree."""
    return sum(map(sum, content["confusion"]["patient_mean"]))


def check_subgroups(index: Index, names: Sequence[str]) -> None:
    """Raises UsageError for a subgroup that is no attribute of the data set, before a run begins."""
    try:
        Columns(index, names)
    except UsageError as error:
        raise UsageError(f"--subgroups: {error}") from None


def _measured(
    scores: NDArray[Any],
    targets: NDArray[Any],
    present: NDArray[Any],
    patients: NDArray[np.int64],
    classes: tuple[str, ...],
    resamples: int,
) -> dict[str, Any]:
    """Metrics of samples or groups, each of one patient.

    Args:
        scores: (n, K); targets: (n,) class, negative for none, or (n, K); present: (n, K) 1, 0, NaN; patients: (n,) numbers.
    """
    units = _numbered(patients)
    count = int(units.max(initial=-1)) + 1
    weights = np.ones((1, count), np.uint16)  # the split itself: everybody once
    if count > 1:
        weights = np.concatenate([weights, draw_patients(count, resamples)])
    found: dict[str, Any] = {"samples": len(scores), "patients": count}
    if targets.ndim == 1:
        found |= _accuracies(scores, targets, units, weights)
    areas = areas_by_class(scores, present, units, weights)
    found["auroc"] = _of(macro(areas))
    by_class = {name: _of(areas[:, k]) for k, name in enumerate(classes)}
    found["auroc_by_class"] = {name: area for name, area in by_class.items() if area["value"] is not None}
    return found


def _accuracies(
    scores: NDArray[Any], targets: NDArray[np.int64], units: NDArray[np.int64], weights: NDArray[np.uint16]
) -> dict[str, Any]:
    """Top-1, top-5 and balanced accuracy. units: (n,) patient of each; weights: (B, patients)."""
    known = targets >= 0
    scores, targets, units = scores[known], targets[known], units[known]
    classes = scores.shape[1]
    own = scores[np.arange(len(scores)), targets][:, None]
    ties = (scores == own) & (np.arange(classes) < targets[:, None])  # of equal ones the first is the answer
    place = (scores > own).sum(axis=1) + ties.sum(axis=1)
    right, among = place < 1, place < 5
    total, hits = np.zeros((len(weights), classes)), np.zeros((len(weights), classes))
    close = np.zeros(len(weights))
    for draw, row in enumerate(weights):
        weight = row[units]
        total[draw] = np.bincount(targets, weight, classes)
        hits[draw] = np.bincount(targets[right], weight[right], classes)
        close[draw] = weight[among].sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        number = total.sum(axis=1)
        return {
            "top1": _of(hits.sum(axis=1) / number),
            "top5": _of(close / number),
            "balanced_accuracy": _of(balanced_accuracy(hits, total)),
        }


def _of(values: NDArray[np.float64]) -> dict[str, float | None]:
    """The split's figure, which comes first, with the interval of the draws behind it."""
    figure: Measure = measure(float(values[0]), values[1:])
    return figure.as_dict()


def _matrix(scores: NDArray[Any], targets: NDArray[Any], classes: tuple[str, ...]) -> list[list[int]] | None:
    if targets.ndim == 2 or len(classes) > _LARGEST_MATRIX:
        return None
    matrix: list[list[int]] = confusion(targets, scores.argmax(axis=1), len(classes)).tolist()
    return matrix


def _subgroups(
    predictions: Predictions,
    classes: tuple[str, ...],
    index: Index,
    names: Sequence[str],
    patients: NDArray[np.int64],
    resamples: int,
) -> dict[str, Any]:
    """Attribute -> value -> metrics of its slices; values of fewer than SMALLEST patients are only counted."""
    columns = Columns(index, names).take(predictions.rows)
    found: dict[str, Any] = {}
    for name in names:
        column = columns[name]
        texts = np.array(column if isinstance(column, list) else _binned(column.numpy()), np.str_)
        found[name] = {"too_small": 0, "values": {}}
        for value in np.unique(texts).tolist():
            mine = texts == value
            if len(np.unique(patients[mine])) < SMALLEST:
                found[name]["too_small"] += 1
                continue
            targets = predictions.targets[mine]
            found[name]["values"][value or "unknown"] = _measured(
                predictions.scores[mine], targets, one_hot(targets, len(classes)), patients[mine], classes, resamples
            )
    return found


def _binned(values: NDArray[Any]) -> list[str]:
    """Numbers as text; many distinct ones as quarters of the samples. Unknown ones are ""."""
    flat = values.reshape(len(values), -1)[:, 0].astype(np.float64)
    known = np.isfinite(flat)
    if len(np.unique(flat[known])) <= _MOST_VALUES:
        return [f"{value:g}" if fine else "" for value, fine in zip(flat, known, strict=True)]
    edges = np.unique(np.quantile(flat[known], [0, 0.25, 0.5, 0.75, 1]))
    place = np.clip(np.searchsorted(edges, flat, "right") - 1, 0, len(edges) - 2)
    return [f"{edges[p]:g} to {edges[p + 1]:g}" if fine else "" for p, fine in zip(place, known, strict=True)]


def _hardest(predictions: Predictions, classes: tuple[str, ...], index: Index) -> list[dict[str, Any]]:
    """The samples with the highest loss, by key: `radload trace KEY` leads to their files."""
    losses = np.where(np.isnan(predictions.losses), -1.0, predictions.losses)
    order = np.argsort(-losses, kind="stable")[:HARDEST]
    found = []
    for at in order[losses[order] >= 0]:
        row: dict[str, Any] = {
            "key": key_text(int(index.records["key"][predictions.rows[at]])),
            "loss": round(float(losses[at]), 4),
        }
        if not predictions.multi:
            best = int(predictions.scores[at].argmax())
            row |= {"label": classes[int(predictions.targets[at])], "best": classes[best]}
            row["probability"] = round(float(np.exp(predictions.scores[at, int(predictions.targets[at])])), 6)
        found.append(row)
    return found


def _numbered(values: NDArray[Any]) -> NDArray[np.int64]:
    """Equal values as equal numbers from 0."""
    return np.asarray(np.unique(values, return_inverse=True)[1].reshape(-1), np.int64)
