"""What a loader process puts into a slot: rendered pixels (CPU), or checked codestreams and kernel parameters (GPU); and masks."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from radload.dataset.shards import ShardFiles
from radload.loading.buffers import Buffers
from radload.loading.cache import Cache
from radload.loading.decode import decode_level
from radload.loading.masks import leave_out, put_mask
from radload.loading.plan import BatchPlan, Planner
from radload.loading.reader import Draw, Reader, StandIn

Arrays = dict[str, NDArray[Any]]


class Deliverer(Protocol):
    """One way to fill a slot. `begin` is called once per batch, `deliver` once per draw, from many threads."""

    def tools(self) -> Any:
        """What one thread keeps for itself: scratch memory."""

    def begin(self, arrays: Arrays, plan: BatchPlan, places: NDArray[np.int64]) -> None:
        """Prepare the slot for entries of `plan` at `places` of the batch; all other places are padding."""

    def deliver(
        self, arrays: Arrays, place: int, plan: BatchPlan, entry: int, epoch: int, position: int, tools: Any
    ) -> Draw[Any]:
        """Put entry `entry` of `plan`, drawn at `position` of `epoch`, at `place` of the batch."""


class PixelDeliverer:
    """Decodes and renders on the CPU: arrays "image" (N, C, H, W) float32, float16, or uint16 with bfloat16's bits."""

    def __init__(
        self,
        files: ShardFiles,
        planner: Planner,
        rows: range,
        replace: bool,
        stand_in: StandIn | None = None,
        cache: Cache[NDArray[Any]] | None = None,
    ) -> None:
        from radload.kernels import cpu, prepare  # brings Numba, which the GPU's path does not need

        recipe, (height, width) = planner.settings.recipe, planner.settings.size
        self._cpu = cpu
        self._reader = Reader(files, planner, rows, replace, decode_level, stand_in, cache)
        self._norm = prepare.normalisation(recipe.mean, recipe.std)
        self._shape = (recipe.channels, height, width)
        self._dtype = planner.settings.dtype

    def tools(self) -> tuple[Any, NDArray[np.float32], Buffers]:
        rendered = np.empty(self._shape if self._dtype != "float32" else 0, np.float32)
        return self._cpu.Scratch(), rendered, Buffers()

    def begin(self, arrays: Arrays, plan: BatchPlan, places: NDArray[np.int64]) -> None:
        if len(places) < len(arrays["image"]):
            padding = np.ones(len(arrays["image"]), np.bool_)
            padding[places] = False
            arrays["image"][padding] = 0
            leave_out(arrays, np.flatnonzero(padding))

    def deliver(
        self, arrays: Arrays, place: int, plan: BatchPlan, entry: int, epoch: int, position: int, tools: Any
    ) -> Draw[NDArray[Any]]:
        scratch, buffer, buffers = tools
        draw = self._reader.read(plan, entry, epoch, position, buffers)
        target = arrays["image"][place]
        if draw.content is None:
            target[...] = 0
            leave_out(arrays, place)
            arrays["valid"][place] = False
            return draw
        found, at = draw.plan, draw.place
        rendered = target if self._dtype == "float32" else buffer
        self._cpu.render_into(
            draw.content,
            found.samples[at : at + 1],
            found.windows[at : at + 1],
            self._norm,
            rendered,
            tables=found.tables,
            scratch=scratch,
        )
        if self._dtype == "bfloat16":
            self._cpu.to_bfloat16(rendered, target)
        elif self._dtype == "float16":
            self._cpu.to_float16(rendered, target)
        put_mask(arrays, place, draw.mask, found.samples[at : at + 1])
        arrays["rows"][place] = found.rows[at]
        return draw


def make_deliverer(
    kind: str,
    files: ShardFiles,
    planner: Planner,
    rows: range,
    replace: bool,
    stand_in: StandIn | None = None,
    cache: Cache[NDArray[Any]] | None = None,
) -> Deliverer:
    """The deliverer called "pixels" or "streams"."""
    if kind == "streams":
        from radload.loading.streams import StreamDeliverer

        return StreamDeliverer(files, planner, rows, replace, stand_in, cache)
    return PixelDeliverer(files, planner, rows, replace, stand_in, cache)
