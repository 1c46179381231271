"""Labels live beside the shards and can change: a set is written whole, checked against the data set's keys, and counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from radload.dataset.labels import LabelSet, label_names, read_labels, write_labels
from radload.errors import FormatError, UsageError

KEYS = np.arange(100, 106, dtype=np.uint64)
RANGES = {"train": range(4), "val": range(4, 6), "test": range(6, 6)}


def test_single_labels_round_trip_with_row_lists(tmp_path: Path) -> None:
    labels = LabelSet("default", "single", ("a", "b", "c"), np.array([1, 0, -1, 1, 0, 2], np.int32), "csv")
    write_labels(tmp_path, labels, KEYS, RANGES)
    back = read_labels(tmp_path, "default", KEYS)
    assert back.classes == labels.classes
    assert back.codes.tolist() == labels.codes.tolist()
    assert back.counts(range(4)).tolist() == [1, 2, 0]
    assert back.counts().tolist() == [2, 2, 1]
    table = pa.ipc.open_file(tmp_path / "labels/default.arrow").read_all()
    rows = table.column("by_class").to_numpy()
    offsets = json.loads(table.schema.metadata[b"radload"])["class_offsets"]
    assert sorted(rows.tolist()) == list(range(6))
    for split, span in RANGES.items():
        for code in range(3):
            listed = rows[offsets[split][code] : offsets[split][code + 1]].tolist()
            assert listed == [row for row in span if labels.codes[row] == code], (split, code)


def test_multi_labels_round_trip(tmp_path: Path) -> None:
    codes = np.array([[1, 0], [np.nan, 1], [0, 0], [1, 1], [0, np.nan], [1, 0]], np.float32)
    write_labels(tmp_path, LabelSet("findings", "multi", ("x", "y"), codes, "csv"), KEYS, RANGES)
    back = read_labels(tmp_path, "findings", KEYS)
    np.testing.assert_array_equal(back.codes, codes)
    assert back.counts().tolist() == [3, 2]
    assert label_names(tmp_path) == ["findings"]


def test_labels_of_another_version_are_refused(tmp_path: Path) -> None:
    write_labels(tmp_path, LabelSet("v2", "single", ("a",), np.zeros(6, np.int32), "csv"), KEYS, RANGES)
    with pytest.raises(FormatError, match="another version"):
        read_labels(tmp_path, "v2", KEYS + np.uint64(1))
    with pytest.raises(UsageError, match=r"no label set 'v3'.*v2"):
        read_labels(tmp_path, "v3", KEYS)
    path = tmp_path / "labels/v2.arrow"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FormatError, match="damaged"):
        read_labels(tmp_path, "v2", KEYS)


@pytest.mark.parametrize("name", ["", "../x", "a b", "a.b", "-x", "x" * 65])
def test_names_that_cannot_be_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        write_labels(tmp_path, LabelSet(name, "single", ("a",), np.zeros(6, np.int32), "csv"), KEYS, RANGES)
