"""Which entries of a batch the CPU decodes where it shares them with a GPU; the loader process imports it, so no torch."""

from __future__ import annotations


def on_cpu(entry: int, share: float) -> bool:
    """Whether entry `entry` of a batch belongs to the CPU's share, which is spread evenly over it."""
    return int((entry + 1) * share) > int(entry * share)
