"""The fused kernel on the CPU (Numba, GIL released): agrees with reference.render to 1e-5 in units of y.

Each source row inside the crop is windowed once per plane into a small ring of rows, the vertical taps run over whole contiguous rows
of the ring, 16 rows of the result at once are resampled horizontally, one in each lane, and mean and deviation ride on the way out.
Planes with equal windows are computed once. Rotated samples are rendered by turned.py, gamma and noise added by noise.py. A call
crosses the GIL once, and once for each of those two where a sample asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from radload.kernels import columns, noise, rows, turned
from radload.kernels.jit import Array, Record, checksum, entry, float32_at, jit, uint32_at
from radload.kernels.lanes import LANES, drain
from radload.kernels.prepare import (
    CURVED,
    FLIP_HORIZONTAL,
    FLIP_VERTICAL,
    NO_TABLES,
    NOISY,
    SAMPLE,
    TURNED,
    WINDOW,
)
from radload.kernels.rounding import to_bfloat16 as to_bfloat16
from radload.kernels.rounding import to_float16 as to_float16
from radload.kernels.taps import fill, span

# What a source may be, and its code for the compiled part; callers cast the rest.
DTYPES = {
    np.dtype("u1"): rows.UINT8,
    np.dtype("<u2"): rows.UINT16,
    np.dtype("<i2"): rows.INT16,
    np.dtype("<f4"): rows.FLOAT32,
}
UNROLLED = 5  # vertical taps that are summed in one go
RING = 32  # rows kept windowed; an axis with more taps (a scale above 16) windows each row about twice instead


class Scratch:
    """Working memory of one thread: grows to what the largest sample needs and is used again. Not to be shared by threads.

    It also remembers the taps of the sample before, per axis, so a batch of equal sizes without crops computes them once.
    """

    __slots__ = ("first", "memo", "tags", "weight", "work")

    def __init__(self) -> None:
        self.first = np.empty((2, 0), np.uint32)
        self.weight = np.empty((2, 0), np.float32)
        self.work = np.empty(0, np.float32)
        self.tags = np.empty(0, np.int64)
        self.memo = np.full((2, 9), np.nan)

    def holds(self, outputs: int, weights: int, work: int, tags: int) -> bool:
        """Whether the buffers are so many elements long."""
        long = self.first.shape[1] >= outputs and self.weight.shape[1] >= weights
        return long and len(self.work) >= work and len(self.tags) >= tags

    def grow(self, outputs: int, weights: int, work: int, tags: int) -> None:
        """Makes the buffers at least so many elements long and forgets the taps."""
        self.first = np.empty((2, max(outputs, self.first.shape[1])), np.uint32)
        self.weight = np.empty((2, max(weights, self.weight.shape[1])), np.float32)
        self.work = np.empty(max(work, self.work.size), np.float32)
        self.tags = np.empty(max(tags, self.tags.size), np.int64)
        self.memo[:] = np.nan


@jit
def _axis(
    n_in: int,
    level: int,
    start: float,
    extent: float,
    n_out: int,
    mirrored: bool,
    first: Array,
    weight: Array,
    memo: Array,
) -> tuple[int, int, int]:
    """Taps of one axis, kept from the sample before where `memo` (9,) says that they are the same. Returns (lo, hi, count)."""
    same = memo[0] == n_in and memo[1] == level and memo[2] == start and memo[3] == extent and memo[4] == n_out
    if same and memo[5] == mirrored:
        return int(memo[6]), int(memo[7]), int(memo[8])
    lo, hi, count = span(n_in, level, start, extent, n_out)
    fill(level, start, extent, n_out, mirrored, lo, hi, count, first, weight)
    memo[0], memo[1], memo[2], memo[3], memo[4], memo[5] = n_in, level, start, extent, n_out, mirrored
    memo[6], memo[7], memo[8] = lo, hi, count
    return lo, hi, count


@jit
def work_size(planes: int, taps: int, inner: int, width: int) -> int:
    """Elements of working memory for a sample of `taps` vertical taps and `inner` columns inside the crop."""
    blocks = planes * (min(taps, RING) + LANES) * columns.padded(inner)
    return int(blocks + columns.room(inner, width) + LANES)  # LANES: to begin where a vector does


@jit
def _render(
    source: Array,
    sample: Record,
    windows: Record,
    tables: Array,
    norm: Array,
    out: Array,
    first: Array,
    weight: Array,
    work: Array,
    tags: Array,
    memo: Array,
    streamed: bool,
) -> None:
    """One sample. source (4,) int64: address, dtype code, rows, cols; windows (C,); norm (C, 2); out (C, height, width).

    streamed: `out` is written past the caches where it can be.
    """
    planes, height, width = out.shape
    streamed = streamed and columns.streams(out.ctypes.data, width)
    flip = sample.flip
    lo, _, taps = _axis(source[2], sample.level, sample.top, sample.height, height, False, first[0], weight[0], memo[0])
    left, right, across = _axis(
        source[3],
        sample.level,
        sample.left,
        sample.width,
        width,
        flip & FLIP_HORIZONTAL != 0,
        first[1],
        weight[1],
        memo[1],
    )
    slots, inner = min(taps, RING), right - left
    stride, plane = columns.padded(inner), width * height
    aligned = (work.ctypes.data + 4 * LANES - 1) & -(4 * LANES)  # a vector across two cache lines takes two loads
    ring = numba.carray(float32_at(aligned), (planes, slots, stride))
    blocks = numba.carray(float32_at(aligned + 4 * planes * slots * stride), (planes, LANES, stride))
    rest = aligned + 4 * planes * (slots + LANES) * stride
    twin = tags[RING:]
    for c in range(planes):
        twin[c] = rows.twin(windows, c)
    tags[:RING] = -1
    for begin in range(max(sample.row_first, 0), min(sample.row_end, height), LANES):
        filled = min(min(sample.row_end, height) - begin, LANES)
        for r in range(filled):
            o = np.uint64(begin + r)  # unsigned, so that Numba knows that it does not count from the end
            y, done = lo + np.int64(first[0, o]), 0
            while done < taps:
                group = taps if taps <= UNROLLED else min(4, taps - done)
                for k in range(y + done, y + done + group):
                    slot = k % slots
                    if tags[slot] != k:
                        tags[slot] = k
                        for c in range(planes):
                            if twin[c] == c:
                                rows.window_row(
                                    source[0],
                                    source[1],
                                    k * source[3] + left,
                                    windows[c],
                                    sample.padding_first,
                                    sample.padding_last,
                                    tables,
                                    ring[c, slot, :inner],
                                )
                for c in range(planes):
                    if twin[c] == c:
                        at = np.int64(o) * taps + done
                        rows.blend(ring[c], int(y + done), weight[0, at:], group, done > 0, blocks[c, r])
                done += group
        step = -width if flip & FLIP_VERTICAL != 0 else width
        to = out.ctypes.data + 4 * width * (height - 1 - begin if flip & FLIP_VERTICAL != 0 else begin)
        for c in range(planes):
            if twin[c] == c:
                asked, apart = (rest, LANES) if streamed else (to + 4 * c * plane, step)
                columns.resample(blocks[c].ctypes.data, inner, first[1], weight[1], across, width, rest, asked, apart)
                for d in range(c, planes):
                    if twin[d] == c:
                        columns.store(rest, filled, norm[d, 0], norm[d, 1], to + 4 * d * plane, step, width, streamed)


def _compile(version: int) -> Callable[..., tuple[int, int, int, int]]:
    """The compiled part's one entry; see jit.entry for `version`."""

    @entry
    def render_all(
        sources: Array,
        samples: Record,
        windows: Record,
        tables: Array,
        norm: Array,
        out: Array,
        first: Array,
        weight: Array,
        work: Array,
        tags: Array,
        memo: Array,
        streamed: bool,
    ) -> tuple[int, int, int, int]:
        """All samples of a call. Returns what the scratch must hold, and has rendered nothing where it holds less.

        A source that is not its sample's level ends it before anything is read: the first number returned is -1 less which.

        sources (N, 4) int64; samples (N,) SAMPLE; windows (N or 1, C) WINDOW; out (N, C, height, width) float32.
        """
        if version < 0:  # never: it makes `version` part of the cache's key
            return 0, 0, 0, 0
        planes, height, width = out.shape[1], out.shape[2], out.shape[3]
        outputs, weights, working, tagged = max(height, width), 0, 0, RING + planes
        for n in range(len(samples)):
            s = samples[n]
            rounding = (1 << s.level) - 1
            if sources[n, 2] != (s.rows + rounding) >> s.level or sources[n, 3] != (s.cols + rounding) >> s.level:
                return -1 - n, 0, 0, 0
            _, _, taps = span(sources[n, 2], s.level, s.top, s.height, height)
            left, right, across = span(sources[n, 3], s.level, s.left, s.width, width)
            weights = max(weights, height * taps, width * across)
            working = max(working, work_size(planes, taps, right - left, width))
        if first.shape[1] >= outputs and weight.shape[1] >= weights and len(work) >= working and len(tags) >= tagged:
            # The same memory without its owner: a slice of an owned array counts references with atomic operations, a third of the time.
            results = numba.carray(float32_at(out.ctypes.data), out.shape)
            pool = numba.carray(float32_at(tables.ctypes.data), tables.shape)
            starts = numba.carray(uint32_at(first.ctypes.data), first.shape)
            factors = numba.carray(float32_at(weight.ctypes.data), weight.shape)
            rest = numba.carray(float32_at(work.ctypes.data), work.shape)
            for n in range(len(samples)):
                if samples[n].effects & TURNED != 0:
                    continue  # see turned.py
                w = windows[n if len(windows) > 1 else 0]
                s = samples[n]
                past = streamed and s.effects == 0  # gamma and noise read it again
                _render(sources[n], s, w, pool, norm, results[n], starts, factors, rest, tags, memo, past)
                if s.row_first > 0 or s.row_end < height or s.col_first > 0 or s.col_end < width:
                    rows.floor_outside(s, norm, results[n])
            if streamed:
                drain()
        return outputs, weights, working, tagged

    return render_all


