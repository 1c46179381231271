"""`--link-duplicates`: patients who share an image are divided as one, so that no image stands in two splits under two names.

Public collections hold such images: one exam under two patient numbers, or a file that was copied and de-identified twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from radload.pack.colour import ColourMode, to_picture
from radload.pack.executor import Beat, Died, Limits, run_jobs
from radload.pack.patients import Patient
from radload.pack.redact import Redaction, redact
from radload.pack.sample import pixel_hash
from radload.sources import Header, NotAnImage, Refused, Slice, read

_CHUNK = 64  # files of one job
_NONE: Mapping[str, Redaction] = MappingProxyType({})
NEARLY_EMPTY = 0.99  # share of an image's pixels that hold one value: such images are alike in any patient


@dataclass(frozen=True, slots=True)
class _HashJob:
    root: Path
    headers: tuple[Header, ...]
    axis: int
    color: ColourMode
    redactions: Mapping[str, Redaction]


def link_patients(patients: Sequence[Patient], hashes: Sequence[Sequence[bytes]]) -> dict[str, str]:
    """Patient identity -> identity that stands for all who are linked with it, by equal images, directly or through others.

    The smallest identity stands for a group, so the same group has the same name in every pack. Who shares nothing is not listed.

    Args:
        patients, hashes: of each file; a file's hashes are those of its images.
    """
    parent: dict[str, str] = {}

    def root(identity: str) -> str:
        while (above := parent.get(identity, identity)) != identity:
            parent[identity] = parent.get(above, above)  # halve the way
            identity = above
        return identity

    owner: dict[bytes, str] = {}
    for patient, found in zip(patients, hashes, strict=True):
        for digest in found:
            one, other = sorted((root(owner.setdefault(digest, patient.identity)), root(patient.identity)))
            if one != other:
                parent[other] = one
    linked = {identity for edge in parent.items() for identity in edge}
    return {identity: root(identity) for identity in linked}


def hash_images(
    root: Path,
    headers: Sequence[Header],
    axis: int,
    color: ColourMode,
    workers: int,
    limits: Limits,
    on_files: Callable[[int], None] = lambda count: None,
    redactions: Mapping[str, Redaction] = _NONE,
) -> list[tuple[bytes, ...]]:
    """Per file the hashes of its images as they will be packed (`pixel_hash`), without nearly empty ones.

    Decodes everything once more than a pack does. What cannot be read has no hash: packing says why.

    Args:
        on_files: called with the number of files just read.
        redactions: source -> what is cut away or blanked before it is packed.
    """

    def job(chunk: Sequence[Header]) -> _HashJob:
        own = {header.source: redactions[header.source] for header in chunk if header.source in redactions}
        return _HashJob(root, tuple(chunk), axis, color, own)

    jobs = [job(headers[start : start + _CHUNK]) for start in range(0, len(headers), _CHUNK)]
    found: list[tuple[bytes, ...]] = [()] * len(headers)
    with closing(run_jobs(_hash_files, jobs, workers, limits=limits)) as results:
        for position, result in results:
            start, count = position * _CHUNK, len(jobs[position].headers)
            if isinstance(result, Died):
                # The file that did it is named by packing; the others of its job are read here one by one, each in a new process.
                alone = [job([header]) for header in jobs[position].headers]
                with closing(run_jobs(_hash_files, alone, workers, limits=limits)) as singles:
                    for place, single in singles:
                        found[start + place] = () if isinstance(single, Died) else single[0]
            else:
                found[start : start + count] = result
            on_files(count)
    return found


def commonest_share(stored: NDArray[np.generic]) -> float:
    """Share of the pixels, (rows, cols) or (rows, cols, channels), that have the most frequent value (of each channel) at once."""
    pixels = stored.reshape(stored.shape[0] * stored.shape[1], -1)
    common = np.ones(len(pixels), np.bool_)
    for channel in pixels.T:
        bits = np.ascontiguousarray(channel).view(f"u{channel.dtype.itemsize}")  # NaN equals NaN
        values, counts = np.unique(bits, return_counts=True)
        common &= bits == values[np.argmax(counts)]
    return float(common.mean())


def _hash_files(job: _HashJob, beat: Beat) -> list[tuple[bytes, ...]]:
    found = []
    for position, header in enumerate(job.headers):
        beat(position, position)
        found.append(_hash_file(job, header))
    beat(-1, len(job.headers))
    return found


def _hash_file(job: _HashJob, header: Header) -> tuple[bytes, ...]:
    digests = []
    try:
        for item in read(Path(header.source), header, job.root, job.axis):
            if isinstance(item, Slice):
                values = to_picture(redact(item, job.redactions.get(header.source)), job.color).values
                if commonest_share(values) < NEARLY_EMPTY:
                    digests.append(pixel_hash(values))
    except (Refused, NotAnImage, OSError, MemoryError):
        return tuple(digests)
    return tuple(digests)
