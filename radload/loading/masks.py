"""Label masks on their way into a slot: read at full resolution, rendered as their image, and absent where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload import codecs
from radload.dataset.index import Index
from radload.dataset.shards import ShardFiles
from radload.errors import UsageError

FIELD = "mask"
DTYPE = "<i4"  # holds every label of 16 bits, and -1
ABSENT = -1  # everywhere in the mask of a sample that has none


def check_masks(index: Index, where: object) -> None:
    """UsageError for a data set without masks."""
    if index.masks is None:
        raise UsageError(f"{where} has no masks: pack it with masks, or open the loader with masks=False")


def read_mask(files: ShardFiles, index: Index, row: int, record: np.void) -> NDArray[Any] | None:
    """The mask (rows, cols) of a row of the index, uint8 or uint16, its CRC-32C checked; None where it has none.

    Raises:
        CorruptSample, FormatError: as ShardFiles.read.
    """
    if index.masks is None:
        return None
    index.files.check()
    entry = index.masks[row]
    if not entry["length"]:
        return None
    return codecs.decode_mask(files.read_mask(entry, record), (int(record["rows"]), int(record["cols"])))


def leave_out(arrays: dict[str, NDArray[Any]], places: NDArray[np.integer] | int) -> None:
    """Mark places of a slot as without a mask."""
    if FIELD in arrays:
        arrays[FIELD][places] = ABSENT


def put_mask(arrays: dict[str, NDArray[Any]], place: int, mask: NDArray[Any] | None, sample: NDArray[np.void]) -> None:
    """Write a sample's mask at `place` of a slot; sample: (1,) of kernels.prepare.SAMPLE, as its image is rendered."""
    if FIELD not in arrays:
        return
    if mask is None:
        leave_out(arrays, place)
        return
    from radload.kernels.masks import render_mask_into  # brings Numba, which the GPU's path needs for nothing else

    render_mask_into(mask, sample, arrays[FIELD][place])
