"""Catalog rows of a stream of files: taken from an earlier scan where a file is unchanged, read by worker processes where it is not.

Memory holds one segment of file names and the rows of the blocks that are under way, whatever the number of files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import pyarrow as pa

from radload.pack.catalog_schema import SCHEMA, Outcome, encode
from radload.pack.codes import DECODER_CRASHED, INTERNAL_ERROR, OUT_OF_MEMORY, TIMEOUT, UNREADABLE
from radload.pack.executor import Beat, Crew, Limits
from radload.pack.fetch import Fetch
from radload.pack.privacy import printable
from radload.pack.radimagenet import with_modality
from radload.pack.scan import InputFile, Reject, ScanJob, scan_chunks, scan_file
from radload.sources import Header
from radload.sources.sniff import pair_stem

BLOCK: Final = 4096  # files of one journal file: what a killed scan reads again at most, per worker's neighbourhood
_SEGMENT: Final = 16 * BLOCK  # files between two pools of workers
_HEADER: Final = 64 << 10  # bytes: most headers lie within
_CHUNK: Final = 256  # files of one job: enough to pay for its way, few enough for all cores to end together
_NOT_FOR_EVER: Final = frozenset(
    (UNREADABLE, INTERNAL_ERROR, TIMEOUT, DECODER_CRASHED, OUT_OF_MEMORY)
)  # may be different next time


class KnownRows:
    """Rows of an earlier scan, asked for in order of name; an unknown or changed file has none."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._batch: pa.RecordBatch | None = None
        self._names: list[bytes] = []
        self._seen: list[tuple[int, int]] = []
        self._fixed: list[bool] = []
        self._place = 0

    def find(self, file: InputFile) -> tuple[pa.RecordBatch, int] | None:
        """(batch, row in it) of an unchanged file; later files only have names behind it."""
        name = printable(file.source).encode()
        while True:
            while self._place < len(self._names) and self._names[self._place] < name:
                self._place += 1
            if self._place < len(self._names):
                break
            if not self._next():
                return None
        place = self._place
        if self._names[place] != name or self._seen[place] != (file.size, file.modified) or not self._fixed[place]:
            return None
        return (self._batch, place) if _stands_alone(file) else None

    def _next(self) -> bool:
        self._batch = next(self._batches, None)
        if self._batch is None:
            return False
        column = {name: self._batch.column(name).to_pylist() for name in ("source", "size", "modified", "code")}
        self._names = [name.encode() for name in column["source"]]
        self._seen = list(zip(column["size"], column["modified"], strict=True))
        self._fixed = [code not in _NOT_FOR_EVER for code in column["code"]]
        self._place = 0
        return True


def _stands_alone(file: InputFile) -> bool:
    """Whether the file's own size and time say all: not of a .hdr/.img pair, nor of a name that is no UTF-8, or a broken link."""
    path = Path(file.source)
    paired = pair_stem(path, ".hdr") is not None or pair_stem(path, ".img") is not None
    return not paired and printable(file.source) == file.source and (file.size, file.modified) != (0, 0)


@dataclass(slots=True)
class _Block:
    """Files of one journal file, and the rows found for them."""

    files: list[InputFile]
    places: dict[str, int]  # of the files still to be read
    found: list[tuple[pa.RecordBatch, list[int], list[int]]] = field(
        default_factory=list
    )  # batch, its rows, places here

    def batch(self) -> pa.RecordBatch:
        order: list[int] = []
        pieces = []
        for batch, rows, places in self.found:
            pieces.append(batch.take(pa.array(rows, pa.int64())))
            order += places
        back = [0] * len(order)
        for position, place in enumerate(order):
            back[place] = position
        table = pa.Table.from_batches(pieces, SCHEMA).take(pa.array(back, pa.int64()))
        return table.combine_chunks().to_batches()[0]


def find_rows(
    root: Path,
    files: Iterable[InputFile],
    axis: int,
    workers: int,
    known: Sequence[KnownRows],
    on_files: Callable[[int, int], None] = lambda count, reused: None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    crew: Crew | None = None,
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(number, rows) of each block of `BLOCK` files as it is whole; the numbers count blocks in order of name.

    Args:
        files: below `root`, in order of name; axis: along which NIfTI volumes are cut.
        known: earlier scans, the newest first.
        on_files: called with the numbers of files just done, and of those among them that were not read again.
        limits: of a worker; crew: whose workers are used.
    """
    stream, number = iter(files), 0
    while segment := list(islice(stream, _SEGMENT)):
        starts = range(0, len(segment), BLOCK)
        blocks = {number + i: _block(segment[start : start + BLOCK], known) for i, start in enumerate(starts)}
        home = {name: i for i, block in blocks.items() for name in block.places}
        number += len(blocks)
        reused = len(segment) - len(home)
        on_files(reused, reused)
        waiting = [file for file in segment if file.source in home]
        for i in [i for i, block in blocks.items() if not block.places]:
            yield i, blocks.pop(i).batch()
        size = max(1, min(_CHUNK, -(-len(waiting) // (4 * max(workers, 1)))))
        jobs = [ScanJob(root, tuple(waiting[i : i + size]), axis) for i in range(0, len(waiting), size)]
        for scanned, result in scan_chunks(scan_rows, jobs, workers, limits, crew):
            batch = encode(scanned, [result]) if isinstance(result, Reject) else result
            for i in {home[file.source] for file in scanned}:
                block = blocks[i]
                rows = [row for row, file in enumerate(scanned) if file.source in block.places]
                block.found.append((batch, rows, [block.places.pop(scanned[row].source) for row in rows]))
                if not block.places:
                    yield i, blocks.pop(i).batch()
            on_files(len(scanned), 0)


def _block(files: list[InputFile], known: Sequence[KnownRows]) -> _Block:
    block = _Block(files, {})
    taken: dict[int, tuple[pa.RecordBatch, list[int], list[int]]] = {}
    for place, file in enumerate(files):
        hits = [hit for rows in known if (hit := rows.find(file)) is not None]  # all are asked: each keeps its place
        if not hits:
            block.places[file.source] = place
            continue
        batch, row = hits[0]
        _, rows, places = taken.setdefault(id(batch), (batch, [], []))
        rows.append(row)
        places.append(place)
    block.found += taken.values()
    return block


def scan_rows(job: ScanJob, beat: Beat) -> pa.RecordBatch:
    """Rows of the files of `job`; runs in a worker process."""
    outcomes: list[Outcome] = []
    with Fetch(job.root, [file.source for file in job.files], _HEADER) as fetch:
        for place, file in enumerate(job.files):
            beat(place, place)
            fetch.next()
            outcome = scan_file(job, file.source)
            outcomes.append(with_modality(outcome) if isinstance(outcome, Header) else outcome)
    beat(-1, len(job.files))
    return encode(job.files, outcomes)
