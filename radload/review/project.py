"""Maximum, minimum and mean over all frames of a group: the first two show text on any frame, bright or dark, the mean text on all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from radload.pack.colour import to_picture
from radload.pack.executor import Beat, Died, Limits, run_jobs
from radload.sources import Header, Slice, read

_CHUNK: Final = 32  # files of one job
EXAMPLES: Final = 4


@dataclass(frozen=True, slots=True)
class ProjectJob:
    """Some files of group number `group`; `examples`: sources whose first frame is wanted by itself."""

    root: Path
    group: int
    headers: tuple[Header, ...]
    examples: frozenset[str] = frozenset()


@dataclass(slots=True)
class Projection:
    """What frames of (rows, cols) add up to, as they come.

    Attributes:
        maximum, minimum: (rows, cols) uint8; total: (rows, cols) float64, sum over frames; frames: how many.
        unreadable: files none of whose frames could be decoded; examples: single frames, (rows, cols) uint8.
    """

    maximum: NDArray[np.uint8]
    minimum: NDArray[np.uint8]
    total: NDArray[np.float64]
    frames: int = 0
    unreadable: int = 0
    examples: list[NDArray[np.uint8]] = field(default_factory=list)

    def add(self, grey: NDArray[np.uint8]) -> None:
        """One more frame, (rows, cols)."""
        np.maximum(self.maximum, grey, out=self.maximum)
        np.minimum(self.minimum, grey, out=self.minimum)
        self.total += grey
        self.frames += 1

    def join(self, other: Projection) -> None:
        """The frames of another job."""
        np.maximum(self.maximum, other.maximum, out=self.maximum)
        np.minimum(self.minimum, other.minimum, out=self.minimum)
        self.total += other.total
        self.frames += other.frames
        self.unreadable += other.unreadable
        self.examples = [*self.examples, *other.examples][:EXAMPLES]

    @property
    def mean(self) -> NDArray[np.uint8]:
        """(rows, cols) uint8."""
        return np.rint(self.total / max(self.frames, 1)).astype(np.uint8)


def project_groups(
    root: Path,
    groups: Sequence[Sequence[Header]],
    workers: int,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Iterator[Projection]:
    """Yield the projection of each group over all its files, in order of `groups`; one is in memory, beside one per worker.

    Args:
        root: the source folder; groups: files of equal rows and cols each; limits: of a worker.
    """
    jobs: list[ProjectJob] = []
    for number, headers in enumerate(groups):
        step = max(1, len(headers) // EXAMPLES)
        examples = frozenset(header.source for header in headers[::step][:EXAMPLES])
        jobs += [
            ProjectJob(root, number, tuple(headers[first : first + _CHUNK]), examples)
            for first in range(0, len(headers), _CHUNK)
        ]
    parts: dict[int, Projection] = {}
    following = 0
    joined: Projection | None = None
    with closing(run_jobs(project, jobs, workers, limits=limits)) as results:
        for position, result in results:
            parts[position] = _one_by_one(jobs[position], workers, limits) if isinstance(result, Died) else result
            while following in parts:  # in the order of the files, so that examples do not depend on the workers
                part = parts.pop(following)
                if joined is None:
                    joined = part
                else:
                    joined.join(part)
                following += 1
                if following == len(jobs) or jobs[following].group != jobs[following - 1].group:
                    yield joined
                    joined = None


def project(job: ProjectJob, beat: Beat) -> Projection:
    """One job's share; runs in a worker process."""
    projection = empty(job.headers[0].rows, job.headers[0].cols)
    for position, header in enumerate(job.headers):
        beat(position, projection.frames)
        before = projection.frames
        try:
            for item in read(Path(header.source), header, job.root):
                if isinstance(item, Slice):
                    grey = grey_of(item)
                    if header.source in job.examples and projection.frames == before:
                        projection.examples.append(grey)
                    projection.add(grey)
                    beat(position, projection.frames)
        except Exception:  # noqa: BLE001, S110 - one file never stops a run; it is counted, and `radload pack` gives the reason
            pass
        projection.unreadable += projection.frames == before
    beat(-1, projection.frames)
    return projection


def empty(rows: int, cols: int) -> Projection:
    """No frame yet."""
    return Projection(np.zeros((rows, cols), np.uint8), np.full((rows, cols), 255, np.uint8), np.zeros((rows, cols)))


def _one_by_one(job: ProjectJob, workers: int, limits: Limits) -> Projection:
    """A job whose worker ended: each file in a job of its own, so that only the file that did it is lost."""
    joined = empty(job.headers[0].rows, job.headers[0].cols)
    jobs = [replace(job, headers=(header,)) for header in job.headers]
    with closing(run_jobs(project, jobs, workers, limits=limits)) as results:
        parts = dict(results)
    for position in sorted(parts):
        part = parts[position]
        if isinstance(part, Died):
            joined.unreadable += 1
        else:
            joined.join(part)
    return joined


def grey_of(image: Slice) -> NDArray[np.uint8]:
    """A frame as (rows, cols) uint8: 8-bit values as they are, others spread from their minimum to their maximum.

    Of colours the brightest channel counts: luma would hide blue text. MONOCHROME1 is shown as on a screen, white text bright.

    Raises:
        Refused: a colour model that cannot be converted.
    """
    values = to_picture(image, "keep").values
    values = values.max(axis=2) if values.ndim == 3 else values
    if values.dtype == np.uint8 and image.bits_stored == 8:
        grey: NDArray[Any] = values
    else:
        wide = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        low, high = float(wide.min()), float(wide.max())
        grey = np.rint((wide - low) * (255 / (high - low) if high > low else 0.0)).astype(np.uint8)
    return np.ascontiguousarray(255 - grey if image.invert else grey, np.uint8)
