"""Promise 7 on real files: what the loader gives for every modality, encoding and size among them is what the reference gives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from test_forks import prelude
from test_pixels import STD, TOLERANCE, exact, render_all, settings

import radload
from radload.codecs.wavelet import iterate_levels
from radload.dataset.dataset import Sample
from radload.dataset.schema import Flag
from radload.kernels import reference
from radload.loading.planning.recipe import Window, default_recipe
from radload.pack import PackOptions, pack
from radload.sources.slice import Units

PER_KIND = 3  # samples of each (modality, stored type, size) that are compared


@pytest.fixture(scope="module")
def packed(shared_data: Path, all_decided: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All real files."""
    out = tmp_path_factory.mktemp("real") / "shards"
    pack(PackOptions(shared_data, out, decisions=all_decided))
    return out


def _reference_windows(row: tuple[Window, ...], sample: Sample, bits: int) -> list[reference.Window]:
    """The recipe's windows by the words of its documentation, from what the data set says about series and type."""
    meta, found = sample.meta, []
    for window in row:
        statistics = meta["statistics"]
        low, high = statistics["p005"], statistics["p995"]
        if window.rule == "fixed":
            found.append(exact(window.centre, window.width))
            continue
        if window.rule == "from_zero" and high > 0:
            low = 0.0
        if window.rule == "display":
            low, high = statistics["minimum"], statistics["maximum"]
            if meta["dtype"] in ("uint8", "uint16") and meta["modality_lut"] is None:
                top = 255.0 if meta["dtype"] == "uint8" else 2.0**bits - 1
                low, high = sorted((meta["intercept"], meta["intercept"] + top * meta["slope"]))
        high = high if high > low else low + 1
        found.append(exact((low + high) / 2, high - low))
    return found


def _display_bits(sample: Sample) -> int:
    meta = sample.meta
    ends = [(meta["statistics"][name] - meta["intercept"]) / meta["slope"] for name in ("minimum", "maximum")]
    return next((bits for bits in (8, 10, 12, 14) if max(ends) <= 2**bits - 0.5), 16)


def _expected(sample: Sample, plan: Any, i: int, size: tuple[int, int]) -> NDArray[np.float64]:
    meta, recipe = sample.meta, default_recipe()
    flags, level = Flag(int(plan.records[i]["flags"])), int(plan.levels[i])
    units = meta["units"]
    row = recipe.row(meta["modality"], units == Units.HU.name, units == Units.DISPLAY.name)
    windows = _reference_windows(recipe.windows[row], sample, _display_bits(sample))
    stored: NDArray[Any] = sample.stored
    slope, intercept, padding = meta["slope"], meta["intercept"], meta["padding"]
    if meta["modality_lut"] is not None:
        assert level == 0 and padding is None
        stored, slope, intercept = sample.modality(), 1.0, 0.0
    if level:
        stored = list(iterate_levels(stored.astype(np.int32), level))[-1]
    if stored.ndim == 3:
        stored = reference.luma(stored)
    return reference.render(
        stored,
        windows,
        size,
        full=sample.shape[:2],
        level=level,
        slope=slope,
        intercept=intercept,
        invert=Flag.INVERT in flags,
        padding=padding,
        mean=[0.5] * len(windows),
        std=[STD] * len(windows),
    )


@pytest.mark.parametrize("size", [(224, 224), (40, 61)])
def test_every_modality_type_and_size_of_the_real_files(packed: Path, size: tuple[int, int]) -> None:
    """1e-5 in units of the window, up- and downscaling, several levels; sizes from 1 pixel to some thousands."""
    with radload.open(packed) as ds:
        taken: Counter[tuple[Any, ...]] = Counter()
        rows = []
        for row, record in enumerate(ds.index.records):
            kind = (
                int(ds.index.series[record["series"]]["modality"]),
                *(int(record[n]) for n in ("dtype", "rows", "cols")),
            )
            taken[kind] += 1
            if taken[kind] <= PER_KIND:
                rows.append(row)
        found, plan = render_all(packed, settings(default_recipe(), size), rows)
        worst = {}
        for i, row in enumerate(rows):
            sample = ds[row]
            error = float(np.abs(found[i] - _expected(sample, plan, i, size)).max())
            if error > TOLERANCE:
                worst[sample.key] = (
                    error,
                    sample.meta["modality"],
                    sample.meta["dtype"],
                    sample.shape,
                    int(plan.levels[i]),
                )
        assert not worst, worst
        assert len({ds[row].meta["modality"] for row in rows}) > 8 and len(set(plan.levels.tolist())) > 2


def test_what_comes_out_of_the_cache_is_what_was_decoded(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All real files, at the levels of small images and in full: bit for bit, and in the second epoch without decoding any."""
    prelude(monkeypatch, "from radload.loading.cache import arena; arena._PATIENCE = 60.0")
    for size, resolution in ((64, "auto"), (96, "full")):
        options: dict[str, Any] = {
            "batch_size": 32, "size": size, "resolution": resolution, "shuffle": False, "drop_last": False, "threads": 2,
        }  # fmt: skip
        with (
            radload.Loader(packed, None, **options) as plain,
            radload.Loader(packed, None, **options, cache=tmp_path / "cache", cache_bytes="4GB") as cached,
        ):
            for epoch in range(2):
                count = found = 0
                for want, batch in zip(plain, cached, strict=True):
                    assert torch.equal(want["image"], batch["image"]) and torch.equal(want["valid"], batch["valid"])
                    count += int(batch["valid"].sum())
                    found = cached.cache_hits
                assert count > 500 and (found == count if epoch else found < count)
