"""On real series: stacks are found again that the packer counted, and a volume's affine is that of its headers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import radload
from radload.dataset.stacks import find_stacks
from radload.pack import PackOptions, pack


@pytest.fixture(scope="module")
def packed(shared_data: Path, all_decided: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("real") / "shards"
    pack(PackOptions(shared_data, out, decisions=all_decided))
    return out


def test_as_many_stacks_as_the_packer_counted(packed: Path) -> None:
    """One orientation in p phases is p stacks, where no slice was left out and none stands at another's place."""
    seen: Counter[int] = Counter()
    with radload.open(packed) as dataset:
        table = dataset.index.table("series").to_pylist()
        for number, (row, record) in enumerate(zip(table, dataset.index.series, strict=True)):
            if row["stacks"] != 1 or not row["phases"] or row["duplicates"] or int(record["count"]) < 2:
                continue
            first = int(record["first_row"])
            stacks = find_stacks(dataset.index, range(first, first + int(record["count"])))
            assert stacks.number[-1] + 1 == row["phases"], (number, row)
            seen[row["phases"]] += 1
            assert np.isfinite(stacks.along).all() == (row["slice_spacing"] is not None)
            if row["phases"] == 1 and not row["gaps"]:
                steps = np.diff(stacks.along)
                assert np.abs(steps - row["slice_spacing"]).max() <= (row["irregular"] or 0.0) * 2 + 0.02
    assert seen[1] >= 3, seen


def test_volumes_stand_where_their_headers_say(packed: Path) -> None:
    placed = 0
    with radload.open(packed) as dataset:
        for number, row in enumerate(dataset.index.table("series").to_pylist()):
            if row["stacks"] != 1 or row["phases"] != 1 or row["duplicates"]:
                continue
            samples = dataset.series(number)
            if len({sample.shape for sample in samples}) > 1:
                continue
            volume = dataset.volume(number)
            assert np.array_equal(volume.values[-1], samples[-1].modality(), equal_nan=True)
            if volume.affine is None or volume.spacing is None:
                continue
            placed += 1
            for k, sample in enumerate(samples):
                want = np.array(sample.meta["image_position"])
                assert np.linalg.norm((volume.affine @ (k, 0, 0, 1))[:3] - want) <= 0.1 * volume.spacing[0] * len(
                    samples
                )
            pixel = samples[0].meta["spacing"]
            assert np.allclose(volume.spacing[1:], pixel, rtol=1e-4)
            along = abs(np.linalg.det(volume.affine[:3, :3])) / (volume.spacing[1] * volume.spacing[2])
            assert along == pytest.approx(row["slice_spacing"], rel=0.1)
    assert placed >= 3, placed
