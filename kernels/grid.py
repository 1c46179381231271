"""Where the outputs of a turned crop lie, compiled: reference.centres to the last bit, because what is shown depends on it.

So nothing here is fused or reordered, whoever calls it.
"""

from __future__ import annotations

from radload.kernels.jit import exact


@exact
def pivot(full: int, start: float, extent: float) -> float:
    """The middle of what a crop shows of an axis, in pixels."""
    return (max(start, 0.0) + min(start + extent, float(full))) / 2


@exact
def in_outputs(middle: float, start: float, extent: float, n_out: int) -> float:
    """Where the pivot of an axis lies in the output."""
    return (middle - start) / (extent / n_out)


@exact
def offset(o: int, at: float) -> float:
    """From the pivot to the centre of output o, in outputs."""
    return o + 0.5 - at


@exact
def centre(middle: float, one: float, other: float, extent: float, n_out: int) -> float:
    """Pixel coordinate of an output's centre, from the products of its two offsets with cosine and sine."""
    return middle + (one + other) * (extent / n_out)
