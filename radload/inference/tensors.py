"""`prepare`: files in, the loader's tensor out. Packs into memory, plans, decodes and renders by the code that packs and loads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from radload.errors import CorruptSample
from radload.inference.files import find_images
from radload.inference.memory import packed
from radload.inference.saved import Given, find_preparation
from radload.inference.statistics import settle
from radload.loading.deliver import make_deliverer
from radload.loading.planning.draws import plan_draws
from radload.loading.planning.fit import count_unscaled
from radload.loading.planning.plan import Planner
from radload.pack.options import check_include
from radload.pack.watched import Reading, unwatched

if TYPE_CHECKING:
    import torch

_DTYPES: Final = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}  # NumPy has no bfloat16


def prepare(
    files: str | PathLike[str] | Sequence[str | PathLike[str]],
    recipe: Given,
    *,
    statistics: Mapping[str, float] | str | None = None,
    include: Collection[str] = (),
    decisions: str | PathLike[str] | None = None,
) -> torch.Tensor:
    """The tensor that a loader in evaluation gives for these files, without shards, DALI or a GPU; bit-equal on the CPU.

    Args:
        files: a DICOM (multi-frame too), NIfTI, PNG or JPEG file, several, or a folder.
        recipe: a `Preparation` (`loader.preparation`), its `as_dict()`, the folder of a run, its backbone.json, or a checkpoint.
        statistics: of the series, where windows read them (MR, PET, radiographs by default): a mapping such as
            `ds[row].meta["statistics"]`; "given": those of the files given; None: the same, where they are plainly the whole series.
        include: kinds of files that a pack leaves out (docs/rejects.md), wanted nevertheless.
        decisions: the decisions.toml of the pack, where it cropped or blanked files.

    Returns:
        (frames, channels, height, width) of the preparation's dtype: file by file as given, each in its order of frames; the files
        of a folder series by series, each in the order of its slices.

    Raises:
        UsageError: a file that is no image or cannot be decoded, or one slice where the windows need its series.
    """
    import torch

    preparation = find_preparation(recipe)
    found = torch.from_numpy(
        prepare_array(files, preparation, statistics=statistics, include=include, decisions=decisions)
    )
    return found.view(torch.bfloat16) if preparation.dtype == "bfloat16" else found


def prepare_array(
    files: str | PathLike[str] | Sequence[str | PathLike[str]],
    recipe: Given,
    *,
    statistics: Mapping[str, float] | str | None = None,
    include: Collection[str] = (),
    decisions: str | PathLike[str] | None = None,
    reading: Reading = unwatched,
    timeout: float | None = None,
) -> NDArray[Any]:
    """`prepare` without torch; bfloat16 as the uint16 of its bits.

    Args:
        reading: told of each file and frame that is read; timeout: of the walk through a folder.
    """
    preparation = find_preparation(recipe)
    given = [files] if isinstance(files, str | PathLike) else list(files)
    images = find_images(given, preparation, check_include(tuple(include)), decisions, reading, timeout)
    settings = preparation.settings
    with packed(images, preparation, reading) as data:
        settle(data, images, preparation, statistics)
        planner = Planner(data.index, settings)
        everything = range(len(data.index.records))
        deliverer = make_deliverer("pixels", data.files, planner, everything, replace=False)
        count = len(data.rows)
        shape = (count, settings.channels, *settings.size)
        arrays = {
            "image": np.empty(shape, _DTYPES[settings.dtype]),
            "rows": data.rows.copy(),
            "valid": np.ones(count, np.bool_),
        }
        places = np.arange(count)
        plan = plan_draws(planner, data.rows, 0, places)
        deliverer.begin(arrays, plan, places)
        tools = deliverer.tools()
        for place in range(count):
            draw = deliverer.deliver(arrays, place, plan, place, 0, place, tools)
            if draw.failures:
                raise CorruptSample(f"frame {place} cannot be rendered: {draw.failures[0].reason}")
        if settings.spacing is not None:
            count_unscaled(plan.records, settings.fit, True)
    return arrays["image"]
