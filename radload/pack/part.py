"""What a finished shard leaves for the index, as one Arrow file in `<out>/.packing`: a pack that was stopped goes on from there.

It names catalog rows, never files: everything below `--out` may be shared.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload.dataset.files import atomic_file
from radload.dataset.schema import MASK_RECORD, RECORD, SERIES_RECORD
from radload.dataset.segment import ShardPart

PACKING: Final = ".packing"

_REJECTS: Final = pa.schema(
    [("row", pa.int64()), ("frame", pa.int64()), ("code", pa.string()), ("reason", pa.string())]
)
_FILE: Final = pa.schema([("name", pa.string()), ("content", pa.large_binary())])


@dataclass(frozen=True, slots=True)
class RejectedFrame:
    """A frame that is not packed: catalog row of its file, number in the file, code and reason."""

    row: int
    frame: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Part:
    """A shard job's result.

    Attributes:
        rejects: frames of images and of masks; pixels: bytes of the stored values packed; job: digest of the job.
        mask_rows: (n,) int64, catalog row of each sample's mask, -1 where it has none.
        overlaps: pixels of masks that several segments claim.
    """

    shard: ShardPart
    rejects: tuple[RejectedFrame, ...]
    pixels: int
    job: str
    mask_rows: NDArray[np.int64]
    overlaps: int = 0


def part_path(out: Path, stem: str) -> Path:
    """File of the part of job `stem`."""
    return out / PACKING / "parts" / f"{stem}.arrow"


def write_part(path: Path, part: Part) -> None:
    """Write `part` atomically: where it exists, the shard is finished. Its name may be lost in a power cut: the shard is packed again."""
    shard = part.shard
    info = {
        "name": shard.name,
        "split": shard.split,
        "size": shard.size,
        "sha256": shard.sha256.hex(),
        "modalities": shard.modalities,
        "pixels": part.pixels,
        "overlaps": part.overlaps,
        "job": part.job,
    }
    rejects = [{"row": r.row, "frame": r.frame, "code": r.code, "reason": r.reason} for r in part.rejects]
    content = {
        "info": json.dumps(info).encode(),
        "records": shard.records.tobytes(),
        "series_records": shard.series_records.tobytes(),
        "samples": _pack(shard.samples),
        "series": _pack(shard.series),
        "luts": _pack(shard.luts),
        "masks": shard.masks.tobytes(),
        "mask_rows": part.mask_rows.tobytes(),
        "rejects": _pack(pa.Table.from_pylist(rejects, schema=_REJECTS)),
    }
    table = pa.Table.from_pydict({"name": list(content), "content": list(content.values())}, schema=_FILE)
    with atomic_file(path, name_lasts=False) as file, pa.ipc.new_file(file, _FILE) as writer:
        writer.write_table(table)


def read_part(path: Path) -> Part:
    """Read what `write_part` wrote."""
    with path.open("rb") as file:
        table = pa.ipc.open_file(file).read_all()
    content = dict(zip(table.column("name").to_pylist(), table.column("content").to_pylist(), strict=True))
    info = json.loads(content["info"])
    shard = ShardPart(
        info["name"],
        info["split"],
        info["size"],
        bytes.fromhex(info["sha256"]),
        np.frombuffer(content["records"], RECORD),
        _unpack(content["samples"]),
        np.frombuffer(content["series_records"], SERIES_RECORD),
        info["modalities"],
        _unpack(content["series"]),
        _unpack(content["luts"]),
        np.frombuffer(content["masks"], MASK_RECORD),
    )
    rejects = tuple(RejectedFrame(**row) for row in _unpack(content["rejects"]).to_pylist())
    mask_rows = np.frombuffer(content["mask_rows"], np.int64)
    return Part(shard, rejects, info["pixels"], info["job"], mask_rows, info["overlaps"])


def is_finished(out: Path, stem: str, name: str, job: str) -> bool:
    """Whether the job `stem` of digest `job` has left its part, and the shard that belongs to it is whole (size and SHA-256)."""
    return _is_there(out, stem, name, job, by_content=True)


def is_left(out: Path, stem: str, name: str, job: str) -> bool:
    """`is_finished` without reading the shard: its size tells."""
    return _is_there(out, stem, name, job, by_content=False)


def _is_there(out: Path, stem: str, name: str, job: str, *, by_content: bool) -> bool:
    path = part_path(out, stem)
    if not path.is_file():
        return False
    whole = read_part(path)
    part = whole.shard
    if whole.job != job:
        return False
    if not len(part.records):
        return True
    shard = out / name
    if not shard.is_file() or shard.stat().st_size != part.size:
        return False
    if not by_content:
        return True
    with shard.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest() == part.sha256


def _pack(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _unpack(content: bytes) -> pa.Table:
    return pa.ipc.open_stream(content).read_all()
