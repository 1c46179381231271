"""radload: packs radiology images into shards once, and delivers windowed, resized batches faster than a model eats them.

ds = radload.open("shards")                          # random access: ds[0].stored, .modality(), .meta, .label
loader = radload.Loader("shards", split="train", batch_size=256, size=224)
image = radload.prepare("slice.dcm", "runs/a")       # the pixels that the loader gave in evaluation, from a file
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from radload.errors import CorruptSample, FormatError, RadloadError, UsageError

if TYPE_CHECKING:
    from radload.dataset import Dataset, Sample
    from radload.inference import prepare
    from radload.loading import Augment, Loader, Mixture

__version__ = "0.1.0"
__all__ = [
    "Augment",
    "CorruptSample",
    "Dataset",
    "FormatError",
    "Loader",
    "Mixture",
    "RadloadError",
    "Sample",
    "UsageError",
    "open",
    "prepare",
]


def open(path: str | PathLike[str], labels: str | None = None, version: int | str | None = None) -> Dataset:
    """Open the data set in folder `path` for random access; `labels` names a label set (see `radload label`).

    Args:
        version: number of a generation, None: the current one (docs/versions.md).

    Raises:
        UsageError: no data set there, no such version, or no such label set.
        FormatError: another format version, or a damaged index.
    """
    from radload.dataset import Dataset

    return Dataset(path, labels, version)


def __getattr__(name: str) -> Any:
    """Heavy names are imported when first asked for, so that the command line starts fast."""
    if name in ("Dataset", "Sample"):
        from radload import dataset

        return getattr(dataset, name)
    if name in ("Augment", "Loader", "Mixture"):
        from radload import loading

        return getattr(loading, name)
    if name == "prepare":
        from radload.inference import prepare

        return prepare
    raise AttributeError(f"module 'radload' has no attribute {name!r}")
