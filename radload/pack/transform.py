"""A function of the user's own between the reader and the codec: `--transform MODULE:FUNCTION`, such as one that takes faces off heads."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from radload.errors import UsageError
from radload.pack.codes import TRANSFORM_FAILED
from radload.sources import Refused, Slice

Transform: TypeAlias = Callable[[Slice], Slice]


def load_transform(name: str) -> Transform:
    """The function called "module:function"; it is imported by name in every worker.

    Raises:
        UsageError: no such module or function.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function) if module and function else None
    except Exception as error:  # noqa: BLE001 - a module of the user's may raise anything when it is imported
        raise UsageError(
            f"--transform {name} cannot be imported ({type(error).__name__}): give MODULE:FUNCTION of a module that Python "
            "finds (PYTHONPATH)"
        ) from None
    if not callable(found):
        raise UsageError(f"--transform {name} is no function: give MODULE:FUNCTION, such as mytools.deface:blank")
    transform: Transform = found
    return transform


def apply_transform(transform: Transform, image: Slice) -> Slice:
    """`image` as the function returns it; `exact` is False where it changed a stored value.

    Raises:
        Refused: `transform-failed`, where it raises, or returns something else than a slice of the same frame, size and type.
    """
    before = image.stored.copy()  # the function may work in place
    try:
        changed = transform(image)
    except Refused:
        raise
    except Exception as error:  # noqa: BLE001 - the slice is rejected; only the type is kept, the text may quote values
        raise Refused(TRANSFORM_FAILED, f"--transform raised {type(error).__name__}") from None
    if not isinstance(changed, Slice) or changed.frame != image.frame:
        raise Refused(TRANSFORM_FAILED, "--transform returned no slice of the same frame")
    if changed.stored.shape != before.shape or changed.stored.dtype != before.dtype:
        raise Refused(TRANSFORM_FAILED, "--transform returned pixels of another size or type")
    return changed if np.array_equal(changed.stored, before) else replace(changed, exact=False)
