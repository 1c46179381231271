"""Slices that decoded, and still look wrong: flagged in the index, never left out. What a flag means is for a person to find out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from radload.dataset.schema import Suspect
from radload.sources.slice import Slice

_NOTHING: Final = Suspect(0)
_WORDS: Final = {
    Suspect.CONSTANT: "all one value between others that are not",
    Suspect.BITS: "values that Bits Stored cannot hold",
    Suspect.CLAIM: "values outside the range that the header claims",
}


Extremes: TypeAlias = tuple[float, float]


def extremes_of(values: NDArray[Any]) -> Extremes | None:
    """Lowest and highest of the values that are finite, whole numbers of integers; None where there is none."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return (values.min().item(), values.max().item()) if values.size else None


def disagreement(image: Slice, extremes: Extremes | None) -> Suspect:
    """Whether the stored values of a grey integer image are what its header says: Bits Stored, and the smallest and largest value
    (PS3.3 C.7.6.3.1). Padding is not looked at: writers disagree on whether it counts.

    `extremes`: of the stored values, padding among them.
    """
    if extremes is None or not image.photometric.startswith("MONOCHROME") or image.stored.dtype.kind not in "iu":
        return _NOTHING
    found = _beyond(image, *extremes)
    if found and image.padding is not None:  # only then is it worth while to leave padding out
        values: NDArray[Any] = image.stored
        content = extremes_of(values[(values < image.padding[0]) | (values > image.padding[1])])
        return _NOTHING if content is None else _beyond(image, *content)
    return found


def _beyond(image: Slice, low: float, high: float) -> Suspect:
    signed = image.stored.dtype.kind == "i"
    least = -(1 << (image.bits_stored - 1)) if signed else 0
    most = (1 << (image.bits_stored - signed)) - 1
    found = _NOTHING
    if low < least or high > most:
        found |= Suspect.BITS
    if image.claimed is not None and (low < image.claimed[0] or high > image.claimed[1]):
        found |= Suspect.CLAIM
    return found


def mark_constant(rows: Sequence[dict[str, Any]]) -> None:
    """Flag rows of SAMPLES, those of one series in order of place: all one value, where both neighbours (at an end: the one) are not."""
    constant = [row["minimum"] is not None and row["minimum"] == row["maximum"] for row in rows]
    for place, row in enumerate(rows):
        neighbours = constant[max(place - 1, 0) : place] + constant[place + 1 : place + 2]
        if constant[place] and neighbours and not any(neighbours):
            row["suspect"] |= Suspect.CONSTANT


def count_flags(flags: NDArray[np.integer[Any]]) -> Counter[int]:
    """How often each value of a `suspect` column other than 0 occurs."""
    values, counts = np.unique(flags[flags != 0], return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def describe(counts: Counter[int]) -> str | None:
    """One sentence for the user about what `count_flags` found, None where nothing is flagged."""
    if not counts:
        return None
    parts = [
        f"{words}: {count:,}"
        for flag, words in _WORDS.items()
        if (count := sum(number for value, number in counts.items() if value & flag))
    ]
    return f"{counts.total():,} samples look suspect ({'; '.join(parts)}): see the column suspect of samples.arrow"
