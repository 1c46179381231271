"""Everything that is known about a batch before a byte of pixels is read: crops, levels, and what the kernels are told.

A pure function of (rows of the index, seed, epoch, positions) and of the settings, vectorised over the batch, and the same
for every device: what thread, rank or cache serves a draw never enters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.dataset.index import Index
from radload.dataset.schema import STORED_DTYPES, Flag
from radload.kernels import prepare
from radload.kernels.prepare import NO_TABLES, Voi
from radload.loading.planning.augment import AUTO, Augment, Intensity, geometry, intensity, make_augment
from radload.loading.planning.fit import STRETCH, Spacing, frames
from radload.loading.planning.levels import NARROW_HU, choose_levels
from radload.loading.planning.mirror import Mirrors
from radload.loading.planning.neighbours import Beside, Neighbours
from radload.loading.planning.recipe import CT, DISPLAY, FIXED, FROM_ZERO, Recipe
from radload.loading.planning.tables import Tables
from radload.loading.planning.views import Views
from radload.sources.slice import Units, VoiFunction

_KERNEL_TYPES = np.array([code in ("u1", "u2", "i2", "f4") for code in STORED_DTYPES])
_FLOAT = np.array([code.startswith("f") for code in STORED_DTYPES])
_DISPLAY_BITS = np.array([8, 10, 12, 14, 16])


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run fixes about its pixels.

    Attributes:
        size: (height, width) of the output in pixels.
        recipe: windows, mean and deviation; dtype: "float32", "float16" or "bfloat16".
        level_slack, resolution: see `levels`; augment: see `augment.make_augment`; seed: 64 bits.
        fit, spacing: see `fit`. masks: label masks are read too.
        views: of one decode; neighbours: slices beside the drawn one, as channels.
    """

    size: tuple[int, int]
    recipe: Recipe
    dtype: str
    level_slack: float
    resolution: str
    augment: Augment | str | None
    seed: int
    fit: str = STRETCH
    spacing: Spacing | None = None
    masks: bool = False
    views: Views = field(default_factory=Views)
    neighbours: Neighbours = field(default_factory=Neighbours)

    @property
    def channels(self) -> int:
        """Of an image: the recipe's for each slice, from before to after."""
        return self.recipe.channels * self.neighbours.slices

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        content = {name: getattr(self, name) for name in self.__slots__}
        augment = make_augment(self.augment)
        parts = {name: content[name].as_dict() for name in ("recipe", "views", "neighbours")}
        return content | parts | {"augment": None if augment is None else augment.as_dict()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Settings:
        """What `as_dict` wrote."""
        size = (int(content["size"][0]), int(content["size"][1]))
        spacing = None if content["spacing"] is None else (float(content["spacing"][0]), float(content["spacing"][1]))
        kinds: dict[str, Any] = {"recipe": Recipe, "views": Views, "neighbours": Neighbours}
        parts = {name: kind.from_dict(content[name]) for name, kind in kinds.items()}
        augment = None if content["augment"] is None else Augment.from_dict(content["augment"])
        return cls(**{**content, "size": size, "spacing": spacing, "augment": augment, **parts})


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What to read and how to render it; every array has one entry per draw, or `slices` in a row per draw.

    Attributes:
        rows: of the index; records: their RECORDs.
        levels: resolution level to decode.
        pivot: subtracted from luma, and from stored values of types that the kernels do not take, before the cast to float32
            (0 otherwise).
        samples, windows, tables: see kernels.prepare.
        slices: entries of a draw, from before the drawn slice to after it.
        further: the same entries, with the same levels, in the other views of the draws; see `draws`.
    """

    rows: NDArray[np.int64]
    records: NDArray[np.void]
    levels: NDArray[np.int64]
    pivot: NDArray[np.float64]
    samples: NDArray[np.void]
    windows: NDArray[np.void]
    tables: NDArray[np.float32]
    slices: int = 1
    further: tuple[BatchPlan, ...] = ()

    def part(self, draws: slice) -> BatchPlan:
        """The plan of some of its draws, without a copy; with all of its tables."""
        at = slice(draws.start * self.slices, draws.stop * self.slices)
        return BatchPlan(
            self.rows[at],
            self.records[at],
            self.levels[at],
            self.pivot[at],
            self.samples[at],
            self.windows[at],
            self.tables,
            self.slices,
            tuple(view.part(draws) for view in self.further),
        )


class Planner:
    """Plans batches of one data set under one set of settings. Safe to share between threads."""

    def __init__(self, index: Index, settings: Settings) -> None:
        self.index, self.settings = index, settings
        recipe = settings.recipe
        self._names = list(recipe.windows)
        # row of the recipe's table for (modality, in HU, windowed already)
        self._row = np.array(
            [
                [[self._names.index(recipe.row(m, hu, shown)) for shown in (False, True)] for hu in (False, True)]
                for m in index.modalities
            ],
            np.int64,
        ).reshape(-1, 2, 2)
        self._is_ct = np.array([m == CT for m in index.modalities], np.bool_)
        entries = [recipe.windows[name] for name in self._names]
        self._rule = np.array([[w.rule for w in row] for row in entries])
        self._fixed = np.array([[(w.centre, w.width) for w in row] for row in entries], np.float64)
        self._tables = Tables(index)
        self.beside = Beside(index, settings.neighbours)
        self._augments = settings.views.augments(make_augment(settings.augment))
        # A mask may tell left from right: under "auto" nothing with masks is mirrored.
        looks = any(one is not None and one.flip == AUTO for one in self._augments) and not settings.masks
        self._mirrors = Mirrors(index) if looks else None

    def plan(self, rows: NDArray[np.int64], epoch: int, positions: NDArray[np.int64], view: int = 0) -> BatchPlan:
        """Plan one view of draws of `rows` (n,) at `positions` (n,) of an epoch, without neighbours; see `draws` for whole draws."""
        settings = self.settings
        size, augment = settings.views.size_of(view, settings.size), self._augments[view]
        records = np.ascontiguousarray(self.index.records[rows])
        series = self.index.series[records["series"]]
        flags = records["flags"]
        centre, width, use_file = self._windows(records, series)
        hounsfield = series["units"] == Units.HU
        narrow = self._is_ct[series["modality"]] & hounsfield & (width.min(axis=1) < NARROW_HU)
        keeps = settings.fit != STRETCH or settings.spacing is not None
        laid = frames(records, size, settings.fit, settings.spacing) if keeps else None
        shape = geometry(
            augment, records["rows"], records["cols"], settings.seed, epoch, positions, view, laid,
            self._mirrors.allowed(records["series"]) if self._mirrors is not None else np.zeros(len(rows), np.bool_),
        )  # fmt: skip
        grey = intensity(augment, settings.seed, epoch, positions, view)
        safe_levels = np.where(self._bright_rim(records, use_file), 0, records["safe_levels"])
        levels = choose_levels(shape.boxes, safe_levels, narrow, size, settings.level_slack, settings.resolution)
        slope, intercept = records["slope"].copy(), records["intercept"].copy()
        broken = ~(np.isfinite(slope) & np.isfinite(intercept))
        slope[broken], intercept[broken] = 1.0, 0.0
        bias, pivot = records["bias"].astype(np.float64), np.zeros(len(rows))
        foreign = (~_KERNEL_TYPES[records["dtype"]] & (records["codec"] == 0)) | (records["channels"] > 1)
        if foreign.any():  # float32 has 24 bits: count from the window's centre
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                middle = np.nan_to_num(np.rint((centre[:, 0] - intercept) / slope)[foreign], posinf=0, neginf=0)
            pivot[foreign] = middle + bias[foreign]
            bias = bias - pivot
        if grey is not None:  # after all that must not depend on the draw: level and pivot belong to what is decoded
            centre, width = _jittered(centre, width, grey, use_file & (records["voi"] == VoiFunction.LINEAR), flags)
        function = np.where(use_file, records["voi"], Voi.LINEAR_EXACT)[:, None].repeat(
            settings.recipe.channels, axis=1
        )
        first, start, entries = (np.zeros(function.shape, np.int64) for _ in range(3))
        pool: list[NDArray[np.float32]] = []
        place: dict[int, int] = {}  # of a table in the pool
        used = 0
        for i in np.flatnonzero(flags & (Flag.MODALITY_LUT | Flag.VOI_LUT)):
            for c in range(function.shape[1]):
                table = self._tables.table(
                    int(rows[i]), records[i], int(function[i, c]),
                    float(centre[i, c]), float(width[i, c]),
                )  # fmt: skip
                if table is not None:
                    if id(table.values) not in place:
                        place[id(table.values)] = used
                        pool.append(table.values)
                        used += len(table.values)
                    function[i, c], first[i, c] = Voi.TABLE, table.first - pivot[i]
                    start[i, c], entries[i, c] = place[id(table.values)], len(table.values)
                elif function[i, c] == Voi.TABLE:
                    function[i, c] = Voi.LINEAR_EXACT
        windows = np.zeros(function.shape, prepare.WINDOW)
        integers = ~(_FLOAT[records["dtype"]] | foreign)
        for kind in (integers, ~integers):  # apart, so that a neighbour in the batch changes nothing
            if kind.any():
                windows[kind] = prepare.windows(
                    function[kind], centre[kind], width[kind],
                    slope=slope[kind], intercept=intercept[kind], bias=bias[kind], invert=(flags[kind] & Flag.INVERT) != 0,
                    integers=bool(kind is integers), table_first=first[kind], table_start=start[kind],
                    table_entries=entries[kind],
                )  # fmt: skip
        padded = (flags & Flag.PADDING) != 0
        padding = np.stack([records["padding_first"] + bias, records["padding_last"] + bias], axis=1)
        padding[~padded] = (np.inf, -np.inf)
        samples = prepare.samples(
            records["rows"],
            records["cols"],
            level=levels,
            crop=shape.boxes,
            flip=shape.flips * prepare.FLIP_HORIZONTAL,
            padding=padding,
            size=size,
            angle=shape.angles,
            gamma=1.0 if grey is None else grey.gammas,
            noise=0.0 if grey is None else grey.noises,
            key=(0, 0) if grey is None else grey.keys,
        )
        records["codec"][broken] = 255  # no such codec: the reader refuses it as damaged
        tables = np.concatenate(pool) if pool else NO_TABLES
        return BatchPlan(np.asarray(rows, np.int64), records, levels, pivot, samples, windows, tables)

    @staticmethod
    def _bright_rim(records: NDArray[np.void], use_file: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(n,) where a level would show a bright line around padding: its averages of padding and image are no padding any more.

        Levels are safe where padding lies below the image, so those averages are low stored values: dark, unless low is white, or
        a table says what it is.
        """
        flags = records["flags"]
        white = ((flags & Flag.INVERT) != 0) != (records["slope"] < 0)
        table = use_file & (records["voi"] == VoiFunction.LUT)
        return np.asarray(((flags & Flag.PADDING) != 0) & (white | table))

    def _windows(
        self, records: NDArray[np.void], series: NDArray[np.void]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Centre and width, (n, C), and whether they are the file's own (or its table), (n,)."""
        hounsfield, shown = series["units"] == Units.HU, series["units"] == Units.DISPLAY
        row = self._row[series["modality"], hounsfield.astype(np.int64), shown.astype(np.int64)]
        rule = self._rule[row]  # (n, C)
        low, high = (series[name].astype(np.float64)[:, None] for name in ("p005", "p995"))
        bottom, top = np.broadcast_to(low, rule.shape).copy(), np.broadcast_to(high, rule.shape).copy()
        bottom[(rule == FROM_ZERO) & (top > 0)] = 0.0
        if (rule == DISPLAY).any():
            shown_low, shown_high = _display_range(records, series)
            bottom, top = (
                np.where(rule == DISPLAY, shown_low[:, None], bottom),
                np.where(rule == DISPLAY, shown_high[:, None], top),
            )
        # A constant series, or one of padding alone, has no range: one unit around or above it.
        bottom = np.where(np.isfinite(bottom), bottom, 0.0)
        flat = ~(np.isfinite(top) & (top > bottom))
        top = np.where(flat, bottom + 1.0, top)
        fixed = rule == FIXED
        centre = np.where(fixed, self._fixed[row][..., 0], (bottom + top) / 2)
        width = np.where(fixed, self._fixed[row][..., 1], top - bottom)
        use_file = np.zeros(len(records), np.bool_)
        if self.settings.recipe.file_voi:
            voi = records["voi"]
            own_centre, own_width = (
                records["window_centre"].astype(np.float64),
                records["window_width"].astype(np.float64),
            )
            least = np.where(
                voi == VoiFunction.LINEAR, 1.0, np.finfo(np.float32).tiny
            )  # PS3.3 C.11.2.1.2.1, C.11.2.1.3
            formula = (voi >= VoiFunction.LINEAR) & (voi <= VoiFunction.SIGMOID)
            formula &= np.isfinite(own_centre) & np.isfinite(own_width) & (own_width >= least)
            centre = np.where(formula[:, None], own_centre[:, None], centre)
            width = np.where(formula[:, None], own_width[:, None], width)
            use_file = formula | ((voi == VoiFunction.LUT) & ((records["flags"] & Flag.VOI_LUT) != 0))
        return centre, width, use_file


def _jittered(
    centre: NDArray[np.float64],
    width: NDArray[np.float64],
    grey: Intensity,
    linear: NDArray[np.bool_],
    flags: NDArray[np.integer],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Windows (n, C) moved and widened; linear: (n,) a LINEAR window of the file, whose width stays at 1 or more (PS3.3 C.11.2.1.2.1).

    Samples with a modality LUT keep theirs: each new window would be a table of its own, up to 65,536 entries for one draw.
    """
    fixed = ((flags & Flag.MODALITY_LUT) != 0)[:, None]
    moved, wide = centre + width * grey.shifts[:, None], width * grey.factors[:, None]
    wide = np.where(linear[:, None], np.maximum(wide, 1.0), wide)
    return np.where(fixed, centre, moved), np.where(fixed, width, wide)


def _display_range(
    records: NDArray[np.void], series: NDArray[np.void]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The range of values that were made for display, (n,) each, in modality units; see recipe.Window."""
    kinds = np.array(STORED_DTYPES)[records["dtype"]]
    slope, intercept = records["slope"], records["intercept"]
    low, high = series["minimum"].astype(np.float64), series["maximum"].astype(np.float64)
    plain = (records["flags"] & Flag.MODALITY_LUT) == 0
    byte, word = plain & (kinds == "u1"), plain & (kinds == "u2")
    with np.errstate(divide="ignore", invalid="ignore"):
        stored_top = np.maximum((low - intercept) / slope, (high - intercept) / slope)
    stored_top = np.where(np.isfinite(stored_top), stored_top, 65_535.0)
    bits = _DISPLAY_BITS[np.searchsorted(2.0**_DISPLAY_BITS - 1, stored_top - 0.5).clip(0, len(_DISPLAY_BITS) - 1)]
    full = np.where(byte, 255.0, 2.0**bits - 1)
    ends = np.stack([intercept, full * slope + intercept])
    return (
        np.where(byte | word, ends.min(axis=0), low),
        np.where(byte | word, ends.max(axis=0), high),
    )
