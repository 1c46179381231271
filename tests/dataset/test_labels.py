"""Labels live beside the shards and can change: a set is written whole, checked against the data set's keys, and counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from radload.dataset.labels import LabelSet, label_names, read_class_rows, read_labels, write_labels
from radload.dataset.segment import KeysDigest
from radload.errors import FormatError, UsageError

KEYS = np.arange(100, 106, dtype=np.uint64)


def digest_of(keys: NDArray[np.uint64]) -> str:
    digest = KeysDigest()
    digest.add(keys)
    return digest.text()


RANGES = {"train": range(4), "val": range(4, 6), "test": range(6, 6)}


def test_single_labels_round_trip_with_row_lists(tmp_path: Path) -> None:
    labels = LabelSet("default", "single", ("a", "b", "c"), np.array([1, 0, -1, 1, 0, 2], np.int32), "csv")
    write_labels(tmp_path, labels, KEYS, RANGES)
    back = read_labels(tmp_path, "default", digest_of(KEYS))
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
    back = read_labels(tmp_path, "findings", digest_of(KEYS))
    np.testing.assert_array_equal(back.codes, codes)
    assert back.counts().tolist() == [3, 2]
    assert label_names(tmp_path) == ["findings"]


def test_labels_of_another_version_are_refused(tmp_path: Path) -> None:
    write_labels(tmp_path, LabelSet("v2", "single", ("a",), np.zeros(6, np.int32), "csv"), KEYS, RANGES)
    with pytest.raises(FormatError, match="another version"):
        read_labels(tmp_path, "v2", digest_of(KEYS + np.uint64(1)))
    with pytest.raises(UsageError, match=r"no label set 'v3'.*v2"):
        read_labels(tmp_path, "v3", digest_of(KEYS))
    path = tmp_path / "labels/v2.arrow"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FormatError, match="damaged"):
        read_labels(tmp_path, "v2", digest_of(KEYS))


@pytest.mark.parametrize("name", ["", "../x", "a b", "a.b", "-x", "x" * 65])
def test_names_that_cannot_be_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        write_labels(tmp_path, LabelSet(name, "single", ("a",), np.zeros(6, np.int32), "csv"), KEYS, RANGES)


def test_class_rows_are_mapped_and_checked(tmp_path: Path) -> None:
    labels = LabelSet("default", "single", ("a", "b", "c"), np.array([1, 0, -1, 1, 0, 2], np.int32), "csv")
    path = write_labels(tmp_path, labels, KEYS, RANGES)
    found = read_class_rows(tmp_path, "default")
    assert not found.rows.flags.owndata and not found.rows.flags.writeable
    assert found.rows.tolist() == [1, 0, 3, 2, 4, 5]
    assert {s: b.tolist() for s, b in found.offsets.items()} == {
        "train": [0, 1, 3, 3],
        "val": [4, 5, 5, 6],
        "test": [6, 6, 6, 6],
    }
    path.write_bytes(path.read_bytes().replace(b'"train": [0, 1, 3, 3]', b'"train": [0, 1, 3, 9]'))
    with pytest.raises(FormatError, match="offsets of split train"):
        read_class_rows(tmp_path, "default")
    write_labels(tmp_path, LabelSet("m", "multi", ("x",), np.ones((6, 1), np.float32), "csv"), KEYS, RANGES)
    with pytest.raises(UsageError, match="several labels"):
        read_class_rows(tmp_path, "m")
    with pytest.raises(UsageError, match="no label set"):
        read_class_rows(tmp_path, "absent")


def test_the_digest_follows_classes_and_codes(tmp_path: Path) -> None:
    codes = np.array([1, 0, -1, 1, 0, 1], np.int32)
    digests = set()
    for classes, changed in ((("a", "b"), codes), (("a", "c"), codes), (("a", "b"), codes[::-1])):
        write_labels(tmp_path, LabelSet("one", "single", classes, changed.copy(), "csv"), KEYS, RANGES)
        digests.add(read_labels(tmp_path, "one", digest_of(KEYS)).digest)
        assert read_class_rows(tmp_path, "one").digest in digests
    assert len(digests) == 3 and all(len(digest) == 32 for digest in digests)
    write_labels(tmp_path, LabelSet("two", "single", ("a", "b"), codes, "modality"), KEYS, RANGES)
    assert read_labels(tmp_path, "two", digest_of(KEYS)).digest in digests, "the origin does not count"
