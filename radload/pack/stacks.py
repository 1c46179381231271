"""The geometry of a series: which slices make a stack, and what is odd about it (docs/geometry.md)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from radload.sources import Header

Traits = tuple[Hashable, ...]
Vector = tuple[float, float, float]

_SAME_STACK: Final = (
    0.98  # cosine between normals: gantry tilt and rounding stay below, localizers in other planes do not
)
_SAME_PLACE: Final = 0.01  # millimetres: positions are written with two to six decimals


@dataclass(frozen=True, slots=True)
class Geometry:
    """What the headers of a series say about its slices, before a pixel is decoded.

    Attributes:
        slice_spacing: median distance of neighbouring positions of the largest stack in millimetres, None where unknown.
        gaps: slices that seem to be missing: steps of n spacings count n - 1.
        duplicates: slices at the place of another one of their stack.
        tilt: largest angle between a stack's normal and the direction in which it grows, degrees; None where unknown.
        stacks: orientations; phases: most passes over one orientation (echoes, time points, acquisitions).
        irregular: largest distance of a step from a whole number of spacings, millimetres; None where unknown.
    """

    slice_spacing: float | None
    gaps: int
    duplicates: int
    tilt: float | None
    stacks: int
    phases: int
    irregular: float | None


def orientations(rows: Sequence[int], headers: Mapping[int, Header]) -> dict[int, int]:
    """Row -> number of its orientation; -1 for a file without a normal of its own."""
    normals: list[Vector] = []
    found: dict[int, int] = {}
    for row in sorted(rows, key=lambda row: headers[row].source):
        normal = headers[row].normal
        if normal is None:
            # one file of a volume without a known orientation still has an order of its own
            found[row] = 0 if len(rows) == 1 and headers[row].format == "nifti" else -1
            continue
        near = [i for i, other in enumerate(normals) if float(np.dot(normal, other)) > _SAME_STACK]
        if not near:
            near = [len(normals)]
            normals.append(normal)
        found[row] = near[0]
    return found


def split_phases(positions: Sequence[float], traits: Sequence[Traits], numbers: Sequence[int | None]) -> list[Traits]:
    """The phase of each slice of one orientation: those of its `traits` that tell slices at one place apart, () where none does.

    Traits are tried in order. One is used where it leaves fewer slices at one place, and makes no more phases than there are slices at
    the fullest place: an Acquisition Number that counts table positions, not passes, splits nothing. Where no trait tells (diffusion
    volumes whose b-value is private), the numbers do, if every place has equally many slices and pass follows pass in the numbers.

    Args:
        positions: millimetres along the normal; traits: of each slice, as many for all; numbers: Instance Number of each.
    """
    places = _places(positions)
    most = max(np.bincount(places).tolist(), default=0)
    phases: list[Traits] = [()] * len(positions)
    for number in range(len(traits[0]) if traits else 0):
        crowded = _crowded(places, phases)
        if not crowded:
            break
        finer = [(*phase, own[number]) for phase, own in zip(phases, traits, strict=True)]
        if len(set(finer)) <= most and _crowded(places, finer) < crowded:
            phases = finer
    return _by_number(places, phases, numbers) if _crowded(places, phases) else phases


def _by_number(places: Sequence[int], phases: list[Traits], numbers: Sequence[int | None]) -> list[Traits]:
    """`phases`, each cut into passes by the order of the numbers at every place; unchanged where that does not work out."""
    known = [number for number in numbers if number is not None]
    if len(known) < len(places):
        return phases
    cells: dict[tuple[Traits, int], list[int]] = defaultdict(list)
    for slice_ in sorted(range(len(places)), key=known.__getitem__):
        cells[phases[slice_], places[slice_]].append(slice_)
    if len({len(cell) for cell in cells.values()}) != 1:
        return phases
    finer = list(phases)
    spans: dict[Traits, list[int]] = defaultdict(list)
    for (phase, _), cell in cells.items():
        for rank, slice_ in enumerate(cell):
            finer[slice_] = (*phase, rank)
            spans[finer[slice_]].append(known[slice_])
    ordered = [(phase[:-1], min(span), max(span)) for phase, span in sorted(spans.items())]
    mixed = any(a[0] == b[0] and a[2] >= b[1] for a, b in pairwise(ordered))
    return phases if mixed else finer


def measure(
    stacks: Sequence[tuple[Sequence[float], Sequence[Vector] | None]], orientation_count: int, phases: int
) -> Geometry:
    """Measure the stacks of a series.

    Args:
        stacks: positions along the normal and Image Position (Patient), if known, of the slices of each stack; the largest first.
    """
    spacing = irregular = tilt = None
    gaps = duplicates = 0
    for positions, origins in stacks:
        ordered = sorted(positions)
        steps = [b - a for a, b in pairwise(ordered)]
        duplicates += sum(step < _SAME_PLACE for step in steps)
        steps = [step for step in steps if step >= _SAME_PLACE]
        if not steps:
            continue
        if spacing is None:
            spacing = float(np.median(steps))
        unit = sorted(steps)[(len(steps) - 1) // 2]  # the lower median is a distance that occurs
        for step in steps:
            whole = max(1, math.floor(step / unit + 0.5))
            gaps += whole - 1
            irregular = max(irregular or 0.0, abs(step - whole * unit))
        if origins is not None:
            tilt = max(tilt or 0.0, _tilt(positions, origins))
    return Geometry(spacing, gaps, duplicates, tilt, orientation_count, phases, irregular)


def _tilt(positions: Sequence[float], origins: Sequence[Vector]) -> float:
    """Degrees between the normal and the way from the first slice of a stack to its last."""
    first = min(range(len(positions)), key=positions.__getitem__)
    last = max(range(len(positions)), key=positions.__getitem__)
    length = math.dist(origins[first], origins[last])
    along = (positions[last] - positions[first]) / length if length else 1.0
    return math.degrees(math.acos(min(1.0, along)))


def _places(positions: Sequence[float]) -> list[int]:
    """A number for each position, equal for slices at one place."""
    order = sorted(range(len(positions)), key=positions.__getitem__)
    found, place = [0] * len(positions), 0
    for before, here in pairwise(order):
        place += positions[here] - positions[before] >= _SAME_PLACE
        found[here] = place
    return found


def _crowded(places: Sequence[int], phases: Sequence[Traits]) -> int:
    """Slices beyond the first at a place of their phase."""
    seen: dict[Traits, set[int]] = defaultdict(set)
    for place, phase in zip(places, phases, strict=True):
        seen[phase].add(place)
    return len(places) - sum(map(len, seen.values()))
