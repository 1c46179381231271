"""Small data sets to train on: two series per modality and split, 46 training samples and 11 for validation."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from radload.dataset.index import open_index
from radload.dataset.labels import LabelSet
from radload.dataset.manifest import read_manifest

TRAIN, VAL = 46, 11  # samples


def _make() -> ModuleType:
    """tests/loading/make.py, which writes small data sets."""
    name = "loading_make"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "loading" / "make.py")
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


def write(
    root: Path, labels: LabelSet | None = None, val: bool = True, modalities: tuple[str, ...] = ("CT", "MR")
) -> Path:
    """46 training samples and 11 for validation, of two series per modality and split."""
    make, seed = _make(), 0
    series: list[Any] = []
    for split, total in (("train", TRAIN), ("val", VAL if val else 0)):
        for number, modality in enumerate(modalities):
            count = total // len(modalities) + (number < total % len(modalities))
            for part in (count // 2, count - count // 2):
                if part:
                    seed += 1
                    one = make.ct_series(seed, part, 40, 40, split)
                    one.modality = modality
                    if modality != "CT":
                        one.units, one.body_part = make.Units.UNSPECIFIED, None
                    series.append(one)
    return make.write_dataset(root, series, labels)  # type: ignore[no-any-return]


def single_labels(classes: tuple[str, ...] = ("a", "b", "c")) -> LabelSet:
    """A class by row, with two unlabelled samples in each split; class "c" is never seen in validation."""
    codes = (np.arange(TRAIN + VAL) % 3).astype(np.int32)
    codes[TRAIN:] %= 2
    codes[[3, 9, TRAIN + 1, TRAIN + 4]] = -1
    return LabelSet("default", "single", classes, codes, "csv")


def flip_bytes(root: Path, rows: Iterable[int]) -> None:
    """Damage a byte in the pixels of each of these rows of the index."""
    index = open_index(root, read_manifest(root))
    for record in index.records[list(rows)]:
        with (root / index.shard_names[int(record["shard"])]).open("r+b") as file:
            file.seek(int(record["offset"]) + int(record["length"]) // 2)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 0x10]))
