"""The horizontal pass over 16 rows at once is the sum that it should be, and writes nothing but its rows and columns."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from radload.kernels import columns, lanes


@numba.njit
def _run(block, inner, first, weight, count, width, work, rows, scale, shift, target, step, streamed):  # type: ignore[no-untyped-def]
    columns.resample(block, inner, first, weight, count, width, work, target, step)
    columns.store(work, rows, scale, shift, target, step, width, streamed)
    lanes.drain()


@numba.njit
def _room(inner, width):  # type: ignore[no-untyped-def]
    return columns.padded(inner), columns.room(inner, width)


@numba.njit
def _streams(target, width):  # type: ignore[no-untyped-def]
    return columns.streams(target, width)


@numba.njit
def _transpose(source, step, target, along):  # type: ignore[no-untyped-def]
    lanes.transpose(source, step, target, along)


def test_transpose_moves_every_value() -> None:
    source = np.arange(16 * 21, dtype=np.float32).reshape(16, 21)
    target = np.full((16, 19), -1, np.float32)
    _transpose(source.ctypes.data, 21, target.ctypes.data, 19)
    assert np.array_equal(target[:, :16], source[:, :16].T)
    assert (target[:, 16:] == -1).all()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 19])
@pytest.mark.parametrize(("inner", "width"), [(20, 1), (32, 16), (41, 37), (64, 48)])
@pytest.mark.parametrize("rows", [1, 15, 16])
@pytest.mark.parametrize("upwards", [False, True])
def test_sums_of_neighbours(count: int, inner: int, width: int, rows: int, upwards: bool) -> None:
    rng = np.random.default_rng(count * 1000 + inner)
    stride, room = _room(inner, width)
    block = rng.normal(size=(16, stride)).astype(np.float32)
    block[rows:] = np.nan  # rows that are not asked for, and values behind the row, must not spread
    block[:, inner:] = np.nan
    first = rng.integers(0, inner - count, width, np.uint32, endpoint=True)
    weight = rng.random((width, count), np.float32)
    scale, shift, guard = np.float32(1.7), np.float32(-0.3), np.float32(-99)
    out = np.full((20, width + 5), guard, np.float32)
    work = np.full(room + 16, np.nan, np.float32)
    step = -out.shape[1] if upwards else out.shape[1]
    begin = 2 + rows - 1 if upwards else 2
    _run(
        block.ctypes.data, inner, first, weight.ravel(), count, width, work.ctypes.data, rows, scale, shift,
        out[begin, 3:].ctypes.data, step, False,
    )  # fmt: skip
    taps = first[:, None].astype(np.int64) + np.arange(count)
    want = (block[:rows, taps].astype(np.float64) * weight).sum(axis=2) * scale + shift
    got = out[2 : 2 + rows, 3 : 3 + width]
    assert np.abs((got[::-1] if upwards else got) - want).max() < 1e-5
    out[2 : 2 + rows, 3 : 3 + width] = guard
    assert (out == guard).all()
    assert np.isnan(work[room:]).all()


@pytest.mark.parametrize("rows", [15, 16])
@pytest.mark.parametrize("upwards", [False, True])
def test_past_the_caches_the_same_is_written(rows: int, upwards: bool) -> None:
    rng = np.random.default_rng(3)
    inner, width, count = 64, 48, 3
    stride, room = _room(inner, width)
    block = rng.normal(size=(16, stride)).astype(np.float32)
    first = rng.integers(0, inner - count, width, np.uint32, endpoint=True)
    weight = rng.random((width, count), np.float32)
    memory = np.full(21 * 80, -99, np.float32)
    begin = -memory.ctypes.data // 4 % 16
    out = memory[begin : begin + 20 * 80].reshape(20, 80)  # rows begin where cache lines do
    assert _streams(out[1, 16:].ctypes.data, width) and not _streams(out[1, 17:].ctypes.data, width)
    assert not _streams(out.ctypes.data, width + 8)
    found, work = [], np.empty(room + 16, np.float32)
    for streamed in (False, True):
        memory[:] = -99
        _run(
            block.ctypes.data, inner, first, weight.ravel(), count, width, work.ctypes.data,
            rows, np.float32(1.7), np.float32(-0.3), out[rows if upwards else 1, 16:].ctypes.data, -80 if upwards else 80,
            streamed,
        )  # fmt: skip
        found.append(memory.copy())
    assert np.array_equal(*found) and (out[1 : 1 + rows, 16:64] != -99).all()
    assert (found[0] == -99).sum() == memory.size - rows * width
