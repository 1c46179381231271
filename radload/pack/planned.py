"""What `radload plan` leaves in the private folder: jobs.arrow, a shard job in each record batch, and walk.arrow, the files that were seen.

Whoever packs a shard reads its job from here: a task names the folder and a number, and no image, patient or key.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Final, overload

import pyarrow as pa

from radload.dataset.files import atomic_file
from radload.errors import UsageError
from radload.pack.compact import SourceFiles
from radload.pack.options import PackOptions
from radload.pack.plain import dumps, loads
from radload.pack.plan import ShardJob
from radload.pack.scan import InputFile

JOBS: Final = "jobs.arrow"
WALK: Final = "walk.arrow"

_TOOLS: Final = ("radload", "imagecodecs", "pydicom", "nibabel", "numpy")  # those that the manifest names
_KEY: Final = b"radload"
_JOBS: Final = pa.schema(
    [
        ("stem", pa.string()),
        ("name", pa.string()),
        ("frames", pa.int64()),
        ("digest", pa.string()),
        ("job", pa.large_binary()),
    ]
)
_WALK: Final = pa.schema([("source", pa.large_binary()), ("size", pa.int64()), ("modified", pa.int64())])
_ROWS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Head:
    """What is the same for all jobs. plan: id of plan.json; jobs: their number."""

    plan: str
    options: PackOptions
    jobs: int


@dataclass(frozen=True, slots=True)
class Outline:
    """A job without its content; see `ShardJob`."""

    stem: str
    name: str
    frames: int
    digest: str


class Jobs(Sequence[ShardJob]):
    """The jobs with some numbers, each read when it is asked for: a share of a large plan does not fit into memory."""

    def __init__(self, private: Path, numbers: Sequence[int], spare: bool = False) -> None:
        """`spare`: as in ShardJob, of all of them."""
        self._private, self._numbers, self._spare = private, numbers, spare

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> ShardJob: ...
    @overload
    def __getitem__(self, place: slice) -> Jobs: ...
    def __getitem__(self, place: int | slice) -> ShardJob | Jobs:
        if isinstance(place, slice):
            return Jobs(self._private, self._numbers[place], self._spare)
        return replace(read_job(self._private, self._numbers[place]), spare=self._spare)


def tools() -> dict[str, str]:
    """Versions of what decides the bytes of a shard."""
    return {name: version(name) for name in _TOOLS}


def write_planned(
    private: Path, plan: str, options: PackOptions, files: Sequence[InputFile], jobs: Sequence[ShardJob]
) -> None:
    """Write walk.arrow, and then jobs.arrow, which says that both are there. plan: id of plan.json."""
    with atomic_file(private / WALK, 0o600) as file, pa.ipc.new_file(file, _WALK, options=_compressed()) as writer:
        for start in range(0, len(files), _ROWS):
            some = files[start : start + _ROWS]
            sources = [os.fsencode(one.source) for one in some]
            columns = [pa.array(sources, pa.large_binary()), [one.size for one in some], [one.modified for one in some]]
            writer.write_batch(pa.record_batch(columns, schema=_WALK))
    given = json.loads(dumps(_absolute(options)))
    head = json.dumps({"plan": plan, "options": given, "tools": tools()}).encode()
    schema = _JOBS.with_metadata({_KEY: head})
    with atomic_file(private / JOBS, 0o600) as file, pa.ipc.new_file(file, schema, options=_compressed()) as writer:
        for job in jobs:
            row = [[job.stem], [job.name], [job.count], [job.digest], [dumps(job)]]
            columns = [pa.array(value, kind.type) for value, kind in zip(row, _JOBS, strict=True)]
            writer.write_batch(pa.record_batch(columns, schema=schema))


def remove_planned(private: Path) -> None:
    """Remove both files: the data set is finished."""
    for name in (JOBS, WALK):
        (private / name).unlink(missing_ok=True)


def read_head(private: Path) -> Head:
    """What a plan says about all of its jobs.

    Raises:
        UsageError: there is no plan, or it is of other versions of the tools.
    """
    with _opened(private) as reader:
        said = json.loads(reader.schema.metadata[_KEY])
        _check_tools(said["tools"])  # first: another version may know other options
        options = loads(PackOptions, json.dumps(said["options"]).encode())
        return Head(said["plan"], options, reader.num_record_batches)


def read_outlines(private: Path) -> list[Outline]:
    """All jobs in their order, without their contents. Raises UsageError."""
    with _opened(private, [0, 1, 2, 3]) as reader:
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    return [Outline(*(column[0].as_py() for column in batch.columns)) for batch in batches]


def read_job(private: Path, number: int) -> ShardJob:
    """A job. Raises UsageError."""
    with _opened(private) as reader:
        batch = reader.get_batch(number)
        job = loads(ShardJob, batch.column("job")[0].as_py())
        if job.digest != batch.column("digest")[0].as_py():
            raise ValueError("a job that is not the one that was planned")
    return job


def read_walk(private: Path) -> SourceFiles:
    """The files that were planned with. Raises UsageError."""
    with _opened(private, name=WALK) as reader:
        batches = map(reader.get_batch, range(reader.num_record_batches))
        rows = chain.from_iterable(
            zip(*(column.to_pylist() for column in batch.columns), strict=True) for batch in batches
        )
        return SourceFiles(InputFile(os.fsdecode(source), *rest) for source, *rest in rows)


def _check_tools(there: dict[str, str]) -> None:
    """Raises UsageError where this machine's versions are not those of the plan: other versions may write other bytes."""
    here = tools()
    other = [f"{name} {here[name]} here, {there.get(name)} there" for name in here if here[name] != there.get(name)]
    if other:
        raise UsageError(
            f"the shards were planned with other versions ({'; '.join(other)}): install the same ones on all machines, or plan again"
        )


@contextmanager
def _opened(private: Path, columns: list[int] | None = None, name: str = JOBS) -> Iterator[Any]:
    path = private / name
    options = pa.ipc.IpcReadOptions(included_fields=columns)
    try:
        with pa.OSFile(str(path)) as file:
            yield pa.ipc.open_file(file, options=options)
    except FileNotFoundError:
        raise UsageError(
            f"{private} holds no plan: run `radload plan` with the options of the pack, or give its private folder by --private"
        ) from None
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            f"{path} cannot be read here (damaged, or written by other code of radload): run `radload plan` again"
        ) from None


def _compressed() -> pa.ipc.IpcWriteOptions:
    return pa.ipc.IpcWriteOptions(compression="zstd")  # headers of a series differ in a few digits


def _absolute(options: PackOptions) -> PackOptions:
    """Paths that mean the same in any working directory."""
    given: dict[str, Any] = {field.name: getattr(options, field.name) for field in fields(options)}
    paths: dict[str, Any] = {name: path.resolve() for name, path in given.items() if isinstance(path, Path)}
    if options.patients is not None and options.patients.startswith("csv:"):
        paths["patients"] = f"csv:{Path(options.patients[4:]).resolve()}"
    return PackOptions(**{**given, **paths})
