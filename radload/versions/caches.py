"""Caches of decoded images: the files that hold images of versions that are removed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from radload.dataset.manifest import generation_folder, read_generation
from radload.errors import FormatError, UsageError
from radload.loading.cache.arena import cache_file
from radload.loading.cache.levels import identity


def identities(root: Path, versions: Iterable[int]) -> frozenset[str]:
    """What the caches of these versions of the data set in `root` are called by. Raises FormatError for one that is damaged."""
    found = set()
    for version in versions:
        folder = generation_folder(root, version)
        try:
            found.add(identity(read_generation(root, version), folder))
        except OSError as error:
            raise FormatError(
                f"{folder}/segment.json cannot be read ({error.strerror}): restore it from a copy"
            ) from None
    return frozenset(found)


def remove_caches(folder: Path, gone: Iterable[str]) -> int:
    """Remove what the cache in `folder` holds by these identities; returns the number of files.

    A run that has such a file open goes on with it until it ends. Raises UsageError for a folder that cannot be used.
    """
    if not folder.is_dir():
        raise UsageError(
            f"--cache {folder} is no folder: give the one that was given to Loader(cache=), or leave it out"
        )
    count = 0
    for one in gone:
        path = cache_file(folder, bytes.fromhex(one))
        try:
            path.unlink()
            count += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UsageError(f"--cache: {path} cannot be removed ({error.strerror}): remove it yourself") from None
    return count