_render_all = _compile(checksum("taps", "lanes", "rows", "columns", "cpu"))


def _source(array: NDArray[np.generic]) -> tuple[int, int, int, int]:
    """Address, dtype code, rows, cols; the compiled part compares the latter with the sample's."""
    code = DTYPES.get(array.dtype)
    if code is None or array.ndim != 2 or not array.flags.c_contiguous:
        raise ValueError(
            "a source must be contiguous (h, w) of uint8, uint16, int16 or float32, "
            f"not {array.dtype} of shape {array.shape}; cast or copy it first"
        )
    return (array.__array_interface__["data"][0], code, *array.shape)


def _wrong(n: int, sources: NDArray[np.int64], samples: NDArray[np.void]) -> ValueError:
    s = samples[n]
    return ValueError(
        f"source {n} of {sources[n, 2]}x{sources[n, 3]} is not level {s['level']} of an image of {s['rows']}x{s['cols']}"
    )


def _own(array: Array) -> Array:
    """Contiguous and writeable: one type per argument; a read-only array would compile everything a second time."""
    flags = array.flags
    return array if flags.c_contiguous and flags.writeable else np.require(array, requirements=("C", "W"))


class Batch:
    """What N samples are rendered by, checked once, however many calls render them: a check of one sample took 4 microseconds.

    To be shared by threads. Its arrays must not change.

    Args:
        samples: (N,) from prepare.samples. windows: (N, C) or (1, C) from prepare.windows. norm: (C, 2) from prepare.normalisation.
        tables: (entries,) the batch's pool of tables.

    Raises:
        ValueError: arrays of other types or shapes than these.
    """

    __slots__ = ("_effects", "_norm", "_samples", "_tables", "_windows")

    def __init__(
        self,
        samples: NDArray[np.void],
        windows: NDArray[np.void],
        norm: NDArray[np.float32],
        tables: NDArray[np.float32] = NO_TABLES,
    ) -> None:
        if samples.dtype != SAMPLE or samples.ndim != 1:
            raise ValueError(f"samples {samples.shape} of {samples.dtype} are no (N,) SAMPLE")
        if windows.dtype != WINDOW or windows.ndim != 2 or len(windows) not in (len(samples), 1):
            raise ValueError(f"windows {windows.shape} of {windows.dtype} do not fit {len(samples)} samples")
        if norm.dtype != np.float32 or norm.shape != (windows.shape[1], 2):
            raise ValueError(f"norm {norm.shape} of {norm.dtype} is not float32 (C, 2) of windows {windows.shape}")
        if tables.dtype != np.float32 or tables.size < 1:
            raise ValueError("tables must be float32 with at least one entry")
        self._samples, self._windows, self._norm, self._tables = map(_own, (samples, windows, norm, tables))
        self._effects: list[int] = samples["effects"].tolist()

    def __len__(self) -> int:
        return len(self._samples)

    def render(
        self,
        first: int,
        coded: Sequence[NDArray[np.generic]],
        out: NDArray[np.float32],
        scratch: Scratch,
        streamed: bool = False,
    ) -> None:
        """Samples `first` and on, one after the other, in one call without the GIL.

        Args:
            coded: n arrays (h, w), C-contiguous, uint8, uint16, int16 or float32, each level samples["level"] of its image.
            out: (n, C, height, width) float32, C-contiguous, written whole. scratch: this thread's.
            streamed: this core will not read `out` soon: it is written past the caches, which need not fetch it before.

        Raises:
            ValueError: arrays of other types or shapes than these, or samples that there are not.
        """
        flags, shape, planes = out.flags, out.shape, len(self._norm)
        if len(shape) != 4 or out.dtype != np.float32 or not (flags.c_contiguous and flags.writeable):
            raise ValueError("out must be writeable, contiguous float32 of (N, C, height, width)")
        if shape[1] != planes or not (planes and shape[2] and shape[3]):
            raise ValueError(f"out {shape} has no pixels, or not the {planes} planes of the windows")
        stop = first + len(coded)
        if len(coded) != shape[0] or not 0 <= first <= stop <= len(self._samples):
            raise ValueError(
                f"{len(coded)} sources from sample {first} of {len(self._samples)} on do not fit an out of {shape[0]}"
            )
        samples = self._samples[first:stop]
        windows = self._windows[first:stop] if len(self._windows) > 1 else self._windows
        sources = np.array([_source(array) for array in coded], np.int64).reshape(-1, 4)
        fixed, s = (samples, windows, self._tables, self._norm), scratch
        need = _render_all(sources, *fixed, out, s.first, s.weight, s.work, s.tags, s.memo, streamed)
        if need[0] < 0:
            raise _wrong(-1 - need[0], sources, samples)
        if not s.holds(*need):
            s.grow(*need)
            _render_all(sources, *fixed, out, s.first, s.weight, s.work, s.tags, s.memo, streamed)
        effects = 0
        for one in self._effects[first:stop]:
            effects |= one
        if effects & TURNED:
            s.work = turned.turn(sources, *fixed, out, s.work)
        if effects & (CURVED | NOISY):
            noise.finish(samples, self._norm, out)


