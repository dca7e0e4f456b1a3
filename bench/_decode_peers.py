"""Peers of bench/models_decode.py that read a file: llama2.c's `run`, built from a source that the user names, and llama.cpp.

Both are given the weights of one of our networks in Llama's structure; a rotation in halves or in pairs costs the same.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

import ts_models

SHAPES = {
    "15M": {"d_model": 288, "n_layers": 6, "n_heads": 6, "d_ff": 768, "max_seq_len": 256},
    "42M": {"d_model": 512, "n_layers": 8, "n_heads": 8, "d_ff": 1376, "max_seq_len": 1024},
}
"""The sizes of stories15M and stories42M, 32,000 words each."""


def llama(shape: str) -> Any:
    """Our network of that shape, random weights, in evaluation mode."""
    from ts_models.architectures import build_for_inference

    return build_for_inference(ts_models.TransformerConfig(vocab_size=32_000, **SHAPES[shape])).eval()


def write_llama2c(network: Any, folder: Path) -> None:
    """model.bin and tokenizer.bin as llama2.c reads them (its first format)."""
    from ts_models.fast.weights import extract_weights

    w, config = extract_weights(network), network.config
    width, d = config.head_size, config.d_model
    q, k = config.n_heads * width, config.kv_heads * width
    qkv, up, ff = w.qkv.value, w.up.value, config.d_ff
    embedding = w.embedding.copy()
    embedding[1] = 0  # the program ends a text at token 1, which tied random weights would repeat at once
    angles = np.zeros((2, config.max_seq_len, width // 2), np.float32)
    header = struct.pack("7i", d, ff, config.n_layers, config.n_heads, config.kv_heads, config.vocab_size, config.max_seq_len)
    arrays = (
        embedding, w.norms[:, 0, 0], qkv[:, :q], qkv[:, q : q + k], qkv[:, q + k :], w.out.value, w.norms[:, 1, 0],
        up[:, :ff], w.down.value, up[:, ff:], w.final_norm[0], angles,
    )  # fmt: skip
    (folder / "model.bin").write_bytes(header + b"".join(np.ascontiguousarray(array, np.float32).tobytes() for array in arrays))
    words = b"".join(struct.pack("fi", 0.0, 6) + b"w%05d" % number for number in range(config.vocab_size))
    (folder / "tokenizer.bin").write_bytes(struct.pack("i", 6) + words)


def bandwidth(threads: int) -> float:
    """Bytes per second that so many threads read together of an array far larger than the caches; the best of ten."""
    import time

    from numba import njit

    from ts_models.fast import split
    from ts_models.fast.kernels.sums import total
    from ts_models.fast.kernels.tile import at

    @njit(nogil=True)
    def read(source: Any, out: Any, begin: int, end: int) -> None:
        out[begin] = total(at(source, begin), end - begin)

    source, out, best = np.ones(100_000_000, np.float32), np.empty(100_000_000, np.float32), float("inf")
    for _ in range(11):
        begin = time.perf_counter()
        split(read, len(source), threads, source, out)
        best = min(best, time.perf_counter() - begin)
    return source.nbytes / best


def build_llama2c(source: Path | None, folder: Path) -> tuple[Path | None, str]:
    """The program, built with the flags of its makefile's `runomp`; or None and the reason."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if source is None or not source.is_file() or compiler is None:
        return None, "no compiler" if compiler is None else "give --llama2c path/to/run.c"
    program = folder / "run"
    command = [compiler, "-Ofast", "-fopenmp", "-march=native", str(source), "-lm", "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (program, "") if done.returncode == 0 else (None, f"it does not compile: {done.stderr.splitlines()[:1]}")


def llama2c_rate(program: Path, folder: Path, tokens: int, threads: int) -> float:
    """Tokens per second that the program reports, greedy."""
    command = [str(program), "model.bin", "-z", "tokenizer.bin", "-t", "0", "-n", str(tokens), "-i", ""]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=True, errors="replace")
    return float(re.findall(r"tok/s: ([\d.]+)", done.stderr)[-1])


def write_gguf(network: Any, folder: Path) -> dict[str, Path]:
    """Our own GGUF export in float32, and llama.cpp's Q8_0 of it."""
    import llama_cpp

    from ts_models.export.to_gguf import export_gguf

    plain, small = folder / "f32.gguf", folder / "q8_0.gguf"
    export_gguf(ts_models.LanguageModel(network), plain)
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0
    if llama_cpp.llama_model_quantize(os.fsencode(plain), os.fsencode(small), options):
        raise RuntimeError("llama.cpp did not write its Q8_0")
    return {"f32": plain, "Q8_0": small}


def llamacpp_rate(file: Path, tokens: int, threads: int) -> float:
    """Tokens per second of llama.cpp after the first token, greedy, by its C functions: its Python class adds work to each token."""
    import ctypes
    import time

    import llama_cpp

    model = llama_cpp.Llama(str(file), n_threads=threads, n_threads_batch=threads, n_ctx=256, verbose=False)
    token = (llama_cpp.llama_token * 1)(1)

    def step() -> None:
        if llama_cpp.llama_decode(model.ctx, llama_cpp.llama_batch_get_one(token, 1)):
            raise RuntimeError("llama.cpp stopped")
        logits = llama_cpp.llama_get_logits_ith(model.ctx, -1)
        address = ctypes.cast(logits, ctypes.POINTER(ctypes.c_float))
        token[0] = int(np.ctypeslib.as_array(address, (model.n_vocab(),)).argmax())

    step()
    begin = time.perf_counter()
    for _ in range(tokens - 1):
        step()
    rate = (tokens - 1) / (time.perf_counter() - begin)
    model.close()
    return rate
