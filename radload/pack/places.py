"""Series of a catalog and the order of their slices."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from radload.pack.compact import Lazy
from radload.pack.stacks import Geometry, Traits, measure, orientations, split_phases
from radload.sources import Header


@dataclass(frozen=True, slots=True)
class SeriesFiles:
    """A series: the catalog rows of its files and where their frames stand.

    Attributes:
        identity: patient, series UID, rows, cols, channels as one text; equal in every pack.
        rows: in order of their first frame; places[i][frame] is the place of a frame of rows[i] in the series, from 0.
        count: frames; size: bytes of their stored values.
    """

    identity: str
    rows: Sequence[int]
    places: Sequence[tuple[int, ...]]
    count: int
    size: int
    geometry: Geometry


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame of a series; position: None where those of its orientation are not all known."""

    row: int
    frame: int
    orientation: int
    position: float | None
    phase: Traits = ()


def find_series(headers: Sequence[Header], patients: Sequence[str]) -> list[SeriesFiles]:
    """Group files by (patient, series UID, rows, cols, channels); a file without a series UID, a NIfTI file and a picture stand alone.

    The patient is part of it because tools that de-identify give one UID to many.
    """
    groups: dict[str, array[int]] = defaultdict(lambda: array("q"))
    for row, (header, patient) in enumerate(zip(headers, patients, strict=True)):
        own = header.series if header.format == "dicom" and header.series else f"\0{header.source}"
        groups["\0".join((patient, own, str(header.rows), str(header.cols), str(header.channels)))].append(row)
    return [_order(identity, rows, {row: headers[row] for row in rows}) for identity, rows in groups.items()]


def places_of(files: Sequence[Sequence[int]]) -> Sequence[tuple[int, ...]]:
    """Places of each file's frames, as they are kept: those of files with one frame each, in order, need no memory."""
    count = len(files)
    if all(len(one) == 1 and one[0] == place for place, one in enumerate(files)):
        return Lazy(count, _alone)
    return tuple(tuple(one) for one in files)


def _alone(place: int) -> tuple[int, ...]:
    return (place,)


def _order(identity: str, rows: Sequence[int], headers: Mapping[int, Header]) -> SeriesFiles:
    """Orientation by orientation (largest first), phase by phase, each along its normal; where a position is missing, by instance
    number and name."""
    frames = _frames(rows, headers)
    sizes = Counter(frame.orientation for frame in frames)

    def rank(item: _Frame) -> tuple[object, ...]:
        header = headers[item.row]
        instance = header.instance if header.instance is not None else np.inf
        position = item.position if item.position is not None else 0.0
        orientation = item.orientation
        return -sizes[orientation], orientation, item.phase, position, instance, header.source, item.frame

    frames.sort(key=rank)
    places: dict[int, list[int]] = {row: [0] * headers[row].frames for row in rows}
    for place, item in enumerate(frames):
        places[item.row][item.frame] = place
    ordered = tuple(dict.fromkeys(item.row for item in frames))
    first = headers[rows[0]]
    bytes_per_value = max(1, -(-max(headers[row].bits for row in rows) // 8))
    return SeriesFiles(
        identity,
        array("q", ordered),
        places_of([places[row] for row in ordered]),
        len(frames),
        len(frames) * first.rows * first.cols * first.channels * bytes_per_value,
        _geometry(frames, headers),
    )


def _frames(rows: Sequence[int], headers: Mapping[int, Header]) -> list[_Frame]:
    """All frames of a series with their orientations, positions and phases."""
    orientation = orientations(rows, headers)
    found: list[_Frame] = []
    for number in sorted(set(orientation.values())):
        mine = [row for row in rows if orientation[row] == number]
        frames = [(row, frame) for row in mine for frame in range(headers[row].frames)]
        positions = [position for row in mine for position in headers[row].positions or ()]
        if number < 0 or len(positions) != len(frames):
            found += [_Frame(row, frame, number, None) for row, frame in frames]
            continue
        traits = [_traits(headers[row], frame) for row, frame in frames]
        phases = split_phases(positions, traits, [headers[row].instance for row, _ in frames])
        found += [
            _Frame(row, frame, number, position, phase)
            for (row, frame), position, phase in zip(frames, positions, phases, strict=True)
        ]
    return found


def _traits(header: Header, frame: int) -> Traits:
    """What may tell passes over one place apart, the surest first: echo, time point, b-value, kind of image, acquisition."""
    echo, time, acquisition = header.phases[frame] if header.phases is not None else (0, 0, 0)
    b_value = header.attributes.b_value
    return echo, time, -1.0 if b_value is None else b_value, header.image_type, acquisition


def _geometry(frames: Sequence[_Frame], headers: Mapping[int, Header]) -> Geometry:
    """`frames` in order of place."""
    stacks: dict[tuple[int, Traits], list[_Frame]] = defaultdict(list)
    for item in frames:
        if item.position is not None:
            stacks[item.orientation, item.phase].append(item)
    phases = Counter(orientation for orientation, _ in stacks)
    measured = []
    for stack in sorted(stacks.values(), key=len, reverse=True):
        origins = [known[item.frame] for item in stack if (known := headers[item.row].origins) is not None]
        positions = [item.position for item in stack if item.position is not None]
        measured.append((positions, origins if len(origins) == len(stack) else None))
    known_orientations = {item.orientation for item in frames if item.orientation >= 0}
    return measure(measured, len(known_orientations), max(phases.values(), default=0))