def render_many(
    coded: Sequence[NDArray[np.generic]],
    samples: NDArray[np.void],
    windows: NDArray[np.void],
    norm: NDArray[np.float32],
    out: NDArray[np.float32],
    *,
    tables: NDArray[np.float32] = NO_TABLES,
    scratch: Scratch | None = None,
) -> None:
    """Renders all N samples of a `Batch`. Arguments and errors: as there; scratch: a new one where None."""
    if len(coded) != len(samples):
        raise ValueError(f"{len(coded)} sources do not fit {len(samples)} samples")
    Batch(samples, windows, norm, tables).render(0, coded, out, scratch if scratch is not None else Scratch())


def render_into(
    coded: NDArray[np.generic],
    sample: NDArray[np.void],
    windows: NDArray[np.void],
    norm: NDArray[np.float32],
    out: NDArray[np.float32],
    *,
    tables: NDArray[np.float32] = NO_TABLES,
    scratch: Scratch | None = None,
) -> None:
    """One sample: `sample` is (1,) SAMPLE (a slice i:i+1 of a batch's), `windows` (1, C) WINDOW, `out` (C, height, width) float32.

    Otherwise as render_many, errors included.
    """
    render_many([coded], sample, windows, norm, out[None], tables=tables, scratch=scratch)
