"""Which resolution level serves a draw: a function of the sample, the crop box and the output size, and of nothing else.

A level is a resample before the window, so it is part of what a batch means: no cache, calibration or thread count may
change it. Half level against full, 512 to 224 pixels: lung 40 dB, bone 42, soft tissue 31.5, brain 26; hence the rule
for narrow windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radload.errors import UsageError

RESOLUTIONS = ("auto", "full")
NARROW_HU = 200.0  # CT windows under this width are decoded in full
MIN_SLACK, MAX_SLACK = 0.25, 8.0


def check_resolution(resolution: str, level_slack: float) -> None:
    """UsageError for arguments of `choose_levels` that cannot be used."""
    if resolution not in RESOLUTIONS:
        raise UsageError(f"resolution={resolution!r} is unknown: choose one of {', '.join(map(repr, RESOLUTIONS))}")
    if not MIN_SLACK <= level_slack <= MAX_SLACK:
        raise UsageError(
            f"level_slack={level_slack} cannot be used: 1.0 never enlarges a decoded level, 1.5 lets it be enlarged by half; "
            f"{MIN_SLACK} to {MAX_SLACK:g}"
        )


def choose_levels(
    boxes: NDArray[np.floating],
    safe_levels: NDArray[np.integer],
    narrow: NDArray[np.bool_],
    size: tuple[int, int],
    level_slack: float = 1.0,
    resolution: str = "auto",
) -> NDArray[np.int64]:
    """The level of each draw: the largest k <= safe_levels whose crop still has size / level_slack pixels on both axes.

    Args:
        boxes: (n, 4) top, left, height, width in full-resolution pixels; what counts is their scale, so they may leave the image.
        safe_levels: (n,) of the index; narrow: (n,) a CT window under `NARROW_HU` is applied.
        size: output (height, width).
        level_slack: 1.0 never enlarges what was decoded; 1.5 allows an enlargement by 1.5.
        resolution: "full" decodes every sample in full.

    Returns:
        (n,) int64, 0 for the full image.
    """
    if resolution == "full":
        return np.zeros(len(boxes), np.int64)
    need = np.array(size, np.float64) / level_slack
    levels = np.zeros(len(boxes), np.int64)
    for k in range(1, int(np.max(safe_levels, initial=0)) + 1):
        enough = (boxes[:, 2:] >= need * 2**k).all(axis=1) & (safe_levels >= k) & ~narrow
        levels[enough] = k
    return levels
