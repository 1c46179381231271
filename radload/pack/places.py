"""Series of a catalog and the order of their slices."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radload.sources import Header

_SAME_STACK = 0.98  # cosine between normals: gantry tilt and rounding stay below, localizers in other planes do not


@dataclass(frozen=True, slots=True)
class SeriesFiles:
    """A series: the catalog rows of its files and where their frames stand.

    Attributes:
        identity: patient, series UID, rows, cols, channels as one text; equal in every pack.
        rows: in order of their first frame; places[i][frame] is the place of a frame of rows[i] in the series, from 0.
        count: frames; size: bytes of their stored values.
        slice_spacing: median distance of neighbouring positions in millimetres, None where unknown.
    """

    identity: str
    rows: tuple[int, ...]
    places: tuple[tuple[int, ...], ...]
    count: int
    size: int
    slice_spacing: float | None


def find_series(headers: Sequence[Header], patients: Sequence[str]) -> list[SeriesFiles]:
    """Group files by (patient, series UID, rows, cols, channels); a file without a series UID, a NIfTI file and a picture stand alone.

    The patient is part of it because tools that de-identify give one UID to many.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for row, (header, patient) in enumerate(zip(headers, patients, strict=True)):
        own = header.series if header.format == "dicom" and header.series else f"\0{header.source}"
        groups["\0".join((patient, own, str(header.rows), str(header.cols), str(header.channels)))].append(row)
    return [_order(identity, rows, headers) for identity, rows in groups.items()]


def _order(identity: str, rows: list[int], headers: Sequence[Header]) -> SeriesFiles:
    """Stack by stack (largest first), each along its normal; by instance number and name where a position is missing."""
    stacks = _stacks(rows, headers)
    sizes = Counter(stacks.values())
    complete = {
        stack: stack >= 0 and all(headers[row].positions is not None for row in rows if stacks[row] == stack)
        for stack in sizes
    }

    def rank(row: int, frame: int) -> tuple[object, ...]:
        header, stack = headers[row], stacks[row]
        position = header.positions[frame] if complete[stack] and header.positions is not None else 0.0
        instance = header.instance if header.instance is not None else np.inf
        return -sizes[stack], stack, position, instance, header.source, frame

    frames = sorted(
        ((row, frame) for row in rows for frame in range(headers[row].frames)), key=lambda item: rank(*item)
    )
    places: dict[int, list[int]] = {row: [0] * headers[row].frames for row in rows}
    for place, (row, frame) in enumerate(frames):
        places[row][frame] = place
    ordered = tuple(dict.fromkeys(row for row, _ in frames))
    first = headers[rows[0]]
    return SeriesFiles(
        identity,
        ordered,
        tuple(tuple(places[row]) for row in ordered),
        len(frames),
        len(frames)
        * first.rows
        * first.cols
        * first.channels
        * max(1, -(-max(headers[row].bits for row in rows) // 8)),
        _spacing(rows, headers, stacks, complete),
    )


def _stacks(rows: list[int], headers: Sequence[Header]) -> dict[int, int]:
    """Row -> number of its stack of parallel slices; -1 for a file without a normal of its own."""
    normals: list[tuple[float, ...]] = []
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


def _spacing(
    rows: list[int], headers: Sequence[Header], stacks: dict[int, int], complete: dict[int, bool]
) -> float | None:
    """Of the largest stack."""
    usable = [stack for stack in complete if complete[stack]]
    if not usable:
        return None
    largest = max(usable, key=lambda stack: (sum(stacks[row] == stack for row in rows), -stack))
    positions = np.unique([p for row in rows if stacks[row] == largest for p in headers[row].positions or ()])
    gaps = np.diff(positions)
    gaps = gaps[gaps > 1e-3]
    return float(np.median(gaps)) if len(gaps) else None
