"""What the loader process puts into a slot for the GPU: checked, cut codestreams, and the kernel's parameters.

What a GPU decoder cannot take is decoded here: raw members, and colour (which becomes luma before the window). Masks are
rendered here too: nearest neighbour costs less than sending them whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.codecs.codestream import level_shape, open_level
from radload.dataset.index import Index
from radload.dataset.schema import Codec
from radload.dataset.shards import ShardFiles
from radload.errors import CorruptSample, RadloadError
from radload.kernels.prepare import SAMPLE, WINDOW
from radload.loading.decode import decode_level
from radload.loading.masks import leave_out, put_mask
from radload.loading.plan import BatchPlan, Planner
from radload.loading.reader import Draw, Reader, StandIn

# ITEM["kind"]: -1 nothing, a codestream of one grey component, or pixels of a type numbered as in kernels.gpu.DTYPE_CODES.
NOTHING, STREAM = -1, 16
PIXEL_TYPES = ("u1", "<u2", "<i2", "<f4")
ITEM = np.dtype([("length", "<i8"), ("kind", "<i4"), ("rows", "<i4"), ("cols", "<i4"), ("reserved", "<i4")])

TABLE_ENTRIES = 1 << 22  # of a batch's pool; pages that are not written take no memory


@dataclass(frozen=True, slots=True)
class Streamed:
    """One sample for the GPU: its bytes, what they are (`ITEM`), and the size of the image that they hold."""

    data: bytes | NDArray[Any]
    kind: int
    shape: tuple[int, int]


def unpack(data: bytes, record: np.void, level: int, pivot: float) -> Streamed:
    """A cut codestream, or pixels where no GPU decoder fits. Raises CorruptSample."""
    if record["codec"] == Codec.HTJ2K and record["channels"] == 1:
        stream, shape = open_level(data, level)
        if shape != level_shape((int(record["rows"]), int(record["cols"])), level):
            raise CorruptSample(
                f"the codestream of sample {int(record['key'])} is of another size than the index says: pack the source again"
            )
        return Streamed(bytes(stream), STREAM, (shape[0], shape[1]))
    pixels = decode_level(data, record, level, pivot)
    kind = PIXEL_TYPES.index(pixels.dtype.str.replace("|", ""))
    return Streamed(pixels.reshape(-1).view(np.uint8), kind, (pixels.shape[0], pixels.shape[1]))


def longest(index: Index, rows: range) -> int:
    """Bytes that no sample of `rows` exceeds, whatever it is unpacked to: of the splits that they lie in."""
    touched = [name for name, span in index.ranges.items() if span.start < rows.stop and rows.start < span.stop]
    found = [max(index.largest[name].stream + 64, 4 * index.largest[name].pixels) for name in touched]
    return -(-max(found, default=64) // 64) * 64


def fields(batch_size: int, channels: int, capacity: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Arrays of a slot; records travel as bytes."""
    return {
        "data": ("u1", (batch_size, capacity)),
        "items": ("u1", (batch_size, ITEM.itemsize)),
        "samples": ("u1", (batch_size, SAMPLE.itemsize)),
        "windows": ("u1", (batch_size, channels * WINDOW.itemsize)),
        "tables": ("<f4", (TABLE_ENTRIES,)),
        "used": ("<i8", (1,)),  # entries of "tables"
    }


class StreamDeliverer:
    """Fills slots for the GPU."""

    def __init__(
        self, files: ShardFiles, planner: Planner, rows: range, replace: bool, stand_in: StandIn | None = None
    ) -> None:
        self._reader = Reader(files, planner, rows, replace, unpack, stand_in)
        self._lock = Lock()

    def tools(self) -> None:
        return None

    def begin(self, arrays: dict[str, NDArray[Any]], plan: BatchPlan, places: NDArray[np.int64]) -> None:
        items = arrays["items"].view(ITEM)
        items["kind"], items["length"] = NOTHING, 0
        leave_out(arrays, np.setdiff1d(np.arange(len(items)), places))
        arrays["used"][0] = 0
        self._add_tables(arrays, plan)

    def _add_tables(self, arrays: dict[str, NDArray[Any]], plan: BatchPlan) -> int:
        """Append a plan's tables to the slot's pool; returns where they start."""
        with self._lock:
            start, count = int(arrays["used"][0]), len(plan.tables)
            if start + count > TABLE_ENTRIES:
                raise RadloadError(
                    f"the look-up tables of one batch have more than {TABLE_ENTRIES} entries: take a smaller batch, "
                    'or device="cpu"'
                )
            arrays["tables"][start : start + count] = plan.tables
            arrays["used"][0] = start + count
        return start

    def deliver(
        self,
        arrays: dict[str, NDArray[Any]],
        place: int,
        plan: BatchPlan,
        entry: int,
        epoch: int,
        position: int,
        tools: None,
    ) -> Draw[Streamed]:
        draw = self._reader.read(plan, entry, epoch, position)
        if draw.content is None:
            leave_out(arrays, place)
            arrays["valid"][place] = False
            return draw
        content, found, at = draw.content, draw.plan, draw.place
        windows = found.windows[at].copy()
        if found is not plan:
            windows["start"] += self._add_tables(arrays, found)
        length = len(content.data)
        arrays["data"][place, :length] = np.frombuffer(content.data, np.uint8)
        arrays["samples"][place] = found.samples[at : at + 1].view(np.uint8)
        arrays["windows"][place] = windows.view(np.uint8)
        arrays["items"][place].view(ITEM)[0] = (length, content.kind, *content.shape, 0)
        put_mask(arrays, place, draw.mask, found.samples[at : at + 1])
        arrays["rows"][place] = found.rows[at]
        return draw
