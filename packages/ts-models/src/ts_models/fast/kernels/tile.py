"""A tile of a matrix product, written in LLVM's vector types, because no compiler keeps a tile of Python loops in registers.

`add`, `affine` and `strided` make functions for Numba that hold `rows` × `vectors` vectors of sums in registers and read each weight once
for all rows. A sum is one chain of fused multiply-adds from first to last, so that a row's result is the
same to the bit in any tile, batch or thread. Takes pointers and checks nothing.
"""

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .arrays import GROUP, PACKED
from .sums import loop

_features = binding.get_host_cpu_features()
LANES = 16 if _features.get("avx512f") else 8 if _features.get("avx2") else 4
"""Floats of a vector register of this machine."""
VECTORS = 2 if LANES == 8 else 4
"""Vectors of a row of a tile of five rows that leave no sum in memory: AVX2 has 16 registers, AVX-512 and ARM 32."""

_Vector = ir.VectorType(ir.FloatType(), LANES)
_Int, _Word = ir.IntType(64), ir.IntType(32)
_Words = ir.VectorType(_Word, LANES)


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
    """y [rows, N] = scale [N] · (x [rows, size] @ w [size, N]) + bias [N]; see `_make` for the arguments.

    w may be float32, int8, or words of 4-bit weights: then a scale is of GROUP inputs, the next group's `w_stride` behind it.
    """
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
            product = _grouped if w.dtype == types.int32 else _product
            product(b, rows, vectors, "affine" if scaled else "add", x, x_stride, _Int(1), *others)
            return context.get_dummy_value()

        return signature, generate

    return tile


