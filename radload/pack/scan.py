"""What the files of the source folder are: headers read by worker processes. `walk.py` lists them, `catalog.py` makes a table of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from radload.pack.codes import DECODER_CRASHED, INTERNAL_ERROR, OUT_OF_MEMORY, TIMEOUT, UNREADABLE
from radload.pack.executor import Beat, Crew, Died, Limits, run_jobs
from radload.sources import Header, NotAnImage, PartOf, Refused, few_values, scan

T = TypeVar("T")

FEW_VALUES = 16  # distinct values up to which a NIfTI file looks like a label map: real scans have hundreds


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file as the walk sees it. source: relative, POSIX separators; modified: nanoseconds; both 0 where it cannot be read."""

    source: str
    size: int
    modified: int


@dataclass(frozen=True, slots=True)
class Reject:
    """A file (frame None) or one of its frames that is not packed."""

    source: str
    frame: int | None
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """What became of all files of the source: headers in order of their names, rejects, and the number ignored.

    rows: (headers,) catalog row of each header: its file's place among all files.
    """

    headers: Sequence[Header]
    rejects: tuple[Reject, ...]
    ignored: int
    rows: NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.headers):
            raise ValueError("a catalog's rows belong to its headers: leave images out by select.leave_out")


@dataclass(frozen=True, slots=True)
class ScanJob:
    """A chunk of files for one worker. axis: along which NIfTI volumes are cut."""

    root: Path
    files: tuple[InputFile, ...]
    axis: int


def scan_chunks(
    function: Callable[[ScanJob, Beat], T],
    jobs: Sequence[ScanJob],
    workers: int,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    crew: Crew | None = None,
) -> Iterator[tuple[tuple[InputFile, ...], T | Reject]]:
    """(files, result) of each job as it ends; the files of one that cost its worker come in pieces.

    A file that hung its worker has a `Reject` in place of a result, one that ended it is tried once more, alone; the others go on.

    Args:
        function: runs in a worker process; importable by name. It beats with a file's place in the job before it reads the file.
        limits: of a worker; crew: whose workers are used.
    """
    tried: set[str] = set()
    while jobs:
        again: list[ScanJob] = []
        with closing(run_jobs(function, jobs, workers, limits=limits, crew=crew)) as results:
            for position, result in results:
                job = jobs[position]
                if not isinstance(result, Died):
                    yield job.files, result
                    continue
                item = max(result.item, 0)
                culprit = job.files[item]
                again += [replace(job, files=files) for files in (job.files[:item], job.files[item + 1 :]) if files]
                if result.hung:
                    reason = "the header was not read within the time allowed"
                    yield (culprit,), Reject(culprit.source, None, TIMEOUT, reason)
                elif culprit.source in tried:
                    reason = "a worker process ended while it read the header, twice"
                    yield (culprit,), Reject(culprit.source, None, DECODER_CRASHED, reason)
                else:
                    tried.add(culprit.source)
                    again.append(replace(job, files=(culprit,)))
        jobs = again


def scan_file(job: ScanJob, source: str) -> Header | Reject | PartOf | None:
    """What a file is: its header, why it has none, whose part it is, or None for what is no image."""
    try:
        header = scan(job.root / source, source, job.axis)
        if header.format == "nifti":
            header = replace(header, few_values=few_values(job.root / source, FEW_VALUES))
        return header
    except PartOf as part:
        return part
    except NotAnImage:
        return None
    except Refused as refused:
        return Reject(source, None, refused.code, refused.reason)
    except MemoryError:
        return Reject(source, None, OUT_OF_MEMORY, "the header takes more memory than a worker may have")
    except OSError as error:
        return Reject(source, None, UNREADABLE, error.strerror or type(error).__name__)
    except Exception as error:  # noqa: BLE001 - one file never stops a run; only the type is kept, the text may hold a path
        return Reject(source, None, INTERNAL_ERROR, type(error).__name__)
