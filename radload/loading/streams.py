"""What the loader process puts into a slot for the GPU: checked, cut codestreams or decoded levels, and the kernel's parameters.

Which of both is the consumer's wish, batch by batch: the share that the CPU decodes (see `calibrate`). What a GPU decoder cannot take is
always decoded here: raw members, and colour (which becomes luma before the window). Masks are rendered here too: nearest neighbour
costs less than sending them whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.codecs.codestream import level_shape, open_level
from radload.codecs.encoded import BytesLike
from radload.dataset.index import Index
from radload.dataset.schema import Codec
from radload.dataset.shards import ShardFiles
from radload.errors import CorruptSample, RadloadError
from radload.kernels.gpu import SOURCE
from radload.kernels.prepare import SAMPLE, WINDOW
from radload.loading.buffers import Buffers
from radload.loading.cache.levels import Cache
from radload.loading.decode import decode_level
from radload.loading.gpu.held import Held, HeldImage, Key
from radload.loading.gpu.share import on_cpu
from radload.loading.masks import leave_out, put_mask
from radload.loading.planning.neighbours import Drawn
from radload.loading.planning.plan import BatchPlan, Planner
from radload.loading.planning.views import by_view
from radload.loading.reader import Draw, Reader, StandIn

# ITEM["kind"]: -1 nothing, pixels of a type numbered as in kernels.gpu.DTYPE_CODES, a codestream of one grey component, or (HELD and on)
# pixels of such a type that the device keeps.
NOTHING, STREAM, HELD = -1, 16, 32
PIXEL_TYPES = ("u1", "<u2", "<i2", "<f4")
ITEM = np.dtype(
    [
        ("offset", "<i8"),  # in its pool, or in what the device keeps
        ("length", "<i8"),
        ("keep", "<i8"),  # where the device should keep it, -1: nowhere
        ("kind", "<i4"),
        ("rows", "<i4"),
        ("cols", "<i4"),
        ("shard", "<i4"),
    ]
)
DATA, CODED, TABLES = 0, 1, 2  # places in "taken"

TABLE_ENTRIES = 1 << 22  # of a batch's pool; pages that are not written take no memory
_ALIGN = 64


@dataclass(frozen=True, slots=True)
class Streamed:
    """One sample for the GPU: its bytes, what they are (`ITEM`), and the size of the image that they hold."""

    data: BytesLike | NDArray[Any]
    kind: int
    shape: tuple[int, int]


def unpack(data: BytesLike, record: np.void, level: int, pivot: float, buffers: Buffers | None = None) -> Streamed:
    """A cut codestream, or pixels where no GPU decoder fits; see decode_level. Raises CorruptSample."""
    if record["codec"] == Codec.HTJ2K and record["channels"] == 1:
        stream, shape = open_level(data, level)
        if shape != level_shape((int(record["rows"]), int(record["cols"])), level):
            raise CorruptSample(
                f"the codestream of sample {int(record['key'])} is of another size than the index says: pack the source again"
            )
        return Streamed(stream, STREAM, (shape[0], shape[1]))
    return _as_pixels(decode_level(data, record, level, pivot, buffers))


def _as_pixels(pixels: NDArray[Any]) -> Streamed:
    kind = PIXEL_TYPES.index(pixels.dtype.str.replace("|", ""))
    return Streamed(pixels.reshape(-1).view(np.uint8), kind, (pixels.shape[0], pixels.shape[1]))


def capacities(index: Index, rows: range) -> tuple[int, int]:
    """Bytes that no slice of the splits of `rows` exceeds: as pixels of whatever type the CPU makes of it, and as a stream."""
    touched = [name for name, span in index.ranges.items() if span.start < rows.stop and rows.start < span.stop]
    parts = [index.largest[name] for name in touched]
    pixels = max((max(4 * one.pixels, 2 * one.coded) for one in parts), default=0)
    streams = max((one.stream for one in parts), default=0)
    return _aligned(max(pixels, _ALIGN)), _aligned(streams + _ALIGN)


def _aligned(length: int) -> int:
    return -(-length // _ALIGN) * _ALIGN


def names(view: int) -> tuple[str, str]:
    """Arrays of a slot that hold the SAMPLE and WINDOW records of a view."""
    return ("samples", "windows") if view == 0 else (f"samples_{view}", f"windows_{view}")


def fields(
    batch_size: int, channels: int, capacity: tuple[int, int], slices: int = 1, views: int = 1
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Arrays of a slot; records travel as bytes. channels: of one slice; the slices of a draw stand one after the other.

    What goes to the device in one copy stands together: from "sources", which the consumer fills, to the end of what "data" holds. Both
    pools are filled from their start, "data" with pixels and "coded" with streams, so their ends are pages that nobody touches.
    """
    count = batch_size * slices
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        "items": ("u1", (count, ITEM.itemsize)),
        "taken": ("<i8", (3,)),  # bytes of "data" and of "coded", entries of "tables"
        "share": ("<f8", (1,)),  # of the entries that the CPU decodes; the consumer's wish
        "batch": ("<i8", (1,)),  # its number, see held.Held
        "own": ("?", (batch_size,)),  # whether the device should keep a draw's images, see order.homes
        "sources": ("u1", (count, SOURCE.itemsize)),
    }
    for view in range(views):
        samples, windows = names(view)
        found[samples] = ("u1", (count, SAMPLE.itemsize))
        found[windows] = ("u1", (count, channels * WINDOW.itemsize))
    return found | {
        "data": ("u1", (count * capacity[0],)),
        "coded": ("u1", (count * capacity[1],)),
        "tables": ("<f4", (TABLE_ENTRIES,)),
    }


