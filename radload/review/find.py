"""Which files are in quarantine, and their groups."""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from radload.errors import UsageError
from radload.pack.burned_in import Action, decide
from radload.pack.codes import QUARANTINED
from radload.pack.eligible import left_out
from radload.pack.executor import Beat, Died, Limits, run_jobs
from radload.pack.groups import Group, group_of
from radload.pack.masks import is_mask
from radload.pack.privacy import printable
from radload.pack.quarantine import prepared
from radload.pack.walk import walk
from radload.sources import Header, NotAnImage, Refused, scan

_CHUNK: Final = 256  # files of one job


@dataclass(frozen=True, slots=True)
class ScanJob:
    """Files below `root` whose headers are to be read."""

    root: Path
    sources: tuple[str, ...]


def find_groups(
    source: Path,
    rejects: Path,
    workers: int,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> dict[Group, list[Header]]:
    """The quarantined files by group, largest group first.

    Args:
        source: folder with the files.
        rejects: rejects.parquet of a pack, which says what it put in quarantine; where it does not exist, because nothing could be
            packed, all files are looked at, and the table decides as in a pack without options.
        workers: processes; limits: of each, and its time-out for the walk.

    Raises:
        UsageError: a rejects.parquet that cannot be read, or whose files are not below `source`.
    """
    names = [file.source for file in walk(source, limits.timeout)]
    listed = _listed(rejects)
    if listed is not None:
        names = [name for name in names if printable(name) in listed]
        if len(names) < len(listed):
            raise UsageError(
                f"{len(listed) - len(names):,} of the {len(listed):,} quarantined files are not below --src {source}: "
                "give the folder that was packed"
            )
    jobs = [ScanJob(source, tuple(names[first : first + _CHUNK])) for first in range(0, len(names), _CHUNK)]
    found: dict[int, list[Header]] = {}
    with closing(run_jobs(scan_headers, jobs, workers, limits=limits)) as results:
        for position, result in results:
            if isinstance(result, Died):  # of its job only the file that did it is lost
                alone = [ScanJob(source, (name,)) for name in jobs[position].sources]
                with closing(run_jobs(scan_headers, alone, workers, limits=limits)) as singles:
                    parts = {place: single for place, single in singles if not isinstance(single, Died)}
                found[position] = [header for place in sorted(parts) for header in parts[place]]
            else:
                found[position] = result
    groups: defaultdict[Group, list[Header]] = defaultdict(list)
    headers = [prepared(header) for position in sorted(found) for header in found[position]]
    gone = left_out(headers) if listed is None else {}
    for place, header in enumerate(headers):
        if listed is None and (place in gone or is_mask(header) or decide(header)[0] is not Action.QUARANTINE):
            continue
        groups[group_of(header)].append(header)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0].name)))


def scan_headers(job: ScanJob, beat: Beat) -> list[Header]:
    """The headers of the files that hold images; runs in a worker process."""
    headers = []
    for position, source in enumerate(job.sources):
        beat(position, position)
        try:
            headers.append(scan(job.root / source, source))
        except (Refused, NotAnImage, OSError):
            continue  # `radload pack` gives the reason
    beat(-1, len(job.sources))
    return headers


def _listed(rejects: Path) -> set[str] | None:
    if not rejects.is_file():
        return None
    try:
        rows = pq.read_table(rejects, columns=["source", "code"]).to_pylist()
    except (OSError, pa.ArrowInvalid, KeyError):
        raise UsageError(f"{rejects} is damaged: restore the private folder from a copy, or pack again") from None
    return {row["source"] for row in rows if row["code"] == QUARANTINED}
