"""What the codecs cost on this machine, one thread: encode, decode by resolution level, cut, checksum, raw beside them.

The slice is a generated 512 x 512 chest phantom of 12 bits with the noise of a thin CT slice, so the figures need no data.
Run: pytest benchmarks/bench_codec.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from radload.codecs import Encoded, crc32c, decode_stored, encode
from radload.codecs.codestream import cut, level_shape
from radload.codecs.htj2k import decode
from radload.dataset.schema import LEVELS

pytestmark = pytest.mark.benchmark(group="codec")
SIDE = 512


def ellipse(centre: tuple[float, float], radii: tuple[float, float]) -> NDArray[np.bool_]:
    """Pixels of an ellipse, (512, 512); centre (row, column) and radii as fractions of the side."""
    rows, cols = np.indices((SIDE, SIDE)) / SIDE
    inside: NDArray[np.bool_] = ((rows - centre[0]) / radii[0]) ** 2 + ((cols - centre[1]) / radii[1]) ** 2 <= 1
    return inside


def chest_phantom() -> NDArray[np.uint16]:
    """A chest slice in stored units (HU + 1000), 0..4095, with correlated noise (sigma 25 HU) and air around the table."""
    rng = np.random.default_rng(0)
    hu = np.full((SIDE, SIDE), -1000.0)
    hu[ellipse((0.5, 0.5), (0.33, 0.45))] = -90  # fat
    hu[ellipse((0.5, 0.5), (0.30, 0.42))] = 50  # muscle
    hu[ellipse((0.48, 0.30), (0.21, 0.14))] = -850  # lungs
    hu[ellipse((0.48, 0.70), (0.21, 0.14))] = -850
    hu[ellipse((0.45, 0.54), (0.12, 0.10))] = 120  # heart with contrast
    hu[ellipse((0.70, 0.50), (0.06, 0.05))] = 400  # vertebra
    for _ in range(120):  # vessels
        row, col = rng.uniform(0.30, 0.66), rng.choice([0.30, 0.70]) + rng.uniform(-0.11, 0.11)
        hu[ellipse((row, col), tuple(rng.uniform(0.002, 0.008, 2)))] = 40
    noise = rng.normal(0, 1, (SIDE, SIDE))
    for axis in (0, 1):  # a reconstruction kernel correlates neighbours
        noise = 0.5 * noise + 0.25 * (np.roll(noise, 1, axis) + np.roll(noise, -1, axis))
    hu += noise * (25 / noise.std())
    return (hu + 1000).round().clip(0, 4095).astype(np.uint16)


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint16]:
    return chest_phantom()


@pytest.fixture(scope="module")
def htj2k(image: NDArray[np.uint16]) -> Encoded:
    return encode(image, "htj2k")


def prefix(encoded: Encoded, level: int) -> bytes:
    return encoded.data[: encoded.level_end[level - 1]] if level else encoded.data


def measure(benchmark: BenchmarkFixture, work: Callable[[], object], needed: int, raw: int) -> None:
    """Time `work`, and note slices per second and the bytes that it reads or writes."""
    benchmark(work)
    benchmark.extra_info["bytes"] = needed
    benchmark.extra_info["share of raw"] = round(needed / raw, 4)
    if benchmark.stats is not None:  # None where benchmarks are disabled
        benchmark.extra_info["slices/s"] = round(1 / benchmark.stats.stats.median)


def test_encode_htj2k(benchmark: BenchmarkFixture, image: NDArray[np.uint16], htj2k: Encoded) -> None:
    measure(benchmark, lambda: encode(image, "htj2k"), len(htj2k.data), image.nbytes)


def test_encode_raw(benchmark: BenchmarkFixture, image: NDArray[np.uint16]) -> None:
    measure(benchmark, lambda: encode(image, "raw"), len(encode(image, "raw").data), image.nbytes)


@pytest.mark.parametrize("level", range(LEVELS + 1))
def test_decode_level(benchmark: BenchmarkFixture, image: NDArray[np.uint16], htj2k: Encoded, level: int) -> None:
    data, out = prefix(htj2k, level), np.empty(level_shape(image.shape, level), np.uint16)
    measure(benchmark, lambda: decode(data, level, out), len(data), image.nbytes)
    if level == 0:
        np.testing.assert_array_equal(out - np.uint16(htj2k.bias), image)


def test_decode_raw(benchmark: BenchmarkFixture, image: NDArray[np.uint16]) -> None:
    raw = encode(image, "raw")

    def work() -> NDArray[np.generic]:
        return decode_stored(raw.data, raw.codec, bias=0, dtype="u2", shape=image.shape)

    measure(benchmark, work, len(raw.data), image.nbytes)
    np.testing.assert_array_equal(work(), image)


@pytest.mark.parametrize("level", range(1, LEVELS + 1))
def test_cut(benchmark: BenchmarkFixture, image: NDArray[np.uint16], htj2k: Encoded, level: int) -> None:
    data = prefix(htj2k, level)
    measure(benchmark, lambda: cut(data, level), len(data), image.nbytes)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_checksum(benchmark: BenchmarkFixture, image: NDArray[np.uint16], htj2k: Encoded, level: int) -> None:
    data = prefix(htj2k, level)
    measure(benchmark, lambda: crc32c(data), len(data), image.nbytes)
    assert crc32c(data) == htj2k.level_crc[level]