def _grouped(
    b: ir.IRBuilder, rows: int, vectors: int, mode: str,
    x: Any, x_row: Any, x_column: Any, count: Any, w: Any, w_stride: Any, size: Any, y: Any, y_stride: Any, scale: Any, bias: Any,
) -> None:  # fmt: skip
    """The affine product of 4-bit weights, group by group: y = bias, then y += scale · (x @ w) of each group."""
    for row in range(rows):
        there = b.select(b.icmp_signed("<", _Int(row), count), _Int(row), b.sub(count, _Int(1)))
        for v in range(vectors):
            b.store(_load(b, bias, v), _vector(b, b.gep(y, [b.mul(there, y_stride)]), v), align=4)

    def group(first: Any, line: Any, factor: Any) -> list[Any]:
        left = b.sub(size, first)
        inputs = b.select(b.icmp_signed("<", left, _Int(GROUP)), left, _Int(GROUP))
        rest = b.urem(inputs, _Int(PACKED))
        whole = b.sub(inputs, rest)
        for begin, part, at_once in ((_Int(0), whole, PACKED), (whole, rest, 1)):
            source = b.gep(x, [b.mul(b.add(first, begin), x_column)])
            words = b.gep(line, [b.mul(b.udiv(begin, _Int(PACKED)), w_stride)])
            given = (source, x_row, x_column, count, words, w_stride, part, y, y_stride, factor, None, at_once)
            with b.if_then(b.icmp_signed(">", part, _Int(0))):
                _product(b, rows, vectors, "scaled", *given)
        return [b.gep(line, [b.mul(w_stride, _Int(GROUP // PACKED))]), b.gep(factor, [w_stride])]

    loop(b, _Int(0), size, GROUP, [w, scale], group)


def _product(
    b: ir.IRBuilder, rows: int, vectors: int, mode: str,
    x: Any, x_row: Any, x_column: Any, count: Any, w: Any, w_stride: Any, size: Any, y: Any, y_stride: Any, scale: Any, bias: Any,
    at_once: int = 1,
) -> None:  # fmt: skip
    """at_once: inputs of a turn of the loop, of which `size` is a multiple."""
    fma = cgutils.get_or_insert_function(b.module, ir.FunctionType(_Vector, [_Vector] * 3), f"llvm.fma.v{LANES}f32")
    last = b.sub(count, _Int(1))
    own = [b.select(b.icmp_signed("<", _Int(row), last), _Int(row), last) for row in range(rows)]
    sources = [b.gep(x, [b.mul(row, x_row)]) for row in own]
    targets = [b.gep(y, [b.mul(row, y_stride)]) for row in own]
    zero = ir.Constant(_Vector, [0.0] * LANES)

    def turns(step: Any, *sums: Any) -> list[Any]:
        found = list(sums)
        for turn in range(at_once):
            weights = _weights(b, w, w_stride, step, turn, vectors)
            column = b.mul(b.add(step, _Int(turn)), x_column)
            for row in range(rows):
                value = _spread(b, b.load(b.gep(sources[row], [column])))
                for v in range(vectors):
                    found[row * vectors + v] = b.call(fma, [value, weights[v], found[row * vectors + v]])
        return found

    start = [_load(b, target, v) if mode == "add" else zero for target in targets for v in range(vectors)]
    sums = loop(b, _Int(0), size, at_once, start, turns)
    for v in range(vectors):
        results = sums[v::vectors]
        if mode == "affine":
            results = [b.call(fma, [result, _load(b, scale, v), _load(b, bias, v)]) for result in results]
        elif mode == "scaled":  # all rows are read before any is written: one may stand twice
            results = [
                b.call(fma, [result, _load(b, scale, v), _load(b, y, v)]) for result, y in zip(results, targets, strict=True)
            ]
        for result, target in zip(results, targets, strict=True):
            b.store(result, _vector(b, target, v), align=4)


def _weights(b: ir.IRBuilder, w: Any, w_stride: Any, step: Any, turn: int, vectors: int) -> list[Any]:
    """The weights of input step + turn, as float32 vectors; a step of 4-bit weights is that of a word."""
    if w.type.pointee != _Word:
        line = b.gep(w, [b.mul(b.add(step, _Int(turn)), w_stride)])
        return [_load(b, line, v) for v in range(vectors)]
    line = b.gep(w, [b.mul(b.udiv(step, _Int(PACKED)), w_stride)])
    shift = b.add(b.trunc(b.mul(b.urem(step, _Int(PACKED)), _Int(32 // PACKED)), _Word), _Word(turn * 32 // PACKED))
    words = [b.load(b.bitcast(b.gep(line, [_Int(v * LANES)]), _Words.as_pointer()), align=4) for v in range(vectors)]
    return [_unpack(b, b.lshr(word, _spread(b, shift))) for word in words]


def _unpack(b: ir.IRBuilder, words: Any) -> Any:
    """The numbers -8 to 7 in the lowest four bits of each word."""
    if LANES == 16:  # one instruction: it looks each lane up in a table of sixteen, by the lowest four bits
        name, kind = "llvm.x86.avx512.permvar.sf.512", ir.FunctionType(_Vector, [_Vector, _Words])
        return b.call(cgutils.get_or_insert_function(b.module, kind, name), [_Vector([float(n) for n in range(-8, 8)]), words])
    code = b.and_(words, _Words([15] * LANES))
    return b.sitofp(b.sub(code, _Words([8] * LANES)), _Vector)


def _vector(b: ir.IRBuilder, pointer: Any, number: int) -> Any:
    lanes = ir.VectorType(pointer.type.pointee, LANES)
    return b.bitcast(b.gep(pointer, [_Int(number * LANES)]), lanes.as_pointer())


def _load(b: ir.IRBuilder, pointer: Any, number: int) -> Any:
    """The vector of that number behind a pointer, float32 or int8, as float32."""
    if pointer.type.pointee == ir.FloatType():
        return b.load(_vector(b, pointer, number), align=4)
    return b.sitofp(b.load(_vector(b, pointer, number), align=1), _Vector)


def _spread(b: ir.IRBuilder, value: Any) -> Any:
    nothing = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    first = b.insert_element(nothing, value, ir.IntType(32)(0))
    return b.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))
