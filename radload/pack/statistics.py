"""Statistics of a series in modality units: what percentile windows (MR) and reports read, gathered while its slices are packed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from radload.pack.aside import Aside, Later
from radload.pack.foreground import OUTSIDE_FIELD, foreground, moments
from radload.sources.slice import SeriesAttributes, Slice, Units

_HISTOGRAM_SPAN: Final = 1 << 17  # stored integers are counted by value up to this span (16-bit data always)
_WORDS: Final = (np.dtype("u2"), np.dtype("i2"))  # what a compiled function counts
_MAX_ENTRIES: Final = 1 << 22  # distinct (value, weight) pairs kept: 64 MiB
_LANES, _SPAN = 4, 1 << 16  # of a histogram, as kernels.histogram has them
_PLAIN = (
    5_000  # slices that a process counts before it loads Numba, which takes 0.24 s, for 0.1 to 0.25 ms less per slice
)
_FEW, _MANY = (
    1 << 12,
    1 << 15,
)  # Arrow counts words of at most so many values, of at least so many pixels, sooner than NumPy does
_SAMPLE_PER_SLICE: Final = 16_384  # values that stand for a slice of floats

ToModality = Callable[[NDArray[Any]], NDArray[np.float64]]
_Count = Callable[[NDArray[Any], int, NDArray[np.int64]], None]

_counted = itertools.count(1)  # slices of this process


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistics fields of SERIES_RECORD and the foreground_ columns of SERIES, by their names."""

    minimum: float
    p005: float
    p01: float
    p50: float
    p99: float
    p995: float
    maximum: float
    mean: float
    std: float
    foreground_mean: float = 0.0
    foreground_std: float = 0.0
    foreground_share: float = 0.0


