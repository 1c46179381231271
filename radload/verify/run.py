"""Verifying a data set, top to bottom: open it, check the index, then all shards in worker processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast

import numpy as np
import pyarrow as pa

from radload.dataset.index import Index, open_index
from radload.dataset.manifest import Manifest, read_manifest
from radload.dataset.schema import SPLITS
from radload.errors import FormatError, RadloadError
from radload.pack.display import Display
from radload.pack.executor import Died, Limits, run_jobs
from radload.pack.options import check_workers
from radload.pack.sweep import shards_of
from radload.verify.index import check_index
from radload.verify.problem import INDEX, Problem
from radload.verify.shard import ShardFindings, ShardTask, check_shard

LIMITS: Final = Limits(timeout=120.0, memory=4 << 30)
_LUT_COLUMNS: Final = ("modality_lut", "voi_lut")


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at and found.

    Attributes:
        problems: all of them; bad: rows of the index that cannot be used; index_ok: whether shards could be compared with the index.
        samples, shards, bytes: looked at; unlisted: members that the index does not name, in shards that have their SHA-256.
        quick: whether only structure and sizes were looked at; generation: the version.
    """

    problems: tuple[Problem, ...]
    bad: tuple[int, ...] = ()
    index_ok: bool = True
    samples: int = 0
    shards: int = 0
    bytes: int = 0
    unlisted: int = 0
    quick: bool = False
    generation: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(
    root: Path,
    *,
    quick: bool = False,
    levels: bool = False,
    workers: int | None = None,
    only: Collection[str] | None = None,
    version: int | str | None = None,
    on_problem: Callable[[Problem], None] = lambda problem: None,
    display: Display | None = None,
    limits: Limits = LIMITS,
) -> Report:
    """Compare every byte of the data set in `root` with its index, and the index with itself.

    Args:
        quick: structure and sizes alone: tar headers are read, pixels are not. levels: decode all levels of all samples (ShardTask).
        workers: processes; None: all cores, 0: this one.
        only: names of the shards that are looked at; None: all. version: number of a generation, None: the current one.
        on_problem: called with each problem as it is found.

    Raises:
        UsageError: there is no data set in `root`, or no such version of it, or `workers` is no number of processes.
        RadloadError: worker processes cannot be started.
    """
    check_workers(workers)
    manifest, index, problems = _open(root, version)
    usable = False
    if index is not None and manifest is not None:
        found, usable = check_index(manifest, index)
        problems += found
        problems += _strays(root, index) if usable else []
    for problem in problems:
        on_problem(problem)
    if index is None or not usable:
        number = 0 if manifest is None else manifest.generation
        return Report(tuple(problems), index_ok=False, quick=quick, generation=number)
    tasks = _Tasks(root, index, quick, only, levels)
    bad: list[int] = []
    unlisted = size = 0
    for findings in _check_shards(tasks, workers, display, limits):
        for problem in findings.problems:
            on_problem(problem)
        problems += findings.problems
        bad += findings.bad
        unlisted += findings.unlisted
        size += findings.bytes
    return Report(
        tuple(problems),
        tuple(sorted(bad)),
        True,
        len(index.records) if only is None else sum(map(tasks.samples, range(len(tasks)))),
        len(tasks),
        size,
        unlisted,
        quick,
        index.generation,
    )


def _open(root: Path, version: int | str | None) -> tuple[Manifest | None, Index | None, list[Problem]]:
    """Manifest and index, or what is wrong with them."""
    try:
        manifest = read_manifest(root, version)
        index = open_index(root, manifest)
        for name in ("samples", "series", "luts", "shards", "patients", "studies"):
            index.table(name)
    except FormatError as error:
        what, _, remedy = str(error).rpartition(": ")
        return None, None, [Problem(INDEX, None, what, remedy)]
    return manifest, index, []