def content(arrays: dict[str, NDArray[Any]], entry: int) -> NDArray[np.uint8]:
    """The bytes of an entry of a slot."""
    item = arrays["items"][entry].view(ITEM)[0]
    pool: NDArray[np.uint8] = arrays["coded" if item["kind"] == STREAM else "data"]
    return pool[item["offset"] : item["offset"] + item["length"]]


class StreamDeliverer:
    """Fills slots for the GPU."""

    def __init__(
        self,
        files: ShardFiles,
        planner: Planner,
        rows: Drawn,
        replace: bool,
        stand_in: StandIn | None = None,
        cache: Cache[NDArray[Any]] | None = None,
        held: int = 0,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._held = Held(held) if held else None
        self._streams: Reader[Any] = Reader(files, planner, rows, replace, unpack, stand_in)
        self._pixels: Reader[Any] = Reader(files, planner, rows, replace, decode_level, stand_in, cache)
        self._views = planner.settings.views
        self._lock = lock or Lock()

    def settle(self, done: list[int], gone: list[int], oldest: int) -> None:
        if self._held is not None:
            self._held.settle(done, gone, oldest)

    def tools(self) -> Buffers:
        return Buffers()

    def begin(self, arrays: dict[str, NDArray[Any]], plan: BatchPlan, places: NDArray[np.int64]) -> None:
        items = arrays["items"].view(ITEM)
        items["kind"], items["length"] = NOTHING, 0
        for part in by_view(arrays, self._views):
            leave_out(part, np.setdiff1d(np.arange(len(arrays["rows"])), places))
        arrays["taken"][:] = 0
        for pool in _pools(plan):
            self._add_tables(arrays, pool)

    def quick(
        self, arrays: dict[str, NDArray[Any]], places: list[int], plan: BatchPlan, draws: range, tools: Any
    ) -> Sequence[int]:
        return range(len(draws))

    def _take(self, arrays: dict[str, NDArray[Any]], pool: int, length: int) -> int:
        """Where `length` bytes or entries of a pool may be put."""
        with self._lock:
            start = int(arrays["taken"][pool])
            arrays["taken"][pool] = start + length
        return start

    def _add_tables(self, arrays: dict[str, NDArray[Any]], pool: NDArray[np.float32]) -> int:
        """Append tables to the slot's pool; returns where they start."""
        start, count = self._take(arrays, TABLES, len(pool)), len(pool)
        if start + count > TABLE_ENTRIES:
            raise RadloadError(
                f"the look-up tables of one batch have more than {TABLE_ENTRIES} entries: take a smaller batch, "
                'or device="cpu"'
            )
        arrays["tables"][start : start + count] = pool
        return start

    def _kept(self, plan: BatchPlan, entry: int) -> Draw[Any] | None:
        """A draw all of whose slices the device has: nothing is read."""
        if self._held is None:
            return None
        images = []
        for i in range(entry * plan.slices, (entry + 1) * plan.slices):
            image = self._held.find(_key(plan, i))
            if image is None:
                return None
            images.append(image)
        return Draw(images[0], plan, entry, (), None, tuple(images), len(images))

    def _keep(self, plan: BatchPlan, entry: int, arrays: dict[str, NDArray[Any]], place: int, one: Streamed) -> int:
        """Where the device should keep an image of the draw at `place`, -1: nowhere."""
        if self._held is None or not arrays["own"][place]:
            return -1
        dtype, length = (1, 2 * one.shape[0] * one.shape[1]) if one.kind == STREAM else (one.kind, len(one.data))
        offset = self._held.reserve(_key(plan, entry), int(arrays["batch"][0]), length, dtype, one.shape)
        return -1 if offset is None else offset

    def deliver(
        self,
        arrays: dict[str, NDArray[Any]],
        place: int,
        plan: BatchPlan,
        entry: int,
        epoch: int,
        position: int,
        tools: Buffers,
    ) -> Draw[Any]:
        draw = self._kept(plan, entry)
        if draw is None:
            reader = self._pixels if on_cpu(entry, float(arrays["share"][0])) else self._streams
            draw = reader.read(plan, entry, epoch, position, tools)
        parts = by_view(arrays, self._views)
        if draw.content is None:
            for part in parts:
                leave_out(part, place)
            arrays["valid"][place] = False
            return draw
        found = draw.plan
        pools = _pools(found)
        starts: list[int] = np.cumsum([0, *map(len, pools)])[:-1].tolist()  # where `begin` has put those of `plan`
        if found is not plan:
            starts = [self._add_tables(arrays, pool) for pool in pools]
        start_of = {id(pool): start for pool, start in zip(pools, starts, strict=True)}
        first, base = draw.place * found.slices, place * found.slices
        for i, read in enumerate(draw.slices):
            item = arrays["items"][base + i].view(ITEM)
            shard = int(found.records[first + i]["shard"])
            if isinstance(read, HeldImage):
                item[0] = (read.offset, 0, -1, HELD + read.dtype, read.rows, read.cols, shard)
                continue
            one = read if isinstance(read, Streamed) else _as_pixels(read)
            length = len(one.data)
            name, pool = ("coded", CODED) if one.kind == STREAM else ("data", DATA)
            start = self._take(arrays, pool, _aligned(length))
            arrays[name][start : start + length] = np.frombuffer(one.data, np.uint8)
            item[0] = (start, length, self._keep(found, first + i, arrays, place, one), one.kind, *one.shape, shard)
        entries, places = slice(first, first + found.slices), slice(base, base + found.slices)
        middle = first + found.slices // 2
        for number, (part, view) in enumerate(zip(parts, (found, *found.further), strict=True)):
            samples, windows = names(number)
            shifted = view.windows[entries].copy()
            shifted["start"] += start_of[id(view.tables)]
            arrays[samples][places] = view.samples[entries].view(np.uint8).reshape(found.slices, -1)
            arrays[windows][places] = shifted.view(np.uint8).reshape(found.slices, -1)
            put_mask(part, place, draw.mask, view.samples[middle : middle + 1])
        arrays["rows"][place] = found.rows[middle]
        return draw


def _key(plan: BatchPlan, entry: int) -> Key:
    return int(plan.rows[entry]), int(plan.levels[entry]), float(plan.pivot[entry])


def _pools(plan: BatchPlan) -> list[NDArray[np.float32]]:
    """The pools of tables of a plan's views, each once."""
    return list({id(view.tables): view.tables for view in (plan, *plan.further)}.values())
