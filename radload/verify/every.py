"""All versions of a data set that may be opened: what several have in common is read once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from radload.dataset.index import Index, open_index
from radload.dataset.manifest import generations, read_manifest
from radload.errors import FormatError
from radload.pack.display import Display
from radload.verify.problem import Problem
from radload.verify.run import Report, verify

_OF_THE_INDEX: Final = ("shard", "series")  # numbers of rows of one version's own tables


def verify_all(
    root: Path,
    *,
    quick: bool = False,
    levels: bool = False,
    workers: int | None = None,
    on_problem: Callable[[int, Problem], None] = lambda version, problem: None,
    display: Display | None = None,
) -> Iterator[tuple[Report, int]]:
    """The report of each version that may be opened, the newest first, and how many of its shards a newer one has, which are left out.

    A shard is left out where the two indexes say the same of it and of its samples: then what holds for one version holds for the other.

    Args:
        on_problem: called with (version, problem) as it is found; the others as of `verify`.

    Raises:
        UsageError: there is no data set in `root`. FormatError: its manifest is damaged.
    """
    seen: set[bytes] = set()
    for version in reversed(generations(root, read_manifest(root))):
        only, known = _unseen(root, version, seen)

        def say(problem: Problem, version: int = version) -> None:
            on_problem(version, problem)

        report = verify(
            root,
            quick=quick,
            levels=levels,
            workers=workers,
            only=only,
            version=version,
            on_problem=say,
            display=display,
        )
        yield replace(report, generation=version), known


def _unseen(root: Path, version: int, seen: set[bytes]) -> tuple[list[str] | None, int]:
    """(names of the shards of which no newer version says the same, number of the others); None where the index cannot be read."""
    try:
        index = open_index(root, read_manifest(root, version))
        digests = list(_digests(index))
        names = index.shard_names
    except (FormatError, pa.ArrowException, ValueError):  # `verify` says what it is
        return None, 0
    left = [name for name, digest in zip(names, digests, strict=True) if digest not in seen]
    seen.update(digests)
    return left, len(names) - len(left)


def _digests(index: Index) -> Iterator[bytes]:
    """Of each shard: what the index says of it and of its samples."""
    shards, samples = index.table("shards"), index.table("samples")
    bounds = np.searchsorted(index.records["shard"], np.arange(shards.num_rows + 1)).tolist()
    for row, (first, end) in enumerate(pairwise(bounds)):
        digest = hashlib.sha256(repr(shards.slice(row, 1).to_pylist()).encode())
        digest.update(_own(index.records[first:end]))
        digest.update(b"" if index.masks is None else index.masks[first:end].tobytes())
        for batch in samples.slice(first, end - first).combine_chunks().to_batches():
            digest.update(repr(batch.to_pylist()).encode())
        yield digest.digest()


def _own(records: np.ndarray[Any, np.dtype[np.void]]) -> bytes:
    """The records without what numbers rows of other tables."""
    own = records.copy()
    for name in _OF_THE_INDEX:
        own[name] = 0
    return own.tobytes()
