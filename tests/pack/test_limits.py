"""Real files that are made to cost too much: each costs itself."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from conftest_pack import WriteSeries

from radload.pack import PackOptions, pack


def write_bomb(path: Path, side: int, slices: int) -> None:
    """A gzipped NIfTI volume of zeros, int16: a thousandth of its size on disk."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, side, side, slices, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352)
    header[344:348] = b"n+1\0"
    with gzip.open(path, "wb", 1) as file:
        file.write(header)
        for _ in range(slices):
            file.write(bytes(side * side * 2))


def test_a_decompression_bomb_costs_itself(tmp_path: Path, write_series: WriteSeries) -> None:
    write_series(tmp_path / "src/ct")
    write_bomb(tmp_path / "src/bomb.nii.gz", 4000, 25)  # 800 MB, which other axes than the last need as a whole
    write_bomb(tmp_path / "src/volume.nii.gz", 100, 5000)  # 100 MB
    assert (tmp_path / "src/bomb.nii.gz").stat().st_size < 20e6
    summary = pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=2, memory=1, axis="0"))
    assert (summary.samples, summary.rejected) == (103, {"out-of-memory": 1})
    (reject,) = pq.read_table(tmp_path / "out.private/rejects.parquet").to_pylist()
    assert (reject["source"], reject["frame"], reject["code"]) == ("bomb.nii.gz", None, "out-of-memory")


def test_large_slices_fit_into_the_memory_that_a_worker_has_by_default(tmp_path: Path) -> None:
    """Slices of 4,096 x 4,096 pixels of noise: larger than any mammogram."""
    write_bomb(tmp_path / "a.nii.gz", 4096, 2)
    (tmp_path / "src").mkdir()
    with gzip.open(tmp_path / "a.nii.gz") as file:
        header = file.read(352)
    pixels = np.random.default_rng(0).integers(0, 4096, (2, 4096, 4096), np.int16)
    (tmp_path / "src/a.nii").write_bytes(header + pixels.tobytes())
    summary = pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=1))
    assert (summary.samples, summary.rejected) == (2, {})
