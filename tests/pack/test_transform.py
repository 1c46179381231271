"""--transform: a function of the user's gets each slice before it is encoded; what it breaks costs that slice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest_pack import WriteSeries

import radload
from radload.errors import UsageError
from radload.pack import PackOptions, pack
from radload.sources import Slice

MODULE = "test_transform"


def blank(image: Slice) -> Slice:
    """Takes the upper half off every slice but the first."""
    if image.position is None or image.position[2] == 0:
        return image
    image.stored[:12] = -7  # in place, as tools do
    return image


def fail(image: Slice) -> Slice:
    if image.position is not None and image.position[2] == 2.5:
        raise RuntimeError("Mrs Smith's slice")
    if image.position is not None and image.position[2] == 5:
        return replace(image, stored=image.stored[:4])
    return image


@pytest.mark.parametrize("workers", [0, 2])
def test_the_function_changes_pixels_and_the_rows_say_so(
    tmp_path: Path, write_series: WriteSeries, workers: int
) -> None:
    write_series(tmp_path / "src")
    pack(PackOptions(tmp_path / "src", tmp_path / "out", transform=f"{MODULE}:blank", workers=workers))
    with radload.open(tmp_path / "out") as dataset:
        assert [sample.meta["exact"] for sample in dataset] == [True, False, False]
        assert [bool(np.all(sample.stored[:12] == -7)) for sample in dataset] == [False, True, True]
        assert [bool(np.all(sample.stored[12:] == -7)) for sample in dataset] == [False] * 3
    assert json.loads((tmp_path / "out/manifest.json").read_bytes())["transform"] == f"{MODULE}:blank"


def test_what_it_breaks_is_rejected_and_not_quoted(tmp_path: Path, write_series: WriteSeries) -> None:
    write_series(tmp_path / "src")
    summary = pack(PackOptions(tmp_path / "src", tmp_path / "out", transform=f"{MODULE}:fail", workers=0))
    assert summary.samples == 1 and summary.rejected == {"transform-failed": 2}
    reasons = pq.read_table(tmp_path / "out.private/rejects.parquet").column("reason").to_pylist()
    assert sorted(reasons) == ["--transform raised RuntimeError", "--transform returned pixels of another size or type"]


@pytest.mark.parametrize("name", ["nowhere:blank", f"{MODULE}:nothing", MODULE, ":blank", f"{MODULE}:MODULE", ""])
def test_a_function_that_is_not_there_is_refused(tmp_path: Path, write_series: WriteSeries, name: str) -> None:
    write_series(tmp_path / "src")
    with pytest.raises(UsageError, match="--transform"):
        pack(PackOptions(tmp_path / "src", tmp_path / "out", transform=name, workers=0))
    assert not (tmp_path / "out").exists()
