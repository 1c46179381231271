"""Data sets that the tests of this room share, made once."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from make import Image, Series, ct_series, write_dataset

from radload.dataset.labels import LabelSet
from radload.sources.slice import Units


@pytest.fixture(scope="session")
def ct_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 CT slices of 5 series for training, 7 of one series for validation, some labelled; 64 x 64 pixels, a few 96 x 80."""
    series = [ct_series(i, 6) for i in range(4)] + [ct_series(4, 6, 96, 80), ct_series(5, 7, split="val")]
    series[1].images[0].view = "AP"
    series[0].echo_time = 2.5
    codes = np.array([-1 if i % 7 == 3 else i % 3 for i in range(37)], np.int32)
    labels = LabelSet("default", "single", ("chest", "head", "knee"), codes, "csv")
    return write_dataset(tmp_path_factory.mktemp("data") / "ct", series, labels)


@pytest.fixture(scope="session")
def mixed_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MR without units, ultrasound in colour, and CT: one series of 4 each, all for training."""
    rng = np.random.default_rng(5)
    mr = [Image(rng.gamma(2, 200, (50, 40)).astype(np.uint16)) for _ in range(4)]
    us = [Image(rng.integers(0, 256, (48, 56, 3)).astype(np.uint8)) for _ in range(4)]
    series = [
        Series(mr, "MR", Units.UNSPECIFIED),
        Series(us, "US", Units.DISPLAY),
        ct_series(3, 4),
    ]
    return write_dataset(tmp_path_factory.mktemp("data") / "mixed", series)
