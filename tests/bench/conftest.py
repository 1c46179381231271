"""A data set for the tests of this room, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from make import Image, Series, ct_series, ct_slice, write_dataset


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 CT slices of 64 x 64 for training, the last 6 of them raw, and 3 for validation."""
    raw = Series([Image(ct_slice(9000 + i), intercept=-1024.0, codec="raw") for i in range(6)])
    series = [ct_series(i, 6) for i in range(3)] + [raw, ct_series(7, 3, split="val")]
    return write_dataset(tmp_path_factory.mktemp("bench") / "shards", series)
