"""Sixteen float32 side by side: what Numba's own vectoriser does not find, written as LLVM vectors.

Nothing here names a processor: LLVM makes AVX-512, two AVX2 or four NEON or SSE registers of a vector of 16. Addresses are int64, strides
and offsets count elements; the callers see to it that all of it is theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 16

_WORD, _FLOAT = ir.IntType(64), ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_MASK = ir.VectorType(ir.IntType(32), LANES)
_ALIGN = 4  # of a vector in memory: rows begin anywhere
_LINE = 4 * LANES  # bytes of a vector: a cache line

# Which lanes of two registers (0 to 15, 16 to 31) make the two results of each stage of a transposition.
_GROUPS = (0, 4, 8, 12)
_SINGLES = tuple([group + n for group in _GROUPS for n in part] for part in ((0, 16, 1, 17), (2, 18, 3, 19)))
_PAIRS = tuple([group + n for group in _GROUPS for n in part] for part in ((0, 1, 16, 17), (2, 3, 18, 19)))
_FOURS = tuple([start + n for start in part for n in range(4)] for part in ((0, 8, 16, 24), (4, 12, 20, 28)))


def _at(builder: Any, address: Any, elements: Any) -> Any:
    """Pointer to a vector `elements` floats behind an address."""
    return builder.inttoptr(builder.add(address, builder.shl(elements, ir.Constant(_WORD, 2))), ir.PointerType(_VECTOR))


def _splat(builder: Any, value: Any) -> Any:
    """A float in all lanes."""
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), ir.Constant(_MASK, [0] * LANES))


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, in one rounding where the processor has that."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fmuladd.v{LANES}f32"
    )
    return builder.call(function, (a, b, c))


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """16 vectors to 16 vectors: lane j of vector i becomes lane i of vector j. 64 shuffles of two registers each."""

    def both(a: Any, b: Any, masks: tuple[list[int], ...]) -> list[Any]:
        return [builder.shuffle_vector(a, b, ir.Constant(_MASK, mask)) for mask in masks]

    quads: list[list[Any]] = []  # [i][j]: columns j, 4 + j, 8 + j, 12 + j of rows 4 i to 4 i + 3
    for i in range(0, LANES, 4):
        (low, high), (low2, high2) = both(rows[i], rows[i + 1], _SINGLES), both(rows[i + 2], rows[i + 3], _SINGLES)
        quads.append(both(low, low2, _PAIRS) + both(high, high2, _PAIRS))
    result: list[Any] = [None] * LANES
    for j in range(4):
        upper, lower = both(quads[0][j], quads[1][j], _FOURS), both(quads[2][j], quads[3][j], _FOURS)
        for k in range(2):
            result[j + 4 * k], result[j + 8 + 4 * k] = both(upper[k], lower[k], _FOURS)
    return result


def _make_transpose(scaled: bool, streamed: bool = False) -> Callable[..., None]:
    """A compiled function (source, source_stride, target, target_stride[, scale, shift]); see below."""

    def emit(builder: Any, arguments: Any) -> None:
        source, step, target, along = arguments[:4]
        rows = [
            builder.load(_at(builder, source, builder.mul(step, ir.Constant(_WORD, i))), align=_ALIGN, typ=_VECTOR)
            for i in range(LANES)
        ]
        if scaled:
            scale, shift = _splat(builder, arguments[4]), _splat(builder, arguments[5])
            rows = [_multiply_add(builder, row, scale, shift) for row in rows]
        for i, column in enumerate(_transposed(builder, rows)):
            place = _at(builder, target, builder.mul(along, ir.Constant(_WORD, i)))
            stored = builder.store(column, place, align=_LINE if streamed else _ALIGN)
            if streamed:
                stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))

    words, floats = (types.int64,) * 4, (types.float32,) * 2

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit(builder, arguments)
        return context.get_dummy_value()

    if scaled:

        def declare_scaled(
            typing_context: Any, source: Any, step: Any, target: Any, along: Any, scale: Any, shift: Any
        ) -> Any:
            return types.void(*words, *floats), generate

        return cast("Callable[..., None]", intrinsic(declare_scaled))

    def declare(typing_context: Any, source: Any, step: Any, target: Any, along: Any) -> Any:
        return types.void(*words), generate

    return cast("Callable[..., None]", intrinsic(declare))


def _make_weigh(count: int) -> Callable[..., None]:
    """A compiled function (source, weight, target): the sum of `count` vectors that follow each other, each times its weight."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, weight, target = arguments
        total = None
        for k in range(count):
            value = builder.load(_at(builder, source, ir.Constant(_WORD, k * LANES)), align=_ALIGN, typ=_VECTOR)
            place = builder.inttoptr(builder.add(weight, ir.Constant(_WORD, 4 * k)), ir.PointerType(_FLOAT))
            factor = _splat(builder, builder.load(place, align=_ALIGN, typ=_FLOAT))
            total = builder.fmul(value, factor) if total is None else _multiply_add(builder, value, factor, total)
        builder.store(total, _at(builder, target, ir.Constant(_WORD, 0)), align=_ALIGN)
        return context.get_dummy_value()

    def declare(typing_context: Any, source: Any, weight: Any, target: Any) -> Any:
        return types.void(*(types.int64,) * 3), generate

    return cast("Callable[..., None]", intrinsic(declare))


