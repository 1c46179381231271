"""Which slices of a series, and which frames of a clip, are packed: --slices and --frames.

A clip is a DICOM file of several frames without positions of their own (ultrasound, angiography, fluoroscopy): its frames are --frames'
affair. All other slices are --slices': per series, in order of position.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from radload.errors import UsageError
from radload.pack.places import SeriesFiles, places_of
from radload.sources import Header

LEFT_OUT: Final = -1  # place of a frame that is not packed
_RULE: Final = re.compile(r"(all|first)|(every|central|max):([1-9][0-9]{0,8})")
_SAME_PLANE: Final = 0.98  # cosine, as in stacks
_SAME_PLACE: Final = 0.01  # millimetres, as in stacks


@dataclass(frozen=True, slots=True)
class Thinning:
    """kind: all, first, every, central or max, and its number."""

    kind: str
    number: int = 1

    def choose(self, count: int) -> list[int]:
        """Which of `count` things in order stay, in rising order; at least one of them."""
        if self.kind == "first":
            return [0][:count]
        if self.kind == "every":
            return list(range(0, count, self.number))
        if self.kind == "all" or count <= self.number:
            return list(range(count))
        if self.kind == "central":
            start = (count - self.number) // 2
            return list(range(start, start + self.number))
        return [(2 * i + 1) * count // (2 * self.number) for i in range(self.number)]  # max: evenly spread


@dataclass(frozen=True, slots=True)
class Thinnings:
    """Of slices and of the frames of clips."""

    slices: Thinning = Thinning("all")
    frames: Thinning = Thinning("all")


EVERYTHING: Final = Thinnings()


def parse_thinning(text: str, option: str, first: bool) -> Thinning:
    """all, every:N, central:K or max:K; `first` says whether that is allowed too. Raises UsageError."""
    match = _RULE.fullmatch(text)
    if match is None or (match[1] == "first" and not first):
        choices = "all, first, every:N, central:K or max:K" if first else "all, every:N, central:K or max:K"
        raise UsageError(f"{option} {text} is unknown: give {choices}, such as max:20")
    return Thinning(match[1]) if match[1] else Thinning(match[2], int(match[3]))


def is_clip(header: Header) -> bool:
    """Several frames in time, not in space."""
    return header.format == "dicom" and header.frames > 1 and header.positions is None


def thin(
    series: Sequence[SeriesFiles], headers: Sequence[Header], thinnings: Thinnings
) -> tuple[list[SeriesFiles], list[int]]:
    """The series with the chosen frames alone, and the headers of which none is left.

    Places count the chosen frames from 0; the place of another frame is LEFT_OUT. A series keeps at least one frame. Of its geometry, gaps,
    duplicates and the like stay those of the whole series; slice_spacing is that of the chosen frames.
    """
    if thinnings == EVERYTHING:
        return list(series), []
    thinned = [_thin(one, headers, thinnings) for one in series]
    left_out = {row for one in series for row in one.rows} - {row for one in thinned for row in one.rows}
    return thinned, sorted(left_out)


def _thin(series: SeriesFiles, headers: Sequence[Header], thinnings: Thinnings) -> SeriesFiles:
    order: list[tuple[int, int]] = [(0, 0)] * series.count  # (row, frame) by place
    for row, places in zip(series.rows, series.places, strict=True):
        for frame, place in enumerate(places):
            order[place] = (row, frame)
    clips = {row for row in series.rows if is_clip(headers[row])}
    slices = [item for item in order if item[0] not in clips]
    chosen = {slices[i] for i in thinnings.slices.choose(len(slices))}
    for row in clips:
        chosen.update((row, frame) for frame in thinnings.frames.choose(headers[row].frames))
    kept = [item for item in order if item in chosen]
    if len(kept) == series.count:
        return series
    place_of = {item: place for place, item in enumerate(kept)}
    rows = array("q", dict.fromkeys(row for row, _ in kept))
    return replace(
        series,
        rows=rows,
        places=places_of(
            [[place_of.get((row, frame), LEFT_OUT) for frame in range(headers[row].frames)] for row in rows]
        ),
        count=len(kept),
        size=series.size // series.count * len(kept),
        geometry=replace(series.geometry, slice_spacing=_spacing(kept, headers)),  # the rest is about the whole series
    )


def _spacing(kept: Sequence[tuple[int, int]], headers: Sequence[Header]) -> float | None:
    """Median distance of neighbours among the chosen slices of the largest stack, in millimetres, None where there are none."""
    stacks: list[list[float]] = [[]]  # their steps: a step back, or to another plane, begins a stack
    for (row, frame), (next_row, next_frame) in pairwise(kept):
        one, other = headers[row], headers[next_row]
        if one.positions is None or other.positions is None:
            stacks.append([])
            continue
        parallel = one.normal == other.normal or (
            one.normal is not None
            and other.normal is not None
            and float(np.dot(one.normal, other.normal)) > _SAME_PLANE
        )
        step = other.positions[next_frame] - one.positions[frame]
        if not parallel or step < -_SAME_PLACE:
            stacks.append([])
        elif step >= _SAME_PLACE:
            stacks[-1].append(step)
    steps = max(stacks, key=len)
    return float(np.median(steps)) if steps else None
