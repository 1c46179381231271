"""The catalog: catalog.parquet in the private folder, one row per file of the source folder. It holds identities and stays private.

While a scan runs, each finished block of rows lies in the journal beside it; a scan that was stopped goes on from there. When all
files are done, the rows are written in order of name, and the journal goes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from radload import sources
from radload.dataset.files import atomic_file
from radload.errors import UsageError
from radload.pack.catalog_rows import KnownRows, find_rows
from radload.pack.catalog_schema import PART, REJECTED, SCHEMA, decode
from radload.pack.executor import Crew, Limits
from radload.pack.scan import Catalog, InputFile
from radload.sources import Header

if TYPE_CHECKING:
    import pyarrow.dataset as ds

CATALOG: Final = "catalog.parquet"
JOURNAL: Final = "catalog.scan"
_KEY: Final = b"radload.catalog"
_GROUP: Final = 1 << 16  # rows of a Parquet row group
_READ: Final = 1 << 13  # rows held when a catalog is read

Batches: TypeAlias = Iterator[pa.RecordBatch]


@dataclass(frozen=True, slots=True)
class Scan:
    """A catalog that fits its folder. data: the rows, in order of name; reused: files that were not read again."""

    data: ds.Dataset
    files: int
    reused: int

    def read(self, files: Sequence[InputFile], change: Callable[[Header], Header] = lambda header: header) -> Catalog:
        """What pack plans with. `files`: the walk that the catalog was made of; change: what is made of each header."""
        columns = [name for name in SCHEMA.names if name != "row"]
        batches: Batches = self.data.to_batches(columns=columns, batch_size=_READ, use_threads=False, batch_readahead=1)
        return decode(batches, files, change)


def _counting(on_files: Callable[[int], None]) -> tuple[list[int], Callable[[int, int], None]]:
    """([files done, of them reused], what adds to both and tells `on_files`)."""
    counts = [0, 0]

    def count(done: int, reused: int) -> None:
        counts[0] += done
        counts[1] += reused
        on_files(done)

    return counts, count


def scan_catalog(
    root: Path,
    files: Iterable[InputFile],
    axis: int,
    workers: int,
    private: Path,
    on_files: Callable[[int], None] = lambda count: None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    crew: Crew | None = None,
) -> Scan:
    """Bring `private`/catalog.parquet up to date with `files`, the walk of `root`; files of unchanged size and time are not read again.

    Args:
        on_files: called with the number of files just done; limits: of a worker; crew: whose workers are used.

    Raises:
        UsageError: another scan is at work in the folder.
    """
    import pyarrow.dataset as ds  # it makes Arrow reserve 1 GiB, which would count against the memory of a worker

    meta, journal, path = _meta(root, axis), private / JOURNAL, private / CATALOG
    counts, count = _counting(on_files)

    with _lock(private):
        old = _earlier_scans(journal)
        folder = journal / f"{int(old[0].name) + 1 if old else 0:04d}"
        known = [KnownRows(_journal_rows(earlier, meta)) for earlier in old]
        before = _usable(path, meta)
        known += [KnownRows(_parquet_rows(path))] if before is not None else []
        _make(journal)
        _make(folder)
        for number, batch in find_rows(root, files, axis, workers, known, count, limits, crew):
            with atomic_file(folder / f"{number:08d}.parquet", 0o600) as file:
                pq.write_table(pa.Table.from_batches([_with_meta(batch, meta)]), file, compression="zstd")
        if before is None or old or counts != [before, before]:
            write_catalog(path, lambda: chain.from_iterable(map(_parquet_rows, sorted(folder.iterdir()))), meta)
        shutil.rmtree(journal)
    return Scan(ds.dataset(path, schema=SCHEMA), counts[0], counts[1])


def scan_without_writing(
    root: Path,
    files: Iterable[InputFile],
    axis: int,
    workers: int,
    private: Path,
    on_files: Callable[[int], None] = lambda count: None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Scan:
    """`scan_catalog` in memory: uses a catalog that is in `private`, and leaves everything as it is."""
    import pyarrow.dataset as ds

    meta, path = _meta(root, axis), private / CATALOG
    known = [KnownRows(_parquet_rows(path))] if _usable(path, meta) is not None else []
    counts, count = _counting(on_files)

    blocks = dict(find_rows(root, files, axis, workers, known, count, limits))
    ordered = [blocks[number] for number in sorted(blocks)]
    table = pa.Table.from_batches(list(_resolved(lambda: iter(ordered))), SCHEMA)
    return Scan(ds.dataset(table), *counts)


def write_catalog(path: Path, rows: Callable[[], Batches], meta: bytes) -> None:
    """Write the catalog, whole or not at all. rows: gives all rows in order of name, each time that it is called."""
    schema = SCHEMA.with_metadata({_KEY: meta})
    with atomic_file(path, 0o600) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        group: list[pa.RecordBatch] = []
        for batch in _resolved(rows):
            group.append(batch)
            if sum(len(one) for one in group) >= _GROUP:
                writer.write_table(pa.Table.from_batches(group, SCHEMA), row_group_size=_GROUP * 2)
                group.clear()
        if group:
            writer.write_table(pa.Table.from_batches(group, SCHEMA), row_group_size=_GROUP * 2)


def _resolved(rows: Callable[[], Batches]) -> Batches:
    """All rows numbered, and those of parts that no header uses rejected as the file is that they belong to."""
    taken: set[str] = set()
    wholes: set[str] = set()
    for batch in rows():
        taken.update(part for part in pc.list_flatten(batch.column("parts")).to_pylist())
        wholes.update(name for name in batch.column("part_of").drop_null().to_pylist())
    refused = _reject_codes(rows(), wholes) if wholes else {}
    start = 0
    for batch in rows():
        if batch.column("part_of").null_count < len(batch):
            batch = _resolve_parts(batch, taken, refused)
        numbers = pa.array(range(start, start + len(batch)), pa.int64())
        start += len(batch)
        yield pa.RecordBatch.from_arrays([numbers, *batch.columns[1:]], schema=SCHEMA)


def _reject_codes(rows: Batches, wanted: set[str]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for batch in rows:
        columns = (batch.column(name).to_pylist() for name in ("source", "code", "reason"))
        found.update(
            (name, (code, reason)) for name, code, reason in zip(*columns, strict=True) if code and name in wanted
        )
    return found


def _resolve_parts(batch: pa.RecordBatch, taken: set[str], refused: dict[str, tuple[str, str]]) -> pa.RecordBatch:
    names = ("source", "part_of", "status", "code", "reason")
    source, part_of, status, code, reason = (batch.column(name).to_pylist() for name in names)
    for row, whole in enumerate(part_of):
        if whole is None:
            continue
        status[row], code[row], reason[row] = PART, None, None
        if source[row] not in taken:
            other = ("missing-part", "the header that it belongs to uses another file")
            status[row], (code[row], reason[row]) = REJECTED, refused.get(whole, other)
    for name, values in (("status", status), ("code", code), ("reason", reason)):
        batch = batch.set_column(SCHEMA.names.index(name), SCHEMA.field(name), pa.array(values, pa.string()))
    return batch


def _meta(root: Path, axis: int) -> bytes:
    """What must be equal for rows to be used again: the folder, the axis, and the code that reads headers."""
    code = hashlib.sha256()
    own = [Path(__file__).with_name(name) for name in ("radimagenet.py", "scan.py")]
    for path in [*sorted(Path(sources.__file__).parent.glob("*.py")), *own]:
        code.update(path.read_bytes())
    tools = {name: version(name) for name in ("radload", "pydicom", "nibabel")}
    content: dict[str, Any] = {"root": os.fsencode(root).hex(), "axis": axis, "code": code.hexdigest(), **tools}
    return json.dumps(content, sort_keys=True).encode()


def _with_meta(batch: pa.RecordBatch, meta: bytes) -> pa.RecordBatch:
    return batch.replace_schema_metadata({_KEY: meta})


def _usable(path: Path, meta: bytes) -> int | None:
    """Rows of a catalog whose rows may be used again, None for none: another folder or version, no file, or a damaged one."""
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            if (schema.metadata or {}).get(_KEY) != meta or not schema.remove_metadata().equals(SCHEMA):
                return None
            return int(file.metadata.num_rows)
    except (OSError, pa.ArrowException):
        return None


def _parquet_rows(path: Path) -> Batches:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(_READ, use_threads=False)


def _journal_rows(folder: Path, meta: bytes) -> Batches:
    for path in sorted(folder.glob("*.parquet")):
        if _usable(path, meta) is not None:
            yield from _parquet_rows(path)


def _earlier_scans(journal: Path) -> list[Path]:
    """Folders of scans that were stopped, the newest first."""
    return sorted((path for path in journal.glob("*") if path.name.isdigit()), reverse=True)


def _make(folder: Path) -> None:
    folder.mkdir(0o700, exist_ok=True)
    folder.chmod(0o700)  # whatever the umask


@contextmanager
def _lock(private: Path) -> Iterator[None]:
    descriptor = os.open(private, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another radload scan is writing to {private}: wait for its end, or give another --private"
            ) from None
        except OSError:  # some network file systems cannot
            pass
        yield
    finally:
        os.close(descriptor)
