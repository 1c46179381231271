"""Numbers that all ranks of a run agree on after each step, so that they end together. One small sum over the ranks per step."""

from __future__ import annotations

import json
from typing import Any

import torch
import torch.distributed as dist

from radload.errors import RadloadError, UsageError

_REPORT = 16384  # bytes of a rank's report


class Agreement:
    """Sums and reports over the ranks of a process group. All methods are collectives: every rank calls them at the same steps.

    Args:
        group: a process group that takes CPU tensors (gloo), used for nothing else; rank, world_size: of the loader.

    Raises:
        UsageError: a group of other ranks, or for GPU tensors only.
    """

    def __init__(self, group: Any, rank: int, world_size: int) -> None:
        there = (dist.get_rank(group), dist.get_world_size(group))
        if there != (rank, world_size):
            raise UsageError(
                f"group= counts this process as rank {there[0]} of {there[1]}, the loader as {rank} of {world_size}: "
                "give a group of exactly the ranks that load"
            )
        if "gloo" not in str(dist.get_backend(group)) and str(dist.get_backend(group)) != "mpi":
            raise UsageError(
                f"group= is of backend {dist.get_backend(group)!r}, which sums on GPUs only: make one with "
                'torch.distributed.new_group(backend="gloo")'
            )
        self._group, self._world_size = group, world_size

    def sums(self, failed: int, broken: bool) -> tuple[int, int]:
        """Failures, and ranks that cannot go on, over all ranks. Raises RadloadError where a rank has gone."""
        numbers = torch.tensor([failed, int(broken)], dtype=torch.int64)
        self._run(dist.all_reduce, numbers)
        return int(numbers[0]), int(numbers[1])

    def reports(self, own: dict[str, Any]) -> list[dict[str, Any]]:
        """A small dict of plain values from each rank, in order of ranks. Raises RadloadError where a rank has gone."""
        data = json.dumps(own).encode()
        if len(data) > _REPORT:
            data = json.dumps({**own, "counts": [], "recent": []}).encode()
        padded = torch.frombuffer(bytearray(data.ljust(_REPORT)), dtype=torch.uint8)
        found = [torch.empty_like(padded) for _ in range(self._world_size)]
        self._run(dist.all_gather, found, padded)
        return [json.loads(bytes(one.tolist())) for one in found]

    def _run(self, collective: Any, *arguments: Any) -> None:
        try:
            collective(*arguments, group=self._group)
        except RuntimeError as error:  # what torch.distributed raises for a closed connection or a time-out
            first = str(error).splitlines()[0][:200]
            raise RadloadError(
                f"another rank of the run has gone or does not answer ({first}): look at what it said; "
                "the run can be resumed from its last state"
            ) from None
