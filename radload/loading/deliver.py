"""What a loader process puts into a slot: rendered pixels (CPU), or checked codestreams and kernel parameters (GPU); and masks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from radload.dataset.shards import ShardFiles
from radload.loading.buffers import Buffers
from radload.loading.cache.levels import Cache
from radload.loading.decode import decode_level
from radload.loading.masks import FIELD, leave_out, put_mask
from radload.loading.planning.neighbours import Drawn
from radload.loading.planning.plan import BatchPlan, Planner
from radload.loading.planning.views import by_view
from radload.loading.reader import Draw, Reader, StandIn
from radload.loading.straight import contents

Arrays = dict[str, NDArray[Any]]


class _Tools:
    """Of one thread: scratch memory, and the kernel's batches, one per view, of the plan that it had last."""

    __slots__ = ("batches", "buffers", "plan", "rendered", "scratch")

    def __init__(self, scratch: Any, rendered: dict[tuple[int, ...], NDArray[np.float32]]) -> None:
        self.scratch, self.rendered, self.buffers = scratch, rendered, Buffers()
        self.plan: BatchPlan | None = None
        self.batches: list[Any] = []


class Deliverer(Protocol):
    """One way to fill a slot. `begin` is called once per batch, `deliver` once per draw, from many threads."""

    def settle(self, done: list[int], gone: list[int], oldest: int) -> None:
        """What the consumer says about batches that it had: see held.Held."""

    def tools(self) -> Any:
        """What one thread keeps for itself: scratch memory."""

    def begin(self, arrays: Arrays, plan: BatchPlan, places: NDArray[np.int64]) -> None:
        """Prepare the slot for the draws of `plan` at `places` of the batch; all other places are padding."""

    def deliver(
        self, arrays: Arrays, place: int, plan: BatchPlan, entry: int, epoch: int, position: int, tools: Any
    ) -> Draw[Any]:
        """Put draw `entry` of `plan`, drawn at `position` of `epoch`, at `place` of the batch."""

    def quick(self, arrays: Arrays, places: list[int], plan: BatchPlan, draws: range, tools: Any) -> Sequence[int]:
        """Put those of `draws` that are as most are at their `places` of the batch, whose "rows" are written already.

        Returns which are left for `deliver`, counted from 0.
        """


class PixelDeliverer:
    """Decodes and renders on the CPU: "image" and "local" (see `views`) of float32, float16, or uint16 with bfloat16's bits."""

    def __init__(
        self,
        files: ShardFiles,
        planner: Planner,
        rows: Drawn,
        replace: bool,
        stand_in: StandIn | None = None,
        cache: Cache[NDArray[Any]] | None = None,
    ) -> None:
        from radload.kernels import cpu, prepare  # brings Numba, which the GPU's path does not need

        settings = planner.settings
        self._cpu = cpu
        self._reader = Reader(files, planner, rows, replace, decode_level, stand_in, cache)
        self._norm = prepare.normalisation(settings.recipe.mean, settings.recipe.std)
        self._views, self._dtype, self._files = settings.views, settings.dtype, files
        self._plain = settings.views.total == 1 and not settings.masks and cache is None
        sizes = {settings.views.size_of(view, settings.size) for view in range(settings.views.total)}
        self._shapes = [(settings.channels, *size) for size in sizes]

    def settle(self, done: list[int], gone: list[int], oldest: int) -> None:
        return

    def tools(self) -> _Tools:
        rendered: dict[tuple[int, ...], NDArray[np.float32]] = {}
        if self._dtype != "float32":
            rendered = {shape: np.empty(shape, np.float32) for shape in self._shapes}
        return _Tools(self._cpu.Scratch(), rendered)

    def begin(self, arrays: Arrays, plan: BatchPlan, places: NDArray[np.int64]) -> None:
        if len(places) < len(arrays["rows"]):
            padding = np.ones(len(arrays["rows"]), np.bool_)
            padding[places] = False
            for part in by_view(arrays, self._views):
                part["image"][padding] = 0
                leave_out(part, np.flatnonzero(padding))

    def deliver(
        self, arrays: Arrays, place: int, plan: BatchPlan, entry: int, epoch: int, position: int, tools: Any
    ) -> Draw[NDArray[Any]]:
        draw = self._reader.read(plan, entry, epoch, position, tools.buffers)
        parts = by_view(arrays, self._views)
        if draw.content is None:
            for part in parts:
                part["image"][place] = 0
                leave_out(part, place)
            arrays["valid"][place] = False
            return draw
        found = draw.plan
        first = draw.place * found.slices
        middle = first + found.slices // 2
        for part, view, batch in zip(parts, (found, *found.further), self._kernel(found, tools), strict=True):
            self._render(draw.slices, batch, first, part["image"][place], tools)
            if FIELD in part:
                put_mask(part, place, draw.mask, view.samples[middle : middle + 1])
        arrays["rows"][place] = found.rows[middle]
        return draw

    def quick(self, arrays: Arrays, places: list[int], plan: BatchPlan, draws: range, tools: _Tools) -> Sequence[int]:
        if not self._plain or plan.slices > 1:
            return range(len(draws))
        batch, *_ = self._kernel(plan, tools)
        images, left = arrays["image"], []
        for i, content in enumerate(contents(self._files, plan, draws, tools.buffers)):
            if content is None:
                left.append(i)
            else:
                self._render((content,), batch, draws.start + i, images[places[i]], tools)
        return left

    def _kernel(self, plan: BatchPlan, tools: _Tools) -> list[Any]:
        """The kernel's batches of a plan, one per view."""
        if tools.plan is not plan:
            tools.plan, tools.batches = plan, self._batches(plan)
        return tools.batches

    def _batches(self, plan: BatchPlan) -> list[Any]:
        views = (plan, *plan.further)
        return [self._cpu.Batch(view.samples, view.windows, self._norm, view.tables) for view in views]

    def _render(
        self, slices: tuple[NDArray[Any], ...], batch: Any, first: int, target: NDArray[Any], tools: _Tools
    ) -> None:
        """One view of a draw: its slices, described by entries `first` and on of the view's batch, to target (C, H, W)."""
        last = self._dtype == "float32"
        rendered = target if last else tools.rendered[target.shape]
        height, width = rendered.shape[1:]
        batch.render(first, slices, rendered.reshape(len(slices), -1, height, width), tools.scratch, streamed=last)
        if self._dtype == "bfloat16":
            self._cpu.to_bfloat16(rendered, target)
        elif self._dtype == "float16":
            self._cpu.to_float16(rendered, target)


def make_deliverer(
    kind: str,
    files: ShardFiles,
    planner: Planner,
    rows: Drawn,
    replace: bool,
    stand_in: StandIn | None = None,
    cache: Cache[NDArray[Any]] | None = None,
    held: int = 0,
    lock: AbstractContextManager[Any] | None = None,
) -> Deliverer:
    """The deliverer called "pixels" or "streams". lock: of all that fill the same slots; None: threads of this process."""
    if kind == "streams":
        from radload.loading.streams import StreamDeliverer

        return StreamDeliverer(files, planner, rows, replace, stand_in, cache, held, lock)
    return PixelDeliverer(files, planner, rows, replace, stand_in, cache)