def _weigh_any(typing_context: Any, source: Any, weight: Any, target: Any, count: Any) -> Any:
    """As _make_weigh, for a number of vectors that is not known before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, weight, target, count = arguments
        total = cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, [0.0] * LANES))
        builder.store(ir.Constant(_VECTOR, [0.0] * LANES), total)
        with cgutils.for_range(builder, count) as loop:
            place = _at(builder, source, builder.mul(loop.index, ir.Constant(_WORD, LANES)))
            value = builder.load(place, align=_ALIGN, typ=_VECTOR)
            factor = builder.inttoptr(
                builder.add(weight, builder.shl(loop.index, ir.Constant(_WORD, 2))), ir.PointerType(_FLOAT)
            )
            factor = _splat(builder, builder.load(factor, align=_ALIGN, typ=_FLOAT))
            builder.store(_multiply_add(builder, value, factor, builder.load(total, typ=_VECTOR)), total)
        builder.store(builder.load(total, typ=_VECTOR), _at(builder, target, ir.Constant(_WORD, 0)), align=_ALIGN)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 4), generate


def _fetch(typing_context: Any, address: Any) -> Any:
    """Asks for the cache line at an address, to be written soon."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, flag = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag]), "llvm.prefetch.p0"
        )
        for_writing, keep, data = (ir.Constant(flag, n) for n in (1, 3, 1))
        builder.call(function, (builder.inttoptr(arguments[0], byte), for_writing, keep, data))
        return context.get_dummy_value()

    return types.void(types.int64), generate


def _drain(typing_context: Any) -> Any:
    """Nothing that is stored later is seen before what was stored past the caches."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


def _make_ramp(bits: int, signed: bool) -> Callable[..., None]:
    """A compiled function (source, target, count, x0, gain, offset, first, last); see below."""
    integers = ir.VectorType(ir.IntType(bits), LANES)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, target, count = arguments[:3]
        x0, gain, offset, first, last = (_splat(builder, value) for value in arguments[3:])
        zero, one = (ir.Constant(_VECTOR, [value] * LANES) for value in (0.0, 1.0))
        with cgutils.for_range(builder, count) as loop:
            element = builder.mul(loop.index, ir.Constant(_WORD, LANES))
            place = builder.add(source, builder.mul(element, ir.Constant(_WORD, bits // 8)))
            coded = builder.load(builder.inttoptr(place, ir.PointerType(integers)), align=bits // 8, typ=integers)
            x = builder.sitofp(coded, _VECTOR) if signed else builder.uitofp(coded, _VECTOR)
            y = _multiply_add(builder, builder.fsub(x, x0), gain, offset)
            y = builder.select(builder.fcmp_ordered(">", y, zero), y, zero)
            y = builder.select(builder.fcmp_ordered("<", y, one), y, one)
            kept = builder.or_(builder.fcmp_ordered("<", x, first), builder.fcmp_ordered(">", x, last))
            builder.store(builder.select(kept, y, zero), _at(builder, target, element), align=_ALIGN)
        return context.get_dummy_value()

    def declare(
        typing_context: Any,
        source: Any,
        target: Any,
        count: Any,
        x0: Any,
        gain: Any,
        offset: Any,
        first: Any,
        last: Any,
    ) -> Any:
        return types.void(*(types.int64,) * 3, *(types.float32,) * 5), generate

    return cast("Callable[..., None]", intrinsic(declare))


# (source, target, count, x0, gain, offset, first, last): count * 16 integers x at `source` to min(max((x - x0) * gain + offset, 0), 1),
# or to 0 where first <= x <= last.
ramp_uint8, ramp_uint16, ramp_int16 = _make_ramp(8, False), _make_ramp(16, False), _make_ramp(16, True)
# (address): any address will do, also one that is not mapped.
fetch = cast("Callable[[int], None]", intrinsic(_fetch))
# (source, source_stride, target, target_stride): 16 rows of 16 floats to 16 columns; with (scale, shift): times scale, plus shift.
transpose, transpose_scaled = _make_transpose(False), _make_transpose(True)
# The same, past the caches: `target` and what lies `target_stride` apart begin where a cache line does. `drain` before anybody reads it.
transpose_streamed = _make_transpose(True, True)
drain = cast("Callable[[], None]", intrinsic(_drain))
# (source, weight, target): see _make_weigh. weigh_any: (source, weight, target, count).
weigh1, weigh2, weigh3, weigh4, weigh5 = (_make_weigh(count) for count in range(1, 6))
weigh_any = cast("Callable[..., None]", intrinsic(_weigh_any))
