"""float32 is rounded to float16 as NumPy does it and to bfloat16 as torch does it, for every kind of number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from radload.kernels import rounding


@pytest.fixture(scope="module")
def numbers() -> NDArray[np.float32]:
    """Random bits; every float16, its neighbours in float32 and the ties between float16s; overflow, NaN, infinity, both zeros."""
    rng = np.random.default_rng(0)
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = ((halves[1:].astype(np.float64) + halves[:-1]) / 2).astype(np.float32)
    exact = np.concatenate([halves, ties])
    near = np.concatenate([exact, np.nextafter(exact, np.float32(np.inf)), np.nextafter(exact, np.float32(-1))])
    odd = np.array(
        [0x3F808000, 0x3F818000, 0x7F7FFFFF, 0x7FC00001, 0x7F800001, 0x7F800000, 0x477FEFFF, 0x477FF000], np.uint32
    )
    return np.concatenate(
        [rng.integers(0, 2**32, 100_000, np.uint32).view(np.float32), near, -near, odd.view(np.float32)]
    )


def test_float16(numbers: NDArray[np.float32]) -> None:
    got = np.empty(numbers.shape, np.float16)
    rounding.to_float16(numbers, got)
    with np.errstate(over="ignore", invalid="ignore"):
        want = numbers.astype(np.float16)
    nan = np.isnan(want)
    assert np.array_equal(np.isnan(got), nan)
    assert np.array_equal(got[~nan].view(np.uint16), want[~nan].view(np.uint16))


def test_bfloat16(numbers: NDArray[np.float32]) -> None:
    bits = np.empty(numbers.shape, np.uint16)
    rounding.to_bfloat16(numbers, bits)
    want = torch.from_numpy(numbers).to(torch.bfloat16)
    got = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)
    assert torch.equal(got.isnan(), want.isnan())
    assert torch.equal(got[~got.isnan()], want[~want.isnan()])


def test_what_does_not_fit_is_refused() -> None:
    source = np.zeros((4, 4), np.float32)
    with pytest.raises(ValueError, match="float16"):
        rounding.to_float16(source, np.zeros((4, 4), np.uint16))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="uint16"):
        rounding.to_bfloat16(source, np.zeros(15, np.uint16))
    with pytest.raises(ValueError, match="contiguous"):
        rounding.to_bfloat16(source[:, ::2], np.zeros(8, np.uint16))
