"""The catalog: what every file of the source folder is, read from headers by worker processes. It holds identities and stays private."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from radload.pack.codes import DECODER_CRASHED, INTERNAL_ERROR, OUT_OF_MEMORY, TIMEOUT, UNREADABLE
from radload.pack.executor import Beat, Died, Limits, run_jobs
from radload.sources import Header, NotAnImage, PartOf, Refused, few_values, scan

FEW_VALUES = 16  # distinct values up to which a NIfTI file looks like a label map: real scans have hundreds
_CHUNK = 256  # files of one job: enough to pay for its way, few enough for all cores to end together


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
    """All files of the source: headers in order of their names (a file's place is its catalog row), rejects, and the number ignored."""

    headers: tuple[Header, ...]
    rejects: tuple[Reject, ...]
    ignored: int


@dataclass(frozen=True, slots=True)
class _ScanJob:
    root: Path
    sources: tuple[str, ...]
    axis: int


def walk(root: Path) -> list[InputFile]:
    """All regular files below `root`, sorted by name; links are followed, each folder is entered once.

    What cannot be read is listed with size 0: a scan refuses it by name.
    """
    found: list[InputFile] = []
    _walk(os.fspath(root), "", set(), found)
    found.sort(key=lambda file: file.source.encode("utf-8", "surrogateescape"))
    return found


def _walk(folder: str, prefix: str, seen: set[tuple[int, int]], found: list[InputFile]) -> None:
    try:
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        entries = list(os.scandir(folder))
    except OSError:
        found.append(InputFile(prefix.rstrip("/") or ".", 0, 0))
        return
    for entry in entries:
        source = prefix + entry.name
        try:
            if entry.is_dir():
                _walk(entry.path, source + "/", seen, found)
            elif entry.is_file():
                status = entry.stat()
                found.append(InputFile(source, status.st_size, status.st_mtime_ns))
            elif entry.is_symlink():  # of a broken link there is nothing but its name
                found.append(InputFile(source, 0, 0))
        except OSError:
            found.append(InputFile(source, 0, 0))


def make_catalog(
    root: Path,
    files: Sequence[InputFile],
    axis: int,
    workers: int,
    on_files: Callable[[int], None] = lambda count: None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Catalog:
    """Scan `files` below `root`.

    Args:
        axis: along which NIfTI volumes are cut.
        on_files: called with the number of files just scanned.
        limits: of a worker.
    """
    size = max(1, min(_CHUNK, -(-len(files) // (4 * max(workers, 1)))))
    names = [file.source for file in files]
    outcomes: dict[str, Header | Reject | PartOf | None] = {}
    chunks = [_ScanJob(root, tuple(names[i : i + size]), axis) for i in range(0, len(names), size)]
    for sources, result in _scan(chunks, workers, limits):
        outcomes.update(zip(sources, result, strict=True))
        on_files(len(sources))
    headers: list[Header] = []
    rejects: dict[str, Reject] = {}
    for source, outcome in ((name, outcomes[name]) for name in names):
        if isinstance(outcome, Header):
            headers.append(outcome)
        elif isinstance(outcome, Reject):
            rejects[source] = outcome
    taken = {part for header in headers for part in header.parts}
    ignored = 0
    for source, outcome in ((name, outcomes[name]) for name in names):
        if isinstance(outcome, PartOf) and source not in taken:
            whole = rejects.get(outcome.source)
            code, reason = (
                (whole.code, whole.reason)
                if whole
                else ("missing-part", "the header that it belongs to uses another file")
            )
            rejects[source] = Reject(source, None, code, reason)
        elif outcome is None:
            ignored += 1
    return Catalog(tuple(headers), tuple(rejects[name] for name in names if name in rejects), ignored)


def _scan(
    jobs: list[_ScanJob], workers: int, limits: Limits
) -> Iterator[tuple[tuple[str, ...], list[Header | Reject | PartOf | None]]]:
    """Outcomes by job. A file that hung its worker is rejected, one that ended it is tried once more, alone; the others go on."""
    tried: set[str] = set()
    while jobs:
        again: list[_ScanJob] = []
        with closing(run_jobs(_scan_files, jobs, workers, limits=limits)) as results:
            for position, result in results:
                job = jobs[position]
                if not isinstance(result, Died):
                    yield job.sources, result
                    continue
                item = max(result.item, 0)
                culprit, rest = job.sources[item], (job.sources[:item], job.sources[item + 1 :])
                again += [replace(job, sources=sources) for sources in rest if sources]
                if result.hung:
                    yield (
                        (culprit,),
                        [Reject(culprit, None, TIMEOUT, "the header was not read within the time allowed")],
                    )
                elif culprit in tried:
                    reason = "a worker process ended while it read the header, twice"
                    yield (culprit,), [Reject(culprit, None, DECODER_CRASHED, reason)]
                else:
                    tried.add(culprit)
                    again.append(replace(job, sources=(culprit,)))
        jobs = again


def _scan_files(job: _ScanJob, beat: Beat) -> list[Header | Reject | PartOf | None]:
    found = []
    for position, source in enumerate(job.sources):
        beat(position, position)
        found.append(_scan_file(job, source))
    beat(-1, len(job.sources))
    return found


def _scan_file(job: _ScanJob, source: str) -> Header | Reject | PartOf | None:
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
