"""The statistics of a series that windows read: of the files given, or given by the user; and the sentence where they would mislead."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from radload.dataset.schema import Flag
from radload.errors import UsageError
from radload.inference.files import Images
from radload.inference.memory import Packed
from radload.loading.planning.recipe import DISPLAY, FIXED, FROM_ZERO, PERCENTILES, Recipe
from radload.loading.preparation import Preparation
from radload.pack.plan import SeriesJob
from radload.sources import Units

GIVEN: Final = "given"  # statistics="given": the files are the series, whatever it looks like
_NAMES: Final = {PERCENTILES: ("p005", "p995"), FROM_ZERO: ("p005", "p995"), DISPLAY: ("minimum", "maximum"), FIXED: ()}
_BYTE: Final = 0  # RECORD["dtype"] of 8 bits, whose range needs no statistic

_log = logging.getLogger("radload")


@dataclass(frozen=True, slots=True)
class _Series:
    """One series: its job, its row in the index, and which statistics its windows read."""

    job: SeriesJob
    row: int
    needs: tuple[str, ...]


def settle(
    packed: Packed, images: Images, preparation: Preparation, statistics: Mapping[str, float] | str | None
) -> None:
    """Give every series the statistics that the loader had, or say why that cannot be known.

    Args:
        statistics: of the series: {"p005", "p995", "minimum", "maximum"}, as far as the windows read them (`ds[row].meta["statistics"]`
            has them all); "given": those of the files given; None: the same, where nothing speaks against it.

    Raises:
        UsageError: the windows read statistics of the series, and the files are plainly a part of it; or numbers that are none.
    """
    if preparation.neighbours.count:
        _check_neighbours(packed, images)
    found = [_Series(job, row, _needs(packed, row, preparation.recipe)) for row, job in enumerate(packed.jobs)]
    found = [one for one in found if one.needs]
    if isinstance(statistics, Mapping):
        _override(packed, found, statistics)
        return
    if statistics not in (None, GIVEN):
        raise UsageError(f'statistics={statistics!r} cannot be used: give a mapping, "{GIVEN}", or leave it out')
    if statistics is None:
        for one in found:
            _check(one, images, preparation)


def _check_neighbours(packed: Packed, images: Images) -> None:
    """UsageError for one slice that can have no neighbours, because its series is not there."""
    for job in packed.jobs:
        header = images.headers[job.files[0].row]
        if header.format == "dicom" and job.count == header.frames == 1:
            raise UsageError(
                f"{images.root / header.source}: the channels are the slices beside a slice, and this is one slice alone: "
                "give the files of its series"
            )


def _needs(packed: Packed, row: int, recipe: Recipe) -> tuple[str, ...]:
    """Names of the statistics that the windows of a series read."""
    index = packed.index
    series = index.series[row]
    records = index.records[index.records["series"] == row]
    if recipe.file_voi and _brings_windows(records).all():
        return ()
    units = series["units"]
    name = recipe.row(index.modalities[series["modality"]], units == Units.HU, units == Units.DISPLAY)
    rules = {window.rule for window in recipe.windows[name]}
    if (records["dtype"] == _BYTE).all():
        rules -= {DISPLAY}
    return tuple(sorted({name for rule in rules for name in _NAMES[rule]}))


def _brings_windows(records: NDArray[np.void]) -> NDArray[np.bool_]:
    own = np.isfinite(records["window_centre"]) & np.isfinite(records["window_width"])
    return np.asarray(own | ((records["flags"] & Flag.VOI_LUT) != 0))


def _override(packed: Packed, found: list[_Series], statistics: Mapping[str, float]) -> None:
    for one in found:
        for name in one.needs:
            value = statistics.get(name)
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise UsageError(
                    f"statistics needs {' and '.join(one.needs)} of the series as finite numbers, and {name} is {value!r}: "
                    'ds[row].meta["statistics"] has them'
                )
            packed.index.series[name][one.row] = value


def _check(one: _Series, images: Images, preparation: Preparation) -> None:
    """Raises UsageError, or warns, where the files given are no whole series."""
    job = one.job
    header = images.headers[job.files[0].row]
    name = images.root / header.source
    what = f"the windows for {header.attributes.modality or 'such files'} come from statistics of the whole series"
    ways = f'give statistics= of the series, or statistics="{GIVEN}" to use those of the files given'
    if not preparation.whole_series:
        raise UsageError(f"{name}: {what}, and the data set was packed without some slices of its series: {ways}")
    if header.format != "dicom" or job.count > header.frames:
        if job.geometry.gaps:
            _log.warning(
                "%s: %s, and slices seem to be missing between those given (%d): the tensor may differ from the loader's",
                name, what, job.geometry.gaps,
            )  # fmt: skip
        return
    if header.frames == 1 and header.positions is not None:
        raise UsageError(
            f"{name} is one slice of a series, and {what}: give all files of the series, or the folder; or {ways}"
        )
    if header.frames == 1 and header.series is not None:
        _log.warning("%s: %s: if its series has more images, give them all", name, what)
