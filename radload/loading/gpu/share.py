"""Where slices may be decoded, and which entries of a batch the CPU decodes where it shares them with a GPU.

The loader process imports it, so no torch.
"""

from __future__ import annotations

from radload.errors import UsageError

CPU, GPU, AUTO = "cpu", "gpu", "auto"


def check_decode(decode: str, cached: bool) -> str:
    """UsageError for an unknown `decode`, or one that does not go with a cache of decoded images on the host."""
    if decode not in (CPU, GPU, AUTO):
        raise UsageError(f'decode={decode!r} is unknown: choose "cpu", "gpu" or "auto"')
    if cached and decode == GPU:
        raise UsageError('cache keeps images that the CPU has decoded: leave decode="gpu" out, or the cache')
    return CPU if cached else decode


def on_cpu(entry: int, share: float) -> bool:
    """Whether entry `entry` of a batch belongs to the CPU's share, which is spread evenly over it."""
    return int((entry + 1) * share) > int(entry * share)