class SeriesStatistics:
    """Gathers slices of one series; slopes may differ from slice to slice.

    Over pixels that are finite and no padding (over all finite ones where nothing else is left). Exact for integers: counted per
    stored value, percentiles as `numpy.percentile` (linear) gives them. Floats, and integers spanning more than 2**17: minimum,
    maximum, mean and deviation exact, percentiles from about 16,000 evenly spaced pixels a slice. Above 4 million distinct values
    neighbouring ones are merged: a percentile is then off by less than 1 in a million of the ranks.

    HU below -1500 are no tissue and no air but what fills the square around a round field: they do not count, whether the file calls
    them padding or not. Foreground: see `foreground`; its share is of the pixels counted.
    """

    def __init__(
        self,
        attributes: SeriesAttributes = SeriesAttributes(),  # noqa: B008 - frozen
        aside: Aside | None = None,
    ) -> None:
        """`attributes` of the series: its modality and units decide what counts. With `aside`, 16-bit integers are counted there."""
        self._aside = aside
        self._last: Later[None] | None = None
        self._values: list[NDArray[np.float64]] = []
        self._weights: list[NDArray[np.float64]] = []
        self._entries = 0
        self._counts: NDArray[np.int64] | None = None  # open histogram of one rescale: (lanes, values), to be summed
        self._lowest = 0
        self._rescale: tuple[object, ...] = ()
        self._padding: tuple[int, int] | None = None  # stored values of the open histogram that do not count
        self._to_modality: ToModality = _identity
        self._minimum, self._maximum = np.inf, -np.inf
        self._number, self._sum, self._squares, self._origin = 0, 0.0, 0.0, 0.0
        self._attributes, self._invert = attributes, False
        self._floor = OUTSIDE_FIELD if attributes.units == Units.HU else -np.inf  # modality values below do not count

    def add(self, image: Slice, values: NDArray[np.generic], padding: tuple[int, int] | None) -> None:
        """Count one slice: `values` as packed, the rescale from `image`."""
        rescale, to_modality = _modality_step(image)
        self._invert = image.invert
        pixels: NDArray[Any] = values.reshape(-1)
        if values.dtype in _WORDS:
            self._count_words(pixels, padding, rescale, to_modality)
            return
        if values.dtype.kind == "f":
            pixels = pixels[np.isfinite(pixels)]
        if padding is not None and len(pixels):
            content = pixels[(pixels < padding[0]) | (pixels > padding[1])]
            pixels = content if len(content) else pixels
        if not len(pixels):
            return
        low, high = pixels.min(), pixels.max()
        if values.dtype.kind != "f" and int(high) - int(low) < _HISTOGRAM_SPAN and abs(int(high)) < 1 << 62:
            self._count(pixels, int(low), int(high), rescale, to_modality)
            return
        stride = max(1, len(pixels) // _SAMPLE_PER_SLICE)
        while math.gcd(stride, values.shape[-1]) != 1:  # else every row would give the same columns
            stride += 1
        everything, sampled = to_modality(pixels), to_modality(pixels[::stride])
        everything, sampled = everything[everything >= self._floor], sampled[sampled >= self._floor]
        if len(everything) and len(sampled):
            self._moments(everything, None)
            self._keep(sampled, np.full(len(sampled), len(everything) / len(sampled)))

    def result(self) -> Statistics:
        """The statistics of all slices so far; all 0 where no pixel was counted."""
        self._close_histogram()
        if not self._entries:
            return Statistics(0, 0, 0, 0, 0, 0, 0, 0, 0)
        self._merge()
        p005, p01, p50, p99, p995 = _percentiles(self._values[0], self._weights[0], (0.5, 1, 50, 99, 99.5))
        mean = self._sum / self._number
        variance = max(0.0, self._squares / self._number - mean * mean)
        values, weights = self._values[0], self._weights[0]
        content = foreground(values, weights, self._attributes, self._invert)
        foreground_mean, foreground_std = moments(values[content], weights[content])
        return Statistics(
            float(self._minimum),
            p005,
            p01,
            p50,
            p99,
            p995,
            float(self._maximum),
            mean + self._origin,
            float(np.sqrt(variance)),
            foreground_mean,
            foreground_std,
            float(weights[content].sum() / weights.sum()),
        )

    def _count_words(
        self,
        words: NDArray[Any],
        padding: tuple[int, int] | None,
        rescale: tuple[object, ...],
        to_modality: ToModality,
    ) -> None:
        """16-bit integers, all in one pass; padding is taken out of the histogram when it is closed."""
        count_into = _counter()
        if padding is not None and padding[0] <= words.min() and words.max() <= padding[1]:
            padding = None  # nothing else: it counts
        lowest = int(np.iinfo(words.dtype).min)
        counts, opened = self._counts, (self._rescale, self._padding, self._lowest)
        if counts is None or counts.shape != (_LANES, _SPAN) or opened != (rescale, padding, lowest):
            counts = self._open_histogram(lowest, (_LANES, _SPAN), rescale, padding, to_modality)
        if self._aside is None:
            count_into(words, lowest, counts)
        else:
            self._last = self._aside.call(lambda: count_into(words, lowest, counts))

    def _count(
        self, pixels: NDArray[Any], low: int, high: int, rescale: tuple[object, ...], to_modality: ToModality
    ) -> None:
        """Integers of other sizes, without padding."""
        counts = self._counts
        inside = counts is not None and self._lowest <= low and high < self._lowest + counts.shape[1]
        if counts is None or not inside or (self._rescale, self._padding) != (rescale, None):
            lowest = min(low, max(0, high - 65_535)) if low >= 0 else max(low - 1024, high - _HISTOGRAM_SPAN + 1)
            counts = self._open_histogram(lowest, (1, max(65_536, high - lowest + 1)), rescale, None, to_modality)
        counted = np.bincount(pixels.astype(np.int64) - self._lowest)
        counts[0, : len(counted)] += counted

    def _open_histogram(
        self,
        lowest: int,
        shape: tuple[int, int],
        rescale: tuple[object, ...],
        padding: tuple[int, int] | None,
        to_modality: ToModality,
    ) -> NDArray[np.int64]:
        self._close_histogram()
        counts = self._counts = np.zeros(shape, np.int64)
        self._lowest, self._rescale, self._padding, self._to_modality = lowest, rescale, padding, to_modality
        return counts

    def _close_histogram(self) -> None:
        if self._counts is None:
            return
        if self._last is not None:
            self._last.result()  # and so are those before it
        counts = self._counts.sum(0)
        if self._padding is not None:
            first, last = (bound - self._lowest for bound in self._padding)
            counts[max(first, 0) : max(last + 1, 0)] = 0
        used = np.flatnonzero(counts)
        weights = counts[used].astype(np.float64)
        values = self._to_modality(used + self._lowest)
        self._counts = None
        inside = values >= self._floor
        if not inside.all():
            values, weights = values[inside], weights[inside]
        if not len(values):
            return
        self._moments(values, weights)
        self._keep(values, weights)

    def _moments(self, values: NDArray[np.float64], weights: NDArray[np.float64] | None) -> None:
        """Sums about the first value seen, so that squares of large offsets cancel no digits."""
        if not self._number:
            self._origin = float(values[0])
        shifted = values - self._origin
        weighted = shifted if weights is None else shifted * weights
        self._number += len(values) if weights is None else int(weights.sum())
        self._sum += float(weighted.sum())
        self._squares += float((weighted * shifted).sum())
        self._minimum = min(self._minimum, float(values.min()))
        self._maximum = max(self._maximum, float(values.max()))

    def _keep(self, values: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        self._values.append(values)
        self._weights.append(weights)
        self._entries += len(values)
        if self._entries > _MAX_ENTRIES:
            self._merge()
            if self._entries > _MAX_ENTRIES // 2:
                self._halve()

    def _merge(self) -> None:
        """One sorted pair of arrays, equal values together."""
        values, inverse = np.unique(np.concatenate(self._values), return_inverse=True)
        weights = np.bincount(inverse.reshape(-1), np.concatenate(self._weights), len(values)).astype(np.float64)
        self._values, self._weights, self._entries = [values], [weights], len(values)

    def _halve(self) -> None:
        """Neighbours become one entry at their weighted mean."""
        values, weights = self._values[0], self._weights[0]
        starts = np.arange(0, len(values), 2)
        sums = np.add.reduceat(weights, starts)
        self._values = [np.add.reduceat(values * weights, starts) / sums]
        self._weights, self._entries = [sums], len(starts)


def _identity(values: NDArray[Any]) -> NDArray[np.float64]:
    return values.astype(np.float64)


def _modality_step(image: Slice) -> tuple[tuple[object, ...], ToModality]:
    """What tells one modality step from another, and the step (PS3.3 C.11.1)."""
    lut = image.modality_lut
    if lut is None:
        slope, intercept = image.slope, image.intercept
        return (slope, intercept), lambda values: values.astype(np.float64) * slope + intercept
    table, first = lut.values, lut.first
    return (first, table.tobytes()), lambda values: table[np.clip(values.astype(np.int64) - first, 0, len(table) - 1)]


def _percentiles(values: NDArray[np.float64], weights: NDArray[np.float64], percents: tuple[float, ...]) -> list[float]:
    """Linear interpolation between ranks, as `numpy.percentile` of the repeated values (Hyndman and Fan's type 7)."""
    ends = np.cumsum(weights)
    found = []
    for percent in percents:
        rank = percent / 100 * (ends[-1] - 1)
        below = np.floor(rank)
        low, high = (
            values[min(int(np.searchsorted(ends, r, side="right")), len(values) - 1)] for r in (below, below + 1)
        )
        found.append(float(low + (high - low) * (rank - below)))
    return found


def _counter() -> _Count:
    """What counts the next slice: compiled, where this process has so many that it pays."""
    if next(_counted) <= _PLAIN:
        return _count_plainly
    from radload.kernels.histogram import count_into

    return count_into


def _count_plainly(values: NDArray[Any], lowest: int, counts: NDArray[np.int64]) -> None:
    """As kernels.histogram.count_into, two to five times as slow."""
    words = values.reshape(-1)
    if len(words) >= _MANY and int(words.max()) - int(words.min()) < _FEW:
        # All modes of a column are its values, each with how often it occurs.
        column = pa.Array.from_buffers(pa.from_numpy_dtype(words.dtype), len(words), [None, pa.py_buffer(words)])
        found = pc.mode(column, n=_SPAN)
        counts[0, found.field("mode").to_numpy().astype(np.int64) - lowest] += found.field("count").to_numpy()
        return
    counts[0] += np.bincount(words.view(np.uint16) - np.uint16(lowest & 0xFFFF), minlength=_SPAN)
