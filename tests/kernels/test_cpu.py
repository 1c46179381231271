"""The CPU kernel is the reference to 1e-5 in units of y: every size, level, crop, flip, window and dtype, any number of threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from kernel_cases import Case, cases, random_case

from radload.kernels import cpu, prepare, reference
from radload.kernels.prepare import Voi
from radload.kernels.reference import Window


def rendered(case: Case, scratch: cpu.Scratch | None = None) -> np.ndarray:
    samples, windows, norm, pool = case.records()
    out = np.full((len(case.windows), *case.size), np.nan, np.float32)
    cpu.render_into(case.coded, samples, windows, norm, out, tables=pool, scratch=scratch)
    return out


def assert_close(got: np.ndarray, case: Case) -> None:
    case.assert_close(got)


@settings(deadline=None, max_examples=300)
@given(cases)
def test_random_cases(case: Case) -> None:
    assert_close(rendered(case), case)


def test_one_scratch_serves_any_sequence_of_cases() -> None:
    """Buffers grow and the remembered taps are only used where they fit."""
    rng, scratch = np.random.default_rng(5), cpu.Scratch()
    for _ in range(150):
        case = random_case(rng)
        assert np.array_equal(rendered(case, scratch), rendered(case))
        assert np.array_equal(rendered(case, scratch), rendered(case, scratch))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_narrow_windows_at_every_coded_value(dtype: str) -> None:
    """Sizes are equal, so each output is one window of one value."""
    low, high = (-32768, 65535) if dtype == "float32" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    coded = np.resize(np.arange(low, high + 1), (256, 384)).astype(dtype)
    for centre, width in ((high - 3.0, 2.0), (high - 40.5, 80.0), (low + 17.0, 1.0), (high / 2, 33.3)):
        windows = (
            Window(Voi.LINEAR, centre, width),
            Window(Voi.LINEAR_EXACT, centre, width),
            Window(Voi.SIGMOID, centre, width),
        )
        case = Case(coded, windows, coded.shape, {})
        assert_close(rendered(case), case)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 1), (224, 224)),
        ((1, 8192), (7, 224)),
        ((8192, 3), (1, 5)),
        ((700, 5), (3, 9)),
        ((2, 3), (512, 300)),
        ((97, 1031), (1, 1)),
    ],
)
def test_extreme_sizes(shape: tuple[int, int], size: tuple[int, int]) -> None:
    coded = np.random.default_rng(0).integers(0, 4096, shape, np.uint16)
    case = Case(coded, (Window(Voi.LINEAR, 2000, 3000), Window(Voi.LINEAR, 100, 4)), size, {"padding": (0, 5)})
    assert_close(rendered(case), case)


def test_8192_to_224() -> None:
    """The reference in blocks of rows, which is the same sum: whole, it needs gigabytes of float64."""
    n, size = 8192, 224
    coded = np.random.default_rng(0).integers(0, 256, (n, n), np.uint8)
    coded[:, : n // 2] |= 0xF0  # half of it nearly white, where sums of many float32 terms are longest
    w = reference.weights(n, 0, n, 0, n, size)
    y = reference.voi(np.arange(256), Voi.LINEAR, 128, 200)  # of every value there is
    want = np.zeros((size, n))
    for row in range(0, n, 512):
        block = slice(row, row + 512)
        used = np.flatnonzero(w[:, block].any(axis=1))
        want[used] += w[used, block] @ y[coded[block]]
    got = rendered(Case(coded, (Window(Voi.LINEAR, 128, 200),), (size, size), {}))
    assert np.abs(got[0] - want @ w.T).max() < 1e-5


def test_equal_windows_are_one_computation_with_each_plane_s_own_normalisation() -> None:
    coded = np.random.default_rng(0).integers(0, 4096, (60, 50), np.uint16)
    window = Window(Voi.LINEAR, 2000, 3000)
    case = Case(
        coded, (window, Window(Voi.SIGMOID, 99, 9), window), (31, 20), {"mean": [0.1, 0.2, 0.3], "std": [0.2, 0.4, 0.5]}
    )
    got = rendered(case)
    assert_close(got, case)
    assert np.allclose(got[0] * 0.2 + 0.1, got[2] * 0.5 + 0.3, atol=1e-6)


def test_a_ragged_batch_is_its_samples() -> None:
    rng = np.random.default_rng(7)
    batch = [random_case(rng, planes=2, size=(20, 30)) for _ in range(40)]
    records = [case.records() for case in batch]
    pool = np.concatenate([r[3] for r in records])
    windows = np.concatenate([r[1] for r in records])
    windows["start"] += np.cumsum([0, *(len(r[3]) for r in records)])[:-1, None]
    out = np.empty((40, 2, 20, 30), np.float32)
    norm = prepare.normalisation([0.5, 0.25], [0.2, 0.3])
    samples = np.concatenate([r[0] for r in records])
    for array in (samples, windows, norm, pool):
        array.flags.writeable = False  # as records from a mapped file are
    cpu.render_many([case.coded for case in batch], samples, windows, norm, out, tables=pool)
    for i, case in enumerate(batch):
        one = Case(case.coded, case.windows, case.size, {**case.options, "mean": [0.5, 0.25], "std": [0.2, 0.3]})
        assert np.array_equal(out[i], rendered(one))


@pytest.mark.parametrize("size", [(40, 48), (33, 224), (20, 30)])
def test_a_batch_past_the_caches_is_the_same(size: tuple[int, int]) -> None:
    """With gamma and noise too, which read what the kernel has written; and where rows are no whole cache lines."""
    rng = np.random.default_rng(11)
    coded = [rng.integers(0, 4096, (50 + i, 60), np.uint16) for i in range(6)]
    crops = [(5, -3.5, 30, 50), (0, 0, 50, 60), (-20, 0, 60, 60), (0, 0, 50, 60), (0, 0, 50, 60), (1, 1, 9, 9)]
    samples = prepare.samples(
        [len(one) for one in coded], 60, crop=crops, flip=[0, 1, 2, 3, 0, 0], size=size, gamma=[1, 1, 1, 1, 1.4, 1],
        noise=[0, 0, 0, 0, 0, 0.1], key=[(i, 1) for i in range(6)],
    )  # fmt: skip
    windows = prepare.windows([Voi.LINEAR] * 3, [2000, 100, 2000], [3000, 20, 3000])
    norm, scratch = prepare.normalisation([0.5, 0.1, 0.2], [0.2, 0.3, 0.4]), cpu.Scratch()
    want = np.empty((6, 3, *size), np.float32)
    cpu.render_many(coded, samples, windows, norm, want)
    memory = np.full(want.size + 64, -99, np.float32)
    begin = -memory.ctypes.data // 4 % 16
    batch = cpu.Batch(samples, windows, norm)
    assert len(batch) == 6
    for offset in (0, 3):
        memory[:] = -99
        got = memory[begin + offset : begin + offset + want.size].reshape(want.shape)
        for first, stop in ((0, 1), (1, 4), (4, 6)):
            batch.render(first, coded[first:stop], got[first:stop], scratch, streamed=True)
        assert np.array_equal(got, want)
        assert (memory == -99).sum() == 64


def test_samples_that_a_batch_has_not_are_refused() -> None:
    coded, norm = np.zeros((8, 8), np.uint16), prepare.normalisation(0, 1)
    batch = cpu.Batch(prepare.samples([8, 8], 8), prepare.windows([Voi.LINEAR], [0], [9]), norm)
    out = np.full((2, 1, 4, 4), 7, np.float32)
    for first, count in ((2, 1), (-1, 1), (1, 2)):
        with pytest.raises(ValueError, match="sample"):
            batch.render(first, [coded] * count, out[:count], cpu.Scratch())
    with pytest.raises(ValueError, match="planes"):
        batch.render(0, [coded], np.full((1, 2, 4, 4), 7, np.float32), cpu.Scratch())
    assert (out == 7).all()


def test_four_threads_give_what_one_gives() -> None:
    rng = np.random.default_rng(3)
    batch = [random_case(rng) for _ in range(64)]
    want = [rendered(case) for case in batch]

    def run(offset: int) -> bool:
        scratch = cpu.Scratch()
        order = [(i * 5 + offset) % 64 for i in range(64)] * 3
        return all(np.array_equal(rendered(batch[i], scratch), want[i]) for i in order)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(4)))


def test_arrays_that_would_be_overrun_are_refused() -> None:
    coded, norm = np.zeros((8, 8), np.uint16), prepare.normalisation(0, 1)
    windows, out = prepare.windows([Voi.LINEAR], [0], [9]), np.zeros((1, 4, 4), np.float32)
    good = prepare.samples(8, 8)
    cpu.render_into(coded, good, windows, norm, out)
    for bad in (coded[::2], coded.astype(np.float64), coded.astype(">u2"), coded[None], coded[:7].copy()):
        with pytest.raises(ValueError, match="source"):
            cpu.render_into(bad, good, windows, norm, out)
    with pytest.raises(ValueError, match="level"):
        cpu.render_into(coded, prepare.samples(8, 8, level=1), windows, norm, out)
    with pytest.raises(ValueError, match="out"):
        cpu.render_into(coded, good, windows, norm, out[:, ::2])
    with pytest.raises(ValueError, match="windows"):
        cpu.render_into(coded, good, np.repeat(windows, 2, axis=1), norm, out)
    with pytest.raises(ValueError, match="norm"):
        cpu.render_into(coded, good, windows, norm.astype(np.float64), out)
    with pytest.raises(ValueError, match="sources"):
        cpu.render_many([coded, coded], good, windows, norm, out[None])


def test_nothing_is_written_beside_the_planes() -> None:
    rng = np.random.default_rng(11)
    for _ in range(60):
        case = random_case(rng)
        samples, windows, norm, pool = case.records()
        shape = (len(case.windows), *case.size)
        memory = np.full(64 + int(np.prod(shape)) + 64, -77, np.float32)
        out = memory[64:-64].reshape(shape)
        cpu.render_into(case.coded, samples, windows, norm, out, tables=pool)
        assert_close(out, case)
        assert (memory[:64] == -77).all() and (memory[-64:] == -77).all()
