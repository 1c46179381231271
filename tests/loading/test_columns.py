"""Attributes and labels of a batch stand at the right rows, with a type that does not change between batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from radload.dataset.index import Index, open_index
from radload.dataset.labels import LabelSet, read_labels
from radload.dataset.manifest import read_manifest
from radload.errors import UsageError
from radload.loading.columns import ATTRIBUTES, Columns, label_column


@pytest.fixture
def index(ct_data: Path) -> Index:
    return open_index(ct_data, read_manifest(ct_data))


ROWS = np.array([6, 29, -1, 0, 36], np.int64)


def test_numbers_text_and_what_is_unknown(index: Index) -> None:
    found = Columns(
        index, ["rows", "patient", "series", "position", "modality", "body_part", "view", "echo_time", "key"]
    ).take(ROWS)
    assert found["rows"].tolist() == [64, 96, -1, 64, 64]
    assert found["patient"].tolist() == [1, 4, -1, 0, 5]
    assert found["position"].tolist() == [0, 5, -1, 0, 6]
    assert found["key"].tolist() == [6, 29, -1, 0, 36]
    assert found["modality"] == ["CT", "CT", "", "CT", "CT"]
    assert found["view"] == ["AP", "", "", "", ""]
    echo = found["echo_time"]
    assert isinstance(echo, torch.Tensor) and echo.dtype == torch.float64
    assert np.array_equal(echo.numpy(), [np.nan, np.nan, np.nan, 2.5, np.nan], equal_nan=True)


def test_every_attribute_that_is_offered_can_be_taken(index: Index) -> None:
    found = Columns(index, sorted(ATTRIBUTES)).take(ROWS)
    for name, column in found.items():
        assert len(column) == len(ROWS), name
        assert isinstance(column, list) or column.dtype in (torch.int64, torch.float64), name
    assert found["image_position"].shape == (5, 3)


def test_an_unknown_attribute_lists_the_known(index: Index) -> None:
    with pytest.raises(UsageError, match=r"'weight'.*body_part"):
        Columns(index, ["weight"])
    with pytest.raises(UsageError, match="list"):
        Columns(index, "rows")


def test_labels(ct_data: Path, index: Index) -> None:
    labels = read_labels(ct_data, "default", index.keys)
    assert label_column(labels, ROWS).tolist() == [0, 2, -1, 0, 0]
    assert label_column(labels, np.array([3, 10])).tolist() == [-1, -1]
    assert label_column(None, ROWS).tolist() == [-1] * 5


def test_multi_labels() -> None:
    codes = np.array([[1, 0], [np.nan, 1]], np.float32)
    found = label_column(LabelSet("m", "multi", ("a", "b"), codes, "csv"), np.array([1, -1, 0]))
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), [[np.nan, 1], [np.nan, np.nan], [1, 0]], equal_nan=True)
