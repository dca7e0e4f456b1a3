"""A tile of a matrix product, written in LLVM's vector types, because no compiler keeps a tile of Python loops in registers.

`add`, `affine` and `strided` make functions for Numba that hold `rows` × `vectors` vectors of sums in registers and read each weight once
for all rows. A sum is one chain of fused multiply-adds from first to last, so that a row's result is the
same to the bit in any tile, batch or thread. Takes pointers and checks nothing.
"""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_features = binding.get_host_cpu_features()
LANES = 16 if _features.get("avx512f") else 8 if _features.get("avx2") else 4
"""Floats of a vector register of this machine."""
VECTORS = 2 if LANES == 8 else 4
"""Vectors of a row of a tile of five rows that leave no sum in memory: AVX2 has 16 registers, AVX-512 and ARM 32."""

_Vector = ir.VectorType(ir.FloatType(), LANES)
_Int = ir.IntType(64)


@intrinsic
def at(typing: Any, array: Any, place: Any) -> Any:
    """Pointer to the element of a contiguous array that is `place` elements behind its first."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, b, args[0]).data
        return b.gep(data, [args[1]])

    return types.CPointer(array.dtype)(array, types.int64), generate


@intrinsic
def fetch_line(typing: Any, pointer: Any) -> Any:
    """Ask for the cache line behind a pointer: it will be read soon."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
        integer, address = ir.IntType(32), b.bitcast(args[0], ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [address.type, integer, integer, integer])
        function = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0")
        b.call(function, [address, integer(0), integer(2), integer(1)])  # to be read, into the second level, data
        return context.get_dummy_value()

    return types.void(pointer), generate


def add(rows: int, vectors: int) -> Any:
    """y [rows, N] += x [rows, size] @ w [size, N], N = vectors · LANES; see `_make` for the arguments."""
    return _make(rows, vectors, False)


def affine(rows: int, vectors: int) -> Any:
    """y [rows, N] = scale [N] · (x [rows, size] @ w [size, N]) + bias [N]; see `_make` for the arguments."""
    return _make(rows, vectors, True)


def strided(rows: int, vectors: int, accumulate: bool) -> Any:
    """y [rows, N] = x [rows, size] @ w [size, N], or += with `accumulate`. A function of (x, its stride from row to row, its stride
    from column to column, w, its stride, size ≥ 1, y, its stride): x may be read transposed."""

    @intrinsic
    def tile(typing: Any, x: Any, x_row: Any, x_column: Any, w: Any, w_stride: Any, size: Any, y: Any, y_stride: Any) -> Any:
        integer = types.int64
        signature = types.void(x, integer, integer, w, integer, integer, y, integer)

        def generate(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
            x, x_row, x_column, w, w_stride, size, y, y_stride = args
            start = "add" if accumulate else "zero"
            _product(b, rows, vectors, start, x, x_row, x_column, _Int(rows), w, w_stride, size, y, y_stride, None, None)
            return context.get_dummy_value()

        return signature, generate

    return tile


def _make(rows: int, vectors: int, scaled: bool) -> Any:
    """A function of (x, its stride, rows that exist, w, its stride, size ≥ 1, y, its stride, scale, bias). Strides in elements.

    Of fewer rows than the tile has, the last is computed again in place of those that are missing.
    """

    @intrinsic
    def tile(
        typing: Any, x: Any, x_stride: Any, count: Any, w: Any, w_stride: Any, size: Any, y: Any, y_stride: Any, scale: Any, bias: Any
    ) -> Any:  # fmt: skip
        integer = types.int64
        signature = types.void(x, integer, integer, w, integer, integer, y, integer, scale, bias)

        def generate(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
            x, x_stride, *others = args
            _product(b, rows, vectors, "affine" if scaled else "add", x, x_stride, _Int(1), *others)
            return context.get_dummy_value()

        return signature, generate

    return tile


def _product(
    b: ir.IRBuilder, rows: int, vectors: int, mode: str,
    x: Any, x_row: Any, x_column: Any, count: Any, w: Any, w_stride: Any, size: Any, y: Any, y_stride: Any, scale: Any, bias: Any,
) -> None:  # fmt: skip
    fma = cgutils.get_or_insert_function(b.module, ir.FunctionType(_Vector, [_Vector] * 3), f"llvm.fma.v{LANES}f32")
    last = b.sub(count, _Int(1))
    own = [b.select(b.icmp_signed("<", _Int(row), last), _Int(row), last) for row in range(rows)]
    sources = [b.gep(x, [b.mul(row, x_row)]) for row in own]
    targets = [b.gep(y, [b.mul(row, y_stride)]) for row in own]
    zero = ir.Constant(_Vector, [0.0] * LANES)
    start = [[_load(b, target, v) if mode == "add" else zero for v in range(vectors)] for target in targets]
    before, loop, after = b.block, b.append_basic_block("tile"), b.append_basic_block("tile.end")
    b.branch(loop)
    b.position_at_end(loop)
    step = b.phi(_Int)
    step.add_incoming(_Int(0), before)
    sums = [[b.phi(_Vector) for _ in range(vectors)] for _ in range(rows)]
    line = b.gep(w, [b.mul(step, w_stride)])
    column = b.mul(step, x_column)
    weights = [_load(b, line, v) for v in range(vectors)]
    ends = []
    for row in range(rows):
        value = _spread(b, b.load(b.gep(sources[row], [column])))
        ends.append([b.call(fma, [value, weights[v], sums[row][v]]) for v in range(vectors)])
    following = b.add(step, _Int(1))
    step.add_incoming(following, b.block)
    for row in range(rows):
        for v in range(vectors):
            sums[row][v].add_incoming(start[row][v], before)
            sums[row][v].add_incoming(ends[row][v], b.block)
    b.cbranch(b.icmp_signed("<", following, size), loop, after)
    b.position_at_end(after)
    for row in range(rows):
        for v in range(vectors):
            result = b.call(fma, [ends[row][v], _load(b, scale, v), _load(b, bias, v)]) if mode == "affine" else ends[row][v]
            b.store(result, _vector(b, targets[row], v), align=4)


def _vector(b: ir.IRBuilder, pointer: Any, number: int) -> Any:
    lanes = ir.VectorType(pointer.type.pointee, LANES)
    return b.bitcast(b.gep(pointer, [_Int(number * LANES)]), lanes.as_pointer())


def _load(b: ir.IRBuilder, pointer: Any, number: int) -> Any:
    """The vector of that number behind a pointer, float32 or int8, as float32."""
    if pointer.type.pointee == ir.FloatType():
        return b.load(_vector(b, pointer, number), align=4)
    return b.sitofp(b.load(_vector(b, pointer, number), align=1), _Vector)


def _spread(b: ir.IRBuilder, value: Any) -> Any:
    nothing = ir.Constant(_Vector, ir.Undefined)
    first = b.insert_element(nothing, value, ir.IntType(32)(0))
    return b.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))
