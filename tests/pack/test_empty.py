"""--drop-empty: a slice without content is a reject of its own; noise, a small finding and a colour are content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest_pack import WriteDicom
from numpy.typing import NDArray

import radload
from radload.pack import PackOptions, pack
from radload.pack.empty import CONTENT, is_empty


def spotted(spots: int, dtype: str = "int16", background: float = -1000) -> NDArray[Any]:
    """100 x 100, one value but for `spots` pixels."""
    values = np.full(10_000, background, dtype)
    values[:spots] = np.arange(1, spots + 1)
    return np.random.default_rng(0).permutation(values).reshape(100, 100)


@pytest.mark.parametrize(("spots", "empty"), [(0, True), (10, True), (11, False), (5000, False), (9999, False)])
@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32"])
def test_what_differs_from_all_else_is_content(spots: int, empty: bool, dtype: str) -> None:
    assert CONTENT == 0.001
    assert is_empty(spotted(spots, dtype, 0), None) is empty


def test_padding_and_what_is_not_finite_do_not_count() -> None:
    values = spotted(0)
    values[:, :60] = -2000
    assert is_empty(values, (-2000, -2000)) and is_empty(values, (-3000, -1500)) and not is_empty(values, None)
    assert is_empty(np.full((4, 4), -2000, np.int16), (-2000, -2000))
    floats = np.full((50, 50), np.nan, np.float32)
    assert is_empty(floats, None)
    floats[0] = 3
    assert is_empty(floats, None)
    floats[1] = np.inf
    floats[2] = 4
    assert not is_empty(floats, None)


def test_noise_and_one_channel_of_three_are_content() -> None:
    assert not is_empty(np.random.default_rng(0).normal(-1000, 20, (64, 64)).astype(np.int16), None)
    colour = np.zeros((32, 32, 3), np.uint8)
    assert is_empty(colour, None)
    colour[:8, :8, 2] = 200
    assert not is_empty(colour, None)


def test_empty_slices_are_rejected_when_asked(tmp_path: Path, write_dicom: WriteDicom) -> None:
    for place in range(4):
        constant = np.full((24, 20), 7, np.int16) if place in (0, 3) else None
        write_dicom(tmp_path / f"src/{place}.dcm", constant, place=place)
    write_dicom(tmp_path / "src/clip.dcm", _clip(), series="clip", Rows=5, NumberOfFrames=3)
    options: dict[str, Any] = {"workers": 0, "split": "100/0/0"}
    kept = pack(PackOptions(tmp_path / "src", tmp_path / "all", **options))
    assert (kept.samples, kept.rejected) == (7, {})
    summary = pack(PackOptions(tmp_path / "src", tmp_path / "out", drop_empty=True, **options))
    assert (summary.samples, summary.packed, summary.rejected) == (4, 3, {"empty": 2})
    assert (summary.frames_rejected, summary.files) == (1, 5)
    found = pq.read_table(tmp_path / "out.private/rejects.parquet").to_pylist()
    assert [(row["source"], row["frame"], row["code"]) for row in found] == [
        ("0.dcm", None, "empty"),
        ("3.dcm", None, "empty"),
        ("clip.dcm", 1, "empty"),
    ]
    with radload.open(tmp_path / "out") as dataset:
        counted = sum(1 for _ in dataset)
        assert counted == 4 and all(sample.stored.std() > 0 for sample in dataset)


def _clip() -> NDArray[Any]:
    frames = np.random.default_rng(1).integers(0, 99, (3, 5, 4)).astype(np.int16)
    frames[1] = 3
    return frames.reshape(15, 4)
