"""On every modality, encoding and size among the real files `prepare` gives what the loader gave, bit for bit."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
import torch

import radload
from radload.pack import PackOptions, pack
from radload.pack.trace import trace

Series = dict[int, list[tuple[str, int, int]]]  # series -> (source, frame, row) of its samples


@pytest.fixture(scope="module")
def packed(shared_data: Path, all_decided: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All real files."""
    out = tmp_path_factory.mktemp("bedside") / "shards"
    pack(PackOptions(shared_data, out, decisions=all_decided))
    return out


def _sources(packed: Path) -> tuple[Series, dict[int, str]]:
    """Which files each series was made of, and the modality of each."""
    found: Series = defaultdict(list)
    with radload.open(packed) as ds:
        keys = [f"{key:012d}" for key in ds.index.records["key"].tolist()]
        series = ds.index.records["series"].tolist()
        names = ds.index.table("series").column("modality").to_pylist()
    for row, one in enumerate(trace(packed, keys)):
        found[series[row]].append((str(one.source), int(one.frame or 0), row))
    return found, dict(enumerate(names))


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (96, {}),
        ((50, 70), {"fit": "pad", "level_slack": 1.5, "window": "file", "channels": 1}),
        (64, {"spacing": 1.5, "dtype": "float16"}),
    ],
)
def test_every_series_equals_the_loaders_batches(
    shared_data: Path, all_decided: Path, packed: Path, size: int | tuple[int, int], options: dict[str, object]
) -> None:
    series, modalities = _sources(packed)
    with radload.Loader(
        packed, None, batch_size=32, size=size, shuffle=False, drop_last=False, labels=False, **options
    ) as loader:
        preparation = loader.preparation
        images = {}
        for batch in loader:
            for image, row, valid in zip(batch["image"], batch["index"].tolist(), batch["valid"].tolist(), strict=True):
                if valid:
                    images[row] = image.clone()
        assert not loader.failures
    seen, frames, broken = set(), 0, 0
    for number, samples in series.items():
        files = sorted({source for source, _, _ in samples})
        row_of = {(source, frame): row for source, frame, row in samples}
        try:
            found = radload.prepare(
                [shared_data / source for source in files], preparation, statistics="given", decisions=all_decided
            )
        except radload.UsageError as error:
            assert "frame" in str(error), error  # the pack left out a frame of it, too
            broken += 1
            continue
        expected = torch.stack([images[row_of[key]] for key in sorted(row_of)])
        assert found.dtype == expected.dtype and torch.equal(found.view(torch.uint8), expected.view(torch.uint8)), files
        seen.add(modalities[number])
        frames += len(found)
    assert broken < 5 and len(seen) > 8 and frames > 1500, (broken, seen, frames)
