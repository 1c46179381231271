"""Turned crops on the CPU (Numba, GIL released): reference.turn, for the samples of a call that are rotated; the others are cpu.py's.

A rotation cannot be done along one axis after the other, so each output sums its taps in two dimensions. Outputs are made in square tiles:
what a tile needs of the source is windowed once into a small buffer whose pixels hold one plane, or three side by side, which share
their weights and their place in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np

from radload.kernels import rows
from radload.kernels.grid import centre, in_outputs, offset, pivot
from radload.kernels.jit import Array, Record, checksum, entry, float32_at, jit
from radload.kernels.prepare import FLIP_HORIZONTAL, FLIP_VERTICAL, TURNED
from radload.kernels.rows import ZERO

U1, U2 = np.uint64(1), np.uint64(2)
LANES = 3  # planes that are weighed together: the windows of the default recipe
TILE_SAMPLES = 128  # of the source on a tile's side, about: 64 KiB of one plane stay in the cache
LEAST_TILE, MOST_TILE = 4, 64  # outputs on a tile's side


@jit
def _first(at: float, half: float, step: float, last: int) -> int:
    """The first sample within `half` of position `at`, at most `last`."""
    return min(max(math.floor((at - 0.5 - half) / step) + 1, 0), last)


@jit
def _span(low: float, high: float, half: float, step: float, n_in: int, count: int) -> tuple[int, int]:
    """Samples that outputs from position `low` to `high` may need, one more on each side because of rounding."""
    last = n_in - count
    return max(_first(low, half, step, last) - 1, 0), min(_first(high, half, step, last) + count + 1, n_in)


@jit
def _weigh(at: float, first: int, half: float, step: float, count: int, weight: Array) -> np.float32:
    """Writes count triangle weights of the samples from `first`; returns their sum."""
    delta, pitch, reach, total = np.float32(first * step + 0.5 - at), np.float32(step), np.float32(1.0 / half), ZERO
    for k in range(count):
        w = max(ZERO, np.float32(1) - abs(delta + np.float32(k) * pitch) * reach)
        weight[k] = w
        total += w
    return total


@jit
def _fill(
    source: Array,
    sample: Record,
    windows: Record,
    tables: Array,
    chosen: Array,
    lanes: int,
    top: int,
    left: int,
    height: int,
    width: int,
    line: Array,
    area: Array,
) -> None:
    """Windows a rectangle of the source for the planes in chosen (lanes,) into area, pixels of `lanes` values; line (LANES, width)."""
    for r in range(height):
        for k in range(lanes):
            rows.window_row(
                source[0],
                source[1],
                (top + r) * source[3] + left,
                windows[chosen[k]],
                sample.padding_first,
                sample.padding_last,
                tables,
                line[k, :width],
            )
        target = area[r * width * lanes : (r + 1) * width * lanes]
        if lanes == 1:
            target[:] = line[0, :width]
        else:
            a, b, c = line[0], line[1], line[2]
            for i in range(width):
                target[3 * i], target[3 * i + 1], target[3 * i + 2] = a[i], b[i], c[i]


@jit
def _render(
    source: Array,
    sample: Record,
    windows: Record,
    tables: Array,
    norm: Array,
    out: Array,
    chosen: Array,
    lanes: int,
    planes: Array,
    weight: Array,
    line: Array,
    area: Array,
    tile: int,
    across: Array,
) -> None:
    """One sample, the planes whose window is one of chosen (lanes,): out (C, height, width); planes (C,): lane of each plane, or -1."""
    height, width = out.shape[1], out.shape[2]
    step, sine, cosine = float(1 << sample.level), sample.sine, sample.cosine
    half_y, half_x = max(sample.height / height, step), max(sample.width / width, step)
    count_y = min(math.ceil(2 * half_y / step), source[2])
    count_x = min(math.ceil(2 * half_x / step), source[3])
    mid_y = pivot(sample.rows, sample.top, sample.height)
    mid_x = pivot(sample.cols, sample.left, sample.width)
    q_y = in_outputs(mid_y, sample.top, sample.height, height)
    q_x = in_outputs(mid_x, sample.left, sample.width, width)
    only_y, only_x = min(max(math.floor(q_y), 0), height - 1), min(max(math.floor(q_x), 0), width - 1)
    rows_, cols_ = float(sample.rows), float(sample.cols)
    wy, wx = weight[:count_y], weight[count_y : count_y + count_x]
    for p in range(width):
        b = offset(p, q_x)
        across[0, p], across[1, p] = sine * b, cosine * b
    for tile_o in range(0, height, tile):
        end_o = min(tile_o + tile, height)
        a0, a1 = tile_o + 0.5 - q_y, end_o - 0.5 - q_y
        for tile_p in range(0, width, tile):
            end_p = min(tile_p + tile, width)
            s0, s1, c0, c1 = across[0, tile_p], across[0, end_p - 1], across[1, tile_p], across[1, end_p - 1]
            # The corners hold the extremes.
            low = centre(mid_y, min(cosine * a0, cosine * a1), min(s0, s1), sample.height, height)
            high = centre(mid_y, max(cosine * a0, cosine * a1), max(s0, s1), sample.height, height)
            y_lo, y_hi = _span(min(max(low, 0.0), rows_), min(max(high, 0.0), rows_), half_y, step, source[2], count_y)
            low = centre(mid_x, min(c0, c1), -max(sine * a0, sine * a1), sample.width, width)
            high = centre(mid_x, max(c0, c1), -min(sine * a0, sine * a1), sample.width, width)
            x_lo, x_hi = _span(min(max(low, 0.0), cols_), min(max(high, 0.0), cols_), half_x, step, source[3], count_x)
            span = x_hi - x_lo
            _fill(source, sample, windows, tables, chosen, lanes, y_lo, x_lo, y_hi - y_lo, span, line, area)
            for o in range(tile_o, end_o):
                a = offset(o, q_y)
                along, turned = cosine * a, sine * a
                to_o = height - 1 - o if sample.flip & FLIP_VERTICAL != 0 else o
                for p in range(tile_p, end_p):
                    y = centre(mid_y, along, across[0, p], sample.height, height)
                    x = centre(mid_x, across[1, p], -turned, sample.width, width)
                    to_p = width - 1 - p if sample.flip & FLIP_HORIZONTAL != 0 else p
                    v0, v1, v2 = ZERO, ZERO, ZERO
                    inside = y >= 0 and y < rows_ and x >= 0 and x < cols_
                    if inside or (o == only_y and p == only_x):
                        y, x = min(max(y, 0.0), rows_), min(max(x, 0.0), cols_)
                        r, c = (
                            _first(y, half_y, step, source[2] - count_y),
                            _first(x, half_x, step, source[3] - count_x),
                        )
                        total = _weigh(y, r, half_y, step, count_y, wy) * _weigh(x, c, half_x, step, count_x, wx)
                        at = np.uint64(((r - y_lo) * span + c - x_lo) * lanes)
                        if lanes == 1:
                            for k in range(count_y):
                                v = ZERO
                                part = area[at : at + np.uint64(count_x)]
                                for j in range(count_x):
                                    v += wx[j] * part[j]
                                v0 += wy[k] * v
                                at += np.uint64(span)
                        else:
                            for k in range(count_y):
                                for j in range(count_x):
                                    w, i = wy[k] * wx[j], at + np.uint64(3 * j)
                                    v0 += w * area[i]
                                    v1 += w * area[i + U1]
                                    v2 += w * area[i + U2]
                                at += np.uint64(3 * span)
                        share = np.float32(1) / total
                        v0, v1, v2 = v0 * share, v1 * share, v2 * share
                    for plane in range(len(planes)):
                        lane = planes[plane]
                        if lane >= 0:
                            v = v0 if lane == 0 else v1 if lane == 1 else v2
                            out[plane, to_o, to_p] = v * norm[plane, 0] + norm[plane, 1]


@jit
def _tile(sample: Record, height: int, width: int) -> int:
    """Outputs on a tile's side."""
    scale = max(sample.height / height, sample.width / width) / float(1 << sample.level)
    return min(max(int(TILE_SAMPLES / scale), LEAST_TILE), MOST_TILE)


