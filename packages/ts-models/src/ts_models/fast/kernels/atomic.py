"""Words that threads share without a lock: loads, stores and additions on an int64 array, and the processor's pause.

A load acquires, a store releases, an addition does both: what a thread wrote before its store is there for the thread whose load
finds that store's value. Takes contiguous arrays and checks nothing.
"""

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_PAUSES = {"x86_64": ("llvm.x86.sse2.pause", []), "amd64": ("llvm.x86.sse2.pause", []), "aarch64": ("llvm.aarch64.hint", [1])}
_PAUSE = _PAUSES.get(platform.machine().lower())
"""LLVM's name of the instruction and its arguments; None where it is not known: a thread then waits without it."""


def _pointer(context: Any, b: ir.IRBuilder, kind: Any, array: Any, place: Any) -> Any:
    return b.gep(context.make_array(kind)(context, b, array).data, [place])


@intrinsic
def load(typing: Any, array: Any, place: Any) -> Any:
    """array[place]"""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return b.load_atomic(_pointer(context, b, signature.args[0], *args), "acquire", 8, typ=ir.IntType(64))

    return types.int64(array, types.int64), generate


@intrinsic
def store(typing: Any, array: Any, place: Any, value: Any) -> Any:
    """array[place] = value"""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
        b.store_atomic(args[2], _pointer(context, b, signature.args[0], *args[:2]), "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), generate


def _change(operation: str) -> Any:
    """A function of (array, place, value) that changes array[place] in one step and gives what was there before."""

    @intrinsic
    def change(typing: Any, array: Any, place: Any, value: Any) -> Any:
        def generate(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
            return b.atomic_rmw(operation, _pointer(context, b, signature.args[0], *args[:2]), args[2], "seq_cst")

        return types.int64(array, types.int64, types.int64), generate

    return change


add, swap = _change("add"), _change("xchg")


@intrinsic
def pause(typing: Any) -> Any:
    """Tell the processor that this thread waits in a loop."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
        if _PAUSE:
            integer, (name, values) = ir.IntType(32), _PAUSE
            function = cgutils.get_or_insert_function(b.module, ir.FunctionType(ir.VoidType(), [integer] * len(values)), name)
            b.call(function, [integer(value) for value in values])
        return context.get_dummy_value()

    return types.void(), generate
