"""Prepared frames as a file: .npy for programs, .png for eyes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.dataset.addresses import check_local
from radload.dataset.files import atomic_file
from radload.errors import UsageError
from radload.inference.saved import find_preparation
from radload.inference.statistics import GIVEN
from radload.inference.tensors import prepare_array
from radload.loading.preparation import Preparation
from radload.pack.options import check_timeout
from radload.pack.watched import Reading, watched


def write(
    out: Path,
    files: Sequence[Path],
    recipe: Path,
    frame: int = 0,
    statistics: Mapping[str, float] | str | None = None,
    include: Collection[str] = (),
    decisions: Path | None = None,
    timeout: float = 120.0,
) -> None:
    """Write what `prepare` gives to `out`: x.npy has all frames (bfloat16 as the uint16 of its bits), x.png frame `frame`.

    Args:
        timeout: seconds after which a file that yields nothing more is given up.

    Raises:
        RadloadError: that came to pass.
        UsageError: as `prepare`; another ending, a frame that is not there, or a file that cannot be written.
    """
    check_local("--out", out)
    if out.suffix not in (".npy", ".png"):
        raise UsageError(f"--out {out} has an ending that cannot be written: give x.npy or x.png")
    preparation = find_preparation(recipe)
    seconds = check_timeout(timeout)

    def prepared(reading: Reading) -> NDArray[Any]:
        return prepare_array(
            files,
            preparation,
            statistics=statistics,
            include=include,
            decisions=decisions,
            reading=reading,
            timeout=seconds,
        )

    found = watched(prepared, seconds)
    if out.suffix == ".png" and not 0 <= frame < len(found):
        raise UsageError(f"--frame {frame} is not there: the files have {len(found)} frames, counted from 0")
    from PIL import Image

    try:
        with atomic_file(out) as file:
            if out.suffix == ".npy":
                np.save(file, found, allow_pickle=False)
            else:
                Image.fromarray(_picture(found[frame], preparation)).save(file, "png")
    except OSError as error:
        raise UsageError(
            f"--out {out} cannot be written ({error.strerror}): give a file in a folder that is there and has room"
        ) from None


def _picture(image: NDArray[Any], preparation: Preparation) -> NDArray[np.uint8]:
    """(C, H, W) as (H, W) or (H, W, 3) bytes: y in [0, 1] before mean and deviation."""
    if preparation.dtype == "bfloat16":
        image = (image.astype(np.uint32) << 16).view(np.float32)
    recipe = preparation.recipe
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (recipe.mean, recipe.std))
    y = np.rint((image.astype(np.float32) * std + mean).clip(0, 1) * 255).astype(np.uint8)
    return y[0] if len(y) == 1 else np.ascontiguousarray(y.transpose(1, 2, 0))  # (H, W, C)


def read_statistics(text: str | None) -> dict[str, float] | str | None:
    """A `--statistics` of a command line as `prepare` takes it. Raises UsageError."""
    if text is None or text == GIVEN:
        return text
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        raise UsageError(
            f"--statistics {text!r} cannot be read: give NAME=NUMBER,NAME=NUMBER, as in p005=3,p995=870, or {GIVEN}"
        ) from None
