"""A series as one array, with the way from its indices to the patient's millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from radload.dataset.index import Index
from radload.dataset.schema import Flag
from radload.dataset.stacks import find_stacks, vectors
from radload.errors import UsageError

EVEN = 0.1  # share of the mean step by which steps may differ from it and still count as one spacing
IN_PLANE = 0.01  # share of a step along the normal below which the slices lie beside each other, and make no volume


class Readable(Protocol):
    """A slice, whose pixels are read when they are asked for; see dataset.Sample."""

    row: int

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def stored(self) -> NDArray[Any]: ...
    def modality(self) -> NDArray[Any]: ...


@dataclass(frozen=True, slots=True)
class Volume:
    """One stack of a series.

    Attributes:
        values: (slices, rows, cols), or (slices, rows, cols, 3) for colour; in order of position.
        rows: of the index.
        positions: (slices, 3) millimetres of the centre of each slice's first pixel, patient coordinates (LPS); NaN where unknown.
        spacing: (slice, row, col) millimetres between neighbouring voxels; None as for `affine`.
        affine: (4, 4) float64, from (slice, row, col, 1) to (x, y, z, 1) in LPS millimetres (PS3.3 C.7.6.2.1.1), for a tilted gantry
            too; None where positions, orientation or pixel spacing are unknown, where there is one slice only, or where the slices
            are not evenly spaced (a step differs from their mean by more than a tenth of it), or lie in one plane.
    """

    values: NDArray[Any]
    rows: range
    positions: NDArray[np.float64]
    spacing: tuple[float, float, float] | None
    affine: NDArray[np.float64] | None


def read_volume(
    index: Index, series: int, samples: Sequence[Readable], *, modality: bool = True, stack: int | None = None
) -> Volume:
    """A series, or one stack of it; samples: all of the series. See Dataset.volume."""
    first = samples[0].row
    number = find_stacks(index, range(first, first + len(samples))).number
    sizes = np.bincount(number).tolist()
    if stack is None and len(sizes) > 1:
        shapes = {sample.shape for sample in samples}
        several = f"images of {len(shapes)} shapes" if len(shapes) > 1 else "several orientations or phases"
        listed = ", ".join(map(str, sizes[:8])) + (", …" if len(sizes) > 8 else "")
        raise UsageError(
            f"series {series} has {several}, in {len(sizes)} stacks of {listed} slices: choose one with stack=0 to {len(sizes) - 1}"
        )
    chosen = stack or 0
    if not 0 <= chosen < len(sizes):
        raise UsageError(f"series {series} has no stack {stack}: it has {len(sizes)}, 0 to {len(sizes) - 1}")
    places = np.flatnonzero(number == chosen)
    used = [samples[i] for i in places.tolist()]
    if len({sample.shape for sample in used}) > 1:  # slices without any colour of a NIfTI volume in colour
        raise UsageError(
            f"series {series} has grey slices and coloured ones, which make no array: use dataset.series({series})"
        )
    rows = range(first + int(places[0]), first + int(places[-1]) + 1)
    values = np.stack([sample.modality() if modality else sample.stored for sample in used])
    positions = vectors(index, "image_position", rows)
    affine = _affine(index, rows, positions)
    spacing = None if affine is None else tuple(float(v) for v in np.linalg.norm(affine[:3, :3], axis=0))
    return Volume(values, rows, positions, None if spacing is None else (spacing[0], spacing[1], spacing[2]), affine)


def _affine(index: Index, rows: range, positions: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """From (slice, row, col, 1) to LPS millimetres; None where there is no such matrix."""
    record = index.records[rows.start]
    direction = vectors(index, "image_orientation", rows)[0]
    pixel = np.array([record["spacing_row"], record["spacing_col"]], np.float64)
    if Flag(int(record["flags"])) & Flag.RATIO or len(rows) < 2 or not np.isfinite([*direction, *pixel]).all():
        return None
    steps = np.diff(positions, axis=0)
    mean = steps.mean(axis=0)
    length = float(np.linalg.norm(mean))
    through = abs(float(np.cross(direction[:3], direction[3:]) @ mean))
    if not (
        np.isfinite(steps).all()
        and through > IN_PLANE * length
        and np.linalg.norm(steps - mean, axis=1).max() <= EVEN * length
    ):
        return None
    affine = np.eye(4)
    affine[:3, 0] = mean
    affine[:3, 1] = direction[3:] * pixel[0]  # the way down a column
    affine[:3, 2] = direction[:3] * pixel[1]  # the way along a row
    affine[:3, 3] = positions[0]
    return affine
