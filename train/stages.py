"""Progressive resizing: which size the images have at which step. Small images first cost a fraction, and the loader decodes less."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from radload.errors import UsageError

_EXAMPLE = "give SIZE:SHARE,…,SIZE, as 128:0.4,176:0.7,224, with shares of all steps that rise"


@dataclass(frozen=True)
class Stage:
    """Steps first <= step < end with images of size x size pixels."""

    size: int
    first: int
    end: int


def sizes_of(text: str | None, size: int) -> tuple[tuple[int, float], ...]:
    """((pixels, share of all steps at which they end), …), the last with share 1; `size` for the whole run without a text.

    Raises:
        UsageError: a text that is no such list.
    """
    if text is None:
        return ((size, 1.0),)
    parts = [part.partition(":") for part in text.split(",")]
    try:
        found = [(int(pixels), float(share) if colon else 1.0) for pixels, colon, share in parts]
    except ValueError:
        raise UsageError(f"--sizes {text} cannot be read: {_EXAMPLE}") from None
    bounds = [0.0, *(share for _, share in found)]
    rising = all(low < high for low, high in pairwise(bounds))
    if not rising or parts[-1][1] or bounds[-1] > 1 or min(pixels for pixels, _ in found) < 1:
        raise UsageError(f"--sizes {text} cannot be used: {_EXAMPLE}")
    return tuple(found)


def stages_of(sizes: tuple[tuple[int, float], ...], total: int) -> tuple[Stage, ...]:
    """The stages of a run of `total` steps, without those that are too short for a step."""
    ends = [round(share * total) for _, share in sizes]
    return tuple(
        Stage(pixels, first, end)
        for (pixels, _), first, end in zip(sizes, [0, *ends], ends, strict=False)
        if end > first
    )