def _strays(root: Path, index: Index) -> list[Problem]:
    """Shards that no version names: whoever reads the tars without an index would take them for part of the data set."""
    known = set(index.shard_names)
    for folder in (root / "index").glob("[0-9]*"):
        with suppress(FormatError):
            known |= shards_of(root, int(folder.name))
    found = sorted(path.relative_to(root).as_posix() for split in SPLITS for path in (root / split).glob("*.tar"))
    return [Problem(name, None, "is no shard of any version", "remove it") for name in found if name not in known]


class _Tasks:
    """Makes the task of a shard when it is asked for: memory holds those that are under way."""

    def __init__(
        self, root: Path, index: Index, quick: bool, only: Collection[str] | None, levels: bool = False
    ) -> None:
        self._root, self._index, self._quick, self._levels = root, index, quick, levels
        self._shards = index.table("shards")
        self._bounds = np.searchsorted(index.records["shard"], np.arange(self._shards.num_rows + 1))
        self._chosen = [row for row, name in enumerate(index.shard_names) if only is None or name in only]

    def __len__(self) -> int:
        return len(self._chosen)

    def samples(self, position: int) -> int:
        """Of one shard."""
        row = self._chosen[position]
        return int(self._bounds[row + 1] - self._bounds[row])

    def __getitem__(self, position: int) -> ShardTask:
        index, row = self._index, self._chosen[position]
        first, end = int(self._bounds[row]), int(self._bounds[row + 1])
        records = np.array(index.records[first:end])
        shard = self._shards.slice(row, 1).to_pylist()[0]
        series = range(int(records["series"][0]), int(records["series"][-1]) + 1) if len(records) else range(0)
        samples = index.table("samples").slice(first, end - first)
        tables = lut_range(samples)
        return ShardTask(
            self._root,
            shard["name"],
            shard["bytes"],
            shard["sha256"],
            first,
            records,
            _stream(samples),
            _stream(index.table("series").slice(series.start, len(series))),
            np.array(index.series[series.start : series.stop]),
            series.start,
            _stream(index.table("luts").slice(tables.start, len(tables))),
            tables.start,
            None if index.masks is None else np.array(index.masks[first:end]),
            self._quick,
            levels=self._levels,
        )


def lut_range(samples: pa.Table) -> range:
    """Rows of luts.arrow that `samples` name: those of a shard stand together."""
    named = [row for column in _LUT_COLUMNS for row in samples.column(column).drop_null().to_pylist()]
    mappings = samples.column("real_world").drop_null().to_pylist()
    named += [one["lut"] for row in mappings for one in row if one["lut"] is not None]
    return range(max(min(named), 0), max(named) + 1) if named else range(0)


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _check_shards(
    tasks: _Tasks, workers: int | None, display: Display | None, limits: Limits
) -> Iterator[ShardFindings]:
    """Findings of each shard as it is done. A sample that ends or hangs its worker is named, the rest of its shard checked again."""
    count = workers if workers is not None else len(os.sched_getaffinity(0))
    sizes = [tasks.samples(position) for position in range(len(tasks))]
    ended = 0

    def tick(running: Mapping[int, int]) -> None:
        if display is not None:
            display.reach(ended + sum(running.values()))

    if display is not None:
        display.start("verifying", sum(sizes), "samples")
    jobs, positions = cast(Sequence[ShardTask], tasks), list(range(len(tasks)))
    while positions:
        again: dict[int, ShardTask] = {}
        with closing(run_jobs(check_shard, jobs, count, tick, limits)) as results:
            for place, result in results:
                if isinstance(result, Died):
                    again[positions[place]] = _after_death(jobs[place], result)
                    continue
                ended += sizes[positions[place]]
                tick({})
                yield result
        jobs, positions = list(again.values()), list(again)


def _after_death(task: ShardTask, died: Died) -> ShardTask:
    """The task as it is to be run again: without the sample at which its worker ended."""
    if died.item in task.skip:  # -1, at no sample, has a second try: somebody may have killed it
        raise RadloadError(
            f"shard {task.name} cannot be verified: the process that reads it ended, and no single sample explains it; "
            "try again with fewer --workers"
        )
    how = "hangs" if died.hung else "ends"
    return replace(task, skip={**task.skip, died.item: f"decoding it {how} the process that does it"})
