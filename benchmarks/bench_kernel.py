"""The CPU kernel, one core: a stored slice to 224x224 float32 planes. `pytest benchmarks/bench_kernel.py`."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from radload.kernels import cpu, masks, prepare
from radload.kernels.prepare import Voi

SIZE, SLICES = (224, 224), 16
CENTRES, WIDTHS = (40.0, -600.0, 400.0), (400.0, 1500.0, 1800.0)  # soft tissue, lung, bone


@pytest.mark.benchmark(group="kernel")
@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("crop", [False, True], ids=["whole", "crops"])
def test_512_to_224(benchmark: BenchmarkFixture, level: int, planes: int, crop: bool) -> None:
    """Level 0 reads 512x512 values, level 1 256x256; crops are random and of half the area, as in training."""
    rng = np.random.default_rng(0)
    coded = [rng.integers(0, 3000, (512 >> level, 512 >> level)).astype(np.uint16) for _ in range(SLICES)]
    start = rng.random((SLICES, 2)) * 150
    boxes = np.concatenate([start, np.full((SLICES, 2), 362.0)], axis=1) if crop else None
    samples = prepare.samples(np.full(SLICES, 512), 512, level=level, crop=boxes)
    windows = prepare.windows(
        [Voi.LINEAR] * planes, CENTRES[:planes], WIDTHS[:planes], intercept=np.full(SLICES, -1024.0)
    )
    norm = prepare.normalisation([0.5] * planes, [0.25] * planes)
    out, scratch = np.empty((SLICES, planes, *SIZE), np.float32), cpu.Scratch()

    def batch() -> None:
        for i in range(SLICES):
            cpu.render_into(coded[i], samples[i : i + 1], windows[i : i + 1], norm, out[i], scratch=scratch)

    batch()  # compiles
    benchmark(batch)
    if benchmark.stats is not None:
        benchmark.extra_info["slices/s"] = round(SLICES / benchmark.stats.stats.median)
        benchmark.extra_info["us/slice"] = round(benchmark.stats.stats.median / SLICES * 1e6, 1)
    assert np.isfinite(out).all()


@pytest.mark.benchmark(group="effects")
@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("effects", ["none", "rotation", "gamma", "noise"])
def test_effects(benchmark: BenchmarkFixture, planes: int, level: int, effects: str) -> None:
    """What augmentation adds to one or three windows of a whole slice."""
    options = {
        "none": {},
        "rotation": {"angle": 10.0},
        "gamma": {"gamma": 1.2},
        "noise": {"noise": 0.05, "key": (1, 2)},
    }
    coded = np.random.default_rng(0).integers(0, 3000, (512 >> level, 512 >> level)).astype(np.uint16)
    sample = prepare.samples(512, 512, level=level, size=SIZE, **options[effects])
    windows = prepare.windows([Voi.LINEAR] * planes, CENTRES[:planes], WIDTHS[:planes], intercept=-1024.0)
    norm = prepare.normalisation([0.5] * planes, [0.25] * planes)
    out, scratch = np.empty((planes, *SIZE), np.float32), cpu.Scratch()
    cpu.render_into(coded, sample, windows, norm, out, scratch=scratch)  # compiles
    benchmark(cpu.render_into, coded, sample, windows, norm, out, scratch=scratch)
    if benchmark.stats is not None:
        benchmark.extra_info["us/slice"] = round(benchmark.stats.stats.median * 1e6, 1)
    assert np.isfinite(out).all()


@pytest.mark.benchmark(group="kernel")
@pytest.mark.parametrize("fit", ["whole", "padded"])
def test_mask_512_to_224(benchmark: BenchmarkFixture, fit: str) -> None:
    """A label mask; padded: of 512x256, so that half of the output lies outside."""
    shape = (512, 512) if fit == "whole" else (512, 256)
    mask = np.random.default_rng(0).integers(0, 9, shape, np.uint8)
    crop = None if fit == "whole" else (0.0, -128.0, 512.0, 512.0)
    sample, out = prepare.samples(*shape, crop=crop, size=SIZE), np.empty(SIZE, np.int32)
    masks.render_mask_into(mask, sample, out)  # compiles
    benchmark(masks.render_mask_into, mask, sample, out)
    if benchmark.stats is not None:
        benchmark.extra_info["microseconds_per_mask"] = round(benchmark.stats.stats.median * 1e6, 1)
    assert out.any()


@pytest.mark.benchmark(group="kernel")
def test_prepare_a_batch(benchmark: BenchmarkFixture) -> None:
    """The records of 64 samples with 3 windows."""
    slope, bias = np.ones(64), np.full(64, 32768)

    def records() -> None:
        prepare.windows([Voi.LINEAR] * 3, CENTRES, WIDTHS, slope=slope, intercept=-1024.0, bias=bias)
        prepare.samples(np.full(64, 512), 512, level=1)

    benchmark(records)
    if benchmark.stats is not None:
        benchmark.extra_info["us/sample"] = round(benchmark.stats.stats.median / 64 * 1e6, 2)
