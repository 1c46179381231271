"""The tables say what the samples say: every count equals one made sample by sample."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
from rich.console import Console

import radload
from radload.inspect import print_tables, summarise
from radload.inspect.tables import size_text


def test_counts_equal_those_of_the_samples(phantom_shards: dict[str, Path]) -> None:
    with radload.open(phantom_shards["labelled"]) as dataset:
        summary, samples = summarise(dataset), list(dataset)
    assert {row.name: row.samples for row in summary.splits} == {
        name: sum(sample.split == name for sample in samples) for name in ("train", "val", "test")
    }
    for row in summary.classes:
        mine = [sample for sample in samples if sample.label == row.name]
        assert row.samples == tuple(sum(s.split == name for s in mine) for name in ("train", "val", "test"))
        assert row.patients == len({sample.meta["patient"] for sample in mine})
    assert summary.unlabelled == sum(sample.label is None for sample in samples)
    assert summary.exact == sum(sample.meta["exact"] for sample in samples)
    for modality in summary.modalities:
        mine = [sample for sample in samples if sample.meta["modality"] == modality.name]
        assert modality.samples == len(mine)
        assert modality.patients == len({sample.meta["patient"] for sample in mine})
        assert modality.series == len({sample.meta["series"] for sample in mine})
        assert modality.inverted == sum(sample.meta["invert"] for sample in mine)
        assert modality.padded == sum(sample.meta["padding"] is not None for sample in mine)
        assert modality.suspect == sum(sample.meta["suspect"] > 0 for sample in mine)
        assert dict(modality.dtypes) == Counter(sample.meta["dtype"] for sample in mine)
        sizes = Counter(sample.shape for sample in mine)
        assert {(rows, cols): count for rows, cols, count in modality.sizes} == sizes
    (codec,) = summary.codecs
    assert codec.raw == sum(sample.stored.nbytes for sample in samples)


def test_shard_bytes_are_those_on_disk(phantom_shards: dict[str, Path]) -> None:
    root = phantom_shards["plain"]
    with radload.open(root) as dataset:
        summary = summarise(dataset)
    assert summary.bytes == sum(path.stat().st_size for path in root.rglob("*.tar"))
    assert sum(row.shards for row in summary.splits) == len(list(root.rglob("*.tar")))
    assert summary.labels is None
    assert summary.classes == ()


def test_printed_tables_fit_80_columns_and_hold_the_numbers(phantom_shards: dict[str, Path]) -> None:
    text = io.StringIO()
    with radload.open(phantom_shards["labelled"]) as dataset:
        summary = summarise(dataset)
        print_tables(Console(file=text, width=80), dataset, summary)
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    for row in summary.classes:
        assert any(row.name in line and str(sum(row.samples)) in line for line in lines)
    assert any("MONOCHROME1" in line for line in lines)


def test_sizes_for_people() -> None:
    assert [size_text(n) for n in (0, 999, 1000, 52_640, 217_000, 1_500_000, 3 * 10**12)] == [
        "0 B", "999 B", "1.0 kB", "52.6 kB", "217 kB", "1.5 MB", "3.0 TB",
    ]  # fmt: skip


def test_empty_classes_are_counted_as_empty(phantom_shards: dict[str, Path]) -> None:
    with radload.open(phantom_shards["labelled"]) as dataset:
        assert dataset.labels is not None
        counts = dataset.labels.counts()
        assert [sum(row.samples) for row in summarise(dataset).classes] == np.asarray(counts).tolist()
