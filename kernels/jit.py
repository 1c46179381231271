"""The one way in which this room compiles with Numba: GIL released, cached on disk, NaN and infinity kept."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import numba
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., object])
Array: TypeAlias = NDArray[Any]  # Numba finds dtype and dimensions out; the docstrings say them
Record: TypeAlias = Any  # a record, or an array of records, of prepare.WINDOW or prepare.SAMPLE

# No "nnan" and "ninf": a float source may hold NaN and infinity, and they mean padding.
FASTMATH = frozenset({"contract", "reassoc", "nsz", "arcp"})


def jit(function: F) -> F:
    """For the functions that compiled code calls: compiled with their caller, not cached by themselves."""
    return cast(F, numba.njit(nogil=True, boundscheck=False, error_model="numpy", fastmath=set(FASTMATH))(function))


def exact(function: F) -> F:
    """As `jit`, for what must round as NumPy does: no fast arithmetic, so nothing is fused or reordered, even in a fast caller."""
    # fastmath=False must be said: a callee that says nothing inherits its caller's.
    return cast(F, numba.njit(nogil=True, boundscheck=False, error_model="numpy", fastmath=False)(function))


def entry(function: F) -> F:
    """For what Python calls: the machine code is kept beside the module, or in the user's cache folder.

    Numba's cache looks at the file of the function itself only, so a change in a callee's file would go unnoticed. It does key a closure by
    its cell values: let `function` refer to `checksum()`.
    """
    try:
        keep = numba.njit(nogil=True, cache=True, boundscheck=False, error_model="numpy", fastmath=set(FASTMATH))
        return cast(F, keep(function))
    except RuntimeError:  # "no locator available": neither folder can be written; every process compiles anew
        return jit(function)


def exact_entry(function: F) -> F:
    """`entry` and `exact` in one."""
    try:
        return cast(F, numba.njit(nogil=True, cache=True, boundscheck=False, error_model="numpy")(function))
    except RuntimeError:  # as above
        return exact(function)


def checksum(*names: str) -> int:
    """A checksum of the files that a compiled part is made of: jit.py, prepare.py and those named."""
    here = Path(__file__).parent
    return zlib.crc32(b"".join((here / f"{name}.py").read_bytes() for name in ("jit", "prepare", *names)))


def _pointer_to(item: object) -> Callable[[int], Any]:
    """A compiled function: address (int64) -> pointer to `item`, for numba.carray."""

    def cast_address(typing_context: Any, address: Any) -> Any:
        signature = cast(Any, types).CPointer(item)(types.int64)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return signature, generate

    return cast("Callable[[int], Any]", intrinsic(cast_address))


uint8_at = _pointer_to(types.uint8)
uint16_at = _pointer_to(types.uint16)
int16_at = _pointer_to(types.int16)
uint32_at = _pointer_to(types.uint32)
float32_at = _pointer_to(types.float32)