@jit
def _room(source: Array, sample: Record, height: int, width: int, tile: int) -> tuple[int, int]:
    """(samples on the longer side of what a tile may need, taps of both axes)."""
    step = float(1 << sample.level)
    y, x = max(sample.height / height, step) / step, max(sample.width / width, step) / step
    side = math.ceil(max(sample.height / height, sample.width / width) / step * tile * 1.42 + 2 * max(y, x)) + 4
    return side, math.ceil(2 * y) + math.ceil(2 * x)


def _compile(version: int) -> Callable[..., int]:
    """The compiled part's one entry; see jit.entry for `version`."""

    @entry
    def turn_all(
        sources: Array,
        samples: Record,
        windows: Record,
        tables: Array,
        norm: Array,
        out: Array,
        work: Array,
        tags: Array,
    ) -> int:
        """The turned samples of a call. Returns how long `work` must be, and has rendered nothing where it is shorter.

        sources (N, 4) int64; samples (N,) SAMPLE; windows (N or 1, C) WINDOW; out (N, C, height, width) float32;
        tags (2 * C + LANES,) int64.
        """
        if version < 0:  # never: it makes `version` part of the cache's key
            return 0
        planes, height, width = out.shape[1], out.shape[2], out.shape[3]
        need = 0
        for n in range(len(samples)):
            if samples[n].effects & TURNED != 0:
                side, taps = _room(sources[n], samples[n], height, width, _tile(samples[n], height, width))
                high, wide = min(side, sources[n, 2]), min(side, sources[n, 3])
                need = max(need, taps + LANES * (wide + high * wide))
        if len(work) < need:
            return need
        results = numba.carray(float32_at(out.ctypes.data), out.shape)  # without an owner, as in cpu.py
        pool = numba.carray(float32_at(tables.ctypes.data), tables.shape)
        rest = numba.carray(float32_at(work.ctypes.data), work.shape)
        across = np.empty((2, width))
        first, lane, chosen = tags[:planes], tags[planes : 2 * planes], tags[2 * planes : 2 * planes + LANES]
        for n in range(len(samples)):
            s = samples[n]
            if s.effects & TURNED == 0:
                continue
            w = windows[n if len(windows) > 1 else 0]
            tile = _tile(s, height, width)
            side, taps = _room(sources[n], s, height, width, tile)
            wide = min(side, sources[n, 3])
            line = rest[taps : taps + LANES * wide].reshape(LANES, wide)
            area = rest[taps + LANES * wide :]
            for c in range(planes):
                first[c] = rows.twin(w, c)
            done = 0
            while done < planes:  # LANES different windows at a time
                used, upto = 0, done
                for c in range(planes):
                    lane[c] = -1
                while upto < planes and (first[upto] != upto or used < LANES):
                    if first[upto] == upto:
                        chosen[used], lane[upto] = upto, used
                        used += 1
                    upto += 1
                for c in range(planes):
                    if first[c] != c:
                        lane[c] = lane[first[c]]
                if used > 0:
                    lanes = 1 if used == 1 else LANES
                    for k in range(used, lanes):
                        chosen[k] = chosen[0]
                    _render(
                        sources[n],
                        s,
                        w,
                        pool,
                        norm,
                        results[n],
                        chosen,
                        lanes,
                        lane,
                        rest[:taps],
                        line,
                        area,
                        tile,
                        across,
                    )
                done = upto
        return need

    return turn_all


_turn_all = _compile(checksum("turned", "lanes", "rows", "grid"))


def turn(
    sources: Array, samples: Record, windows: Record, tables: Array, norm: Array, out: Array, work: Array
) -> Array:
    """Renders the samples whose `effects` say TURNED; arguments as cpu.render_many has checked them. Returns `work`, grown if need be."""
    tags = np.empty(2 * out.shape[1] + LANES, np.int64)
    need = _turn_all(sources, samples, windows, tables, norm, out, work, tags)
    if need > work.size:
        work = np.empty(need, np.float32)
        _turn_all(sources, samples, windows, tables, norm, out, work, tags)
    return work
