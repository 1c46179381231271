"""Random samples for the kernels' tests: one case as the reference takes it and as the fast kernels take it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from radload.kernels import prepare, reference
from radload.kernels.prepare import Voi
from radload.kernels.reference import Window

DTYPES = ("uint8", "uint16", "int16", "float32")


@dataclass(frozen=True)
class Case:
    coded: NDArray[np.generic]
    windows: tuple[Window, ...]
    size: tuple[int, int]
    options: dict[str, Any]  # of reference.render

    def expected(self) -> NDArray[np.float64]:
        return reference.render(self.coded, self.windows, self.size, **self.options)

    def tolerance(self) -> NDArray[np.float64]:
        """Of y, per output: 1e-5, and what a power makes of an error of 1e-6 before it: near black it magnifies."""
        gamma = self.options.get("gamma", 1.0)
        if gamma == 1:
            return np.full((len(self.windows), *self.size), 1e-5)
        plain = {k: v for k, v in self.options.items() if k not in ("gamma", "noise", "key", "mean", "std")}
        y = reference.render(self.coded, self.windows, self.size, **plain)
        near = np.clip(np.stack([y - 1e-6, y, y + 1e-6]), 0, 1) ** gamma
        return np.asarray(1e-5 + np.ptp(near, axis=0))

    def assert_close(self, got: NDArray[np.float32]) -> None:
        """`got` (C, rows, cols) is the expected, in y, within the tolerance."""
        std = np.array(self.options.get("std", [1.0] * len(self.windows)))[:, None, None]
        error = np.abs((got - self.expected()) * std) / self.tolerance()
        assert error.max() < 1, error.max()

    def records(self) -> tuple[NDArray[np.void], NDArray[np.void], NDArray[np.float32], NDArray[np.float32]]:
        """samples (1,), windows (1, C), norm (C, 2), pool of tables."""
        o = self.options
        pool = [w.table if w.table is not None else np.zeros(0) for w in self.windows]
        starts = np.cumsum([3, *map(len, pool)])[:-1]  # not 0: a table's place in the pool must count
        windows = prepare.windows(
            [w.function for w in self.windows],
            [w.centre for w in self.windows],
            [w.width for w in self.windows],
            slope=o.get("slope", 1.0),
            intercept=o.get("intercept", 0.0),
            bias=o.get("bias", 0.0),
            invert=o.get("invert", False),
            integers=self.coded.dtype.kind != "f",
            table_first=[w.first for w in self.windows],
            table_start=starts,
            table_entries=[len(t) for t in pool],
        )
        flip = o.get("flip", (False, False))
        samples = prepare.samples(
            *o.get("full", self.coded.shape),
            level=o.get("level", 0),
            crop=o.get("crop"),
            flip=flip[0] * prepare.FLIP_HORIZONTAL + flip[1] * prepare.FLIP_VERTICAL,
            padding=o.get("padding"),
            size=self.size,
            angle=o.get("angle", 0.0),
            gamma=o.get("gamma", 1.0),
            noise=o.get("noise", 0.0),
            key=o.get("key", (0, 0)),
        )
        count = len(self.windows)
        norm = prepare.normalisation(o.get("mean", [0.0] * count), o.get("std", [1.0] * count))
        return samples, windows, norm, np.concatenate([np.full(3, 9.0), *pool]).astype(np.float32)


def random_case(rng: np.random.Generator, planes: int | None = None, size: tuple[int, int] | None = None) -> Case:
    """One case: any dtype, level, crop, flip, window function, rescale, padding and inversion."""
    level = int(rng.integers(0, 4))
    full = tuple(int(v) for v in rng.integers(1, rng.choice([4, 40, 200]), 2))
    shape = tuple(-(-n >> level) for n in full)
    dtype = np.dtype(DTYPES[rng.integers(4)])
    if dtype.kind == "f":
        coded = rng.normal(0, 10.0 ** rng.integers(-2, 5), shape).astype(dtype)
        for bad in (np.nan, np.inf, -np.inf):
            coded[rng.random(shape) < 0.02] = bad
    else:
        low, high = np.sort(rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, 2, endpoint=True))
        coded = rng.integers(low, high, shape, dtype, endpoint=True)
    slope = float(rng.choice([1.0, 1.0, 0.1, -1.0, 0.0, 2.7, -0.013, 1e-6, 4e5]))
    intercept, bias = float(rng.choice([0.0, -1024.0, 0.37])), float(rng.choice([0, 32768, -5])) * (dtype.kind != "f")
    finite = coded[np.isfinite(coded)].astype(np.float64)
    value = (finite - bias) * slope + intercept if finite.size else np.zeros(1)
    windows = []
    for _ in range(planes if planes is not None else int(rng.integers(1, 4))):
        function = Voi(int(rng.integers(1, 5)))
        if windows and rng.random() < 0.3:
            windows.append(windows[0])
        elif function == Voi.TABLE:
            windows.append(
                Window(
                    function,
                    table=rng.random(int(rng.integers(1, 300))).astype(np.float32),
                    first=int(rng.integers(-40, 300)),
                )
            )
        else:
            centre = float(np.round(rng.choice(value) + rng.normal(0, 2), 2))
            spread = float(np.round((np.ptp(value) + 1e-3) * rng.random() ** 2 + 0.01, 2))
            width = 1.0 if function == Voi.LINEAR and rng.random() < 0.2 else spread + (function == Voi.LINEAR)
            windows.append(Window(function, centre + 0.003, width))
    options: dict[str, Any] = {"full": full, "level": level, "slope": slope, "intercept": intercept, "bias": bias}
    if rng.random() < 0.6:
        extent = np.maximum(np.array(full) * rng.random(2), 0.05)
        start = (np.array(full) - extent) * rng.random(2) * 0.999
        if rng.random() < 0.5:  # beyond the image, by little or by much
            grown = extent * 10.0 ** rng.uniform(-1, 2.5, 2)
            start, extent = start + rng.uniform(-0.999, 0.999, 2) * (extent - grown) / 2 + (extent - grown) / 2, grown
        options["crop"] = (start[0], start[1], extent[0], extent[1])
    if rng.random() < 0.3 and finite.size:
        ends = np.sort(rng.choice(finite, 2))
        options["padding"] = (float(ends[0]), float(min(ends[1], ends[0] + 9)))
    options["invert"] = bool(rng.random() < 0.3)
    options["flip"] = (bool(rng.random() < 0.3), bool(rng.random() < 0.3))
    options["mean"], options["std"] = list(rng.random(len(windows))), list(0.2 + rng.random(len(windows)))
    options.update(random_effects(rng))
    if size is None:
        size = (int(rng.integers(1, rng.choice([3, 60]))), int(rng.integers(1, rng.choice([3, 60]))))
    return Case(coded, tuple(windows), size, options)


def random_effects(rng: np.random.Generator) -> dict[str, Any]:
    """Rotation, gamma and noise, each for some; options of reference.render."""
    options: dict[str, Any] = {}
    if rng.random() < 0.4:
        options["angle"] = float(rng.choice([rng.normal(0, 8), rng.uniform(-180, 180), 90, -90, 180, 45, 1e-9]))
    if rng.random() < 0.3:
        options["gamma"] = float(np.exp(rng.uniform(-0.7, 0.7)))
    if rng.random() < 0.3:
        options["noise"] = float(rng.uniform(0, 0.3))
        options["key"] = tuple(int(k) for k in rng.integers(0, 2**32, 2))
    return options


cases = st.integers(0, 2**32 - 1).map(lambda seed: random_case(np.random.default_rng(seed)))
