"""The same pixels without shards: `radload.prepare` makes from files what a loader gives in evaluation, bit for bit on the CPU."""

from __future__ import annotations

from radload.inference.tensors import prepare, prepare_array

__all__ = ["prepare", "prepare_array"]
