"""Caches of decoded images: the files that hold images of versions that are removed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from radload.dataset.index import open_index
from radload.dataset.manifest import read_generation
from radload.errors import UsageError
from radload.loading.cache.arena import cache_file
from radload.loading.cache.levels import identity


def remove_caches(folder: Path, root: Path, versions: Sequence[int]) -> int:
    """Remove what the cache in `folder` holds of these versions of the data set in `root`; returns the number of files.

    A run that has such a file open goes on with it until it ends. Raises UsageError for a folder that cannot be used.
    """
    if not folder.is_dir():
        raise UsageError(
            f"--cache {folder} is no folder: give the one that was given to Loader(cache=), or leave it out"
        )
    count = 0
    for version in versions:
        manifest = read_generation(root, version)
        path = cache_file(folder, bytes.fromhex(identity(manifest, open_index(root, manifest))))
        try:
            path.unlink()
            count += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UsageError(f"--cache: {path} cannot be removed ({error.strerror}): remove it yourself") from None
    return count
