"""Sums and the largest of a row in a fixed order, and multiplication with addition in one rounding.

Without `reassoc` a compiler keeps a loop's sum in one chain, which leaves the vector unit idle. Here the order is written out: element i
belongs to lane i mod 16, lanes are joined as a tree, elements behind the last whole 16 follow one by one. The result is the same to
the bit wherever it is compiled, on every machine.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_LANES = 16
_Float, _Int = ir.FloatType(), ir.IntType(64)
_Vector = ir.VectorType(_Float, _LANES)
Combine = Callable[[ir.IRBuilder, Any, Any], Any]


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a · b + c in float32, rounded once."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return builder.call(_function(builder, "llvm.fma.f32", _Float), args)

    return types.float32(types.float32, types.float32, types.float32), generate


@intrinsic
def total(typing: Any, x: Any, size: Any) -> Any:
    """The sum of `size` float32 values behind a pointer."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return _reduce(b, [args[0]], args[1], 0.0, lambda b, acc, x, wide: b.fadd(acc, x), lambda b, x, y: b.fadd(x, y))

    return types.float32(x, types.int64), generate


@intrinsic
def largest(typing: Any, x: Any, size: Any) -> Any:
    """The largest of `size` float32 values behind a pointer; values that are no numbers do not count; -inf of none."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
        def greater(b: ir.IRBuilder, kept: Any, other: Any) -> Any:
            return b.select(b.fcmp_ordered(">", other, kept), other, kept)

        return _reduce(b, [args[0]], args[1], float("-inf"), lambda b, acc, x, wide: greater(b, acc, x), greater)

    return types.float32(x, types.int64), generate


@intrinsic
def dot(typing: Any, x: Any, y: Any, size: Any) -> Any:
    """The sum of products of two rows of `size` float32 values."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
        def step(b: ir.IRBuilder, acc: Any, x: Any, y: Any, wide: bool) -> Any:
            return b.call(_fma_of(b, wide), [x, y, acc])

        return _reduce(b, args[:2], args[2], 0.0, step, lambda b, x, y: b.fadd(x, y))

    return types.float32(x, y, types.int64), generate


@intrinsic
def squares(typing: Any, x: Any, mean: Any, size: Any) -> Any:
    """The sum of (value - mean)² over `size` float32 values."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
        nothing = ir.Constant(_Vector, ir.Undefined)
        first = b.insert_element(nothing, args[1], ir.IntType(32)(0))
        means = b.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES))

        def step(b: ir.IRBuilder, acc: Any, x: Any, wide: bool) -> Any:
            apart = b.fsub(x, means if wide else args[1])
            return b.call(_fma_of(b, wide), [apart, apart, acc])

        return _reduce(b, args[:1], args[2], 0.0, step, lambda b, x, y: b.fadd(x, y))

    return types.float32(x, types.float32, types.int64), generate


def _reduce(b: ir.IRBuilder, rows: list[Any], size: Any, empty: float, step: Callable[..., Any], combine: Combine) -> Any:
    """Loops over whole vectors of the rows, joins the lanes, then takes what remains one by one."""
    whole = b.and_(size, _Int(-_LANES))

    def vectors(place: Any, acc: Any) -> list[Any]:
        pointers = [b.bitcast(b.gep(row, [place]), _Vector.as_pointer()) for row in rows]
        return [step(b, acc, *(b.load(pointer, align=4) for pointer in pointers), True)]

    (lanes,) = loop(b, _Int(0), whole, _LANES, [ir.Constant(_Vector, [empty] * _LANES)], vectors)
    width = _LANES
    while width > 1:
        width //= 2
        mask = [ir.Constant(ir.VectorType(ir.IntType(32), width), list(range(start, start + width))) for start in (0, width)]
        lanes = combine(b, *(b.shuffle_vector(lanes, ir.Constant(lanes.type, ir.Undefined), part) for part in mask))
    joined = b.extract_element(lanes, ir.IntType(32)(0))
    (result,) = loop(
        b, whole, size, 1, [joined], lambda at, acc: [step(b, acc, *(b.load(b.gep(row, [at])) for row in rows), False)]
    )
    return result


def loop(b: ir.IRBuilder, first: Any, end: Any, step: int, start: list[Any], body: Callable[..., list[Any]]) -> list[Any]:
    """The values that `body(place, *values)` makes of `start`, place after place from `first` up to `end`."""
    before, inside, after = b.block, b.append_basic_block("loop"), b.append_basic_block("loop.end")
    b.cbranch(b.icmp_signed("<", first, end), inside, after)
    b.position_at_end(inside)
    place, values = b.phi(_Int), [b.phi(value.type) for value in start]
    results, following = body(place, *values), b.add(place, _Int(step))
    place.add_incoming(first, before)
    place.add_incoming(following, b.block)
    ends = b.block
    b.cbranch(b.icmp_signed("<", following, end), inside, after)
    b.position_at_end(after)
    found = [b.phi(value.type) for value in start]
    for value, last, given, result in zip(values, found, start, results, strict=True):
        for phi in (value, last):
            phi.add_incoming(given, before)
            phi.add_incoming(result, ends)
    return found


def _fma_of(b: ir.IRBuilder, wide: bool) -> Any:
    return _function(b, f"llvm.fma.v{_LANES}f32", _Vector) if wide else _function(b, "llvm.fma.f32", _Float)


def _function(b: ir.IRBuilder, name: str, kind: Any) -> Any:
    return cgutils.get_or_insert_function(b.module, ir.FunctionType(kind, [kind] * 3), name)
