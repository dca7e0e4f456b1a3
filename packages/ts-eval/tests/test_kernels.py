"""Compiled now, read from the cache, without a cache, with a damaged one: the kernels give the same bits."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numba
import pytest
from numba.core.caching import IndexDataCacheFile, _CacheLocator

from ts_eval import fast, rouge

DIGEST = """
import hashlib, sys
import numpy as np
from ts_eval import StoryIndex, rouge
from ts_eval.fast import kernels

rng = np.random.default_rng(0)
words = [f"word{i}" for i in range(60)]
stories = [" ".join(rng.choice(words, rng.integers(5, 60))) + "." for _ in range(300)]
queries = [" ".join(rng.choice(words, 25)) for _ in range(20)]
digest = hashlib.sha256(repr(rouge(queries, queries[::-1])).encode())
index = StoryIndex.build(stories)
a = index.arrays
digest.update(a.df.tobytes() + a.norms.tobytes())
digest.update(kernels.norms(a.stream, a.offsets, index.idf, 0, 300).tobytes())
cosine = index._cosine
row, weights = cosine.weights([cosine.vector(text) for text in queries])
own = np.full(20, -1, np.int64)
for array in kernels.scan_cosine(a.stream, a.offsets, a.norms, row, weights, own, 0, 300, 9):
    digest.update(array.tobytes())
row, weights = cosine.weights([cosine.vector(queries[0])])
digest.update(kernels.score_cosine(a.stream, a.offsets, a.norms, row, weights, 0, 300).tobytes())
digest.update(repr([index.closest(queries), index.max_rouge2_precision(queries), index.longest_spans(queries)]).encode())
print(digest.hexdigest())
"""
ONE = """
import hashlib
from ts_eval import rouge
print(hashlib.sha256(repr(rouge(["a cat sat on a mat", "b"], ["a cat ran", "b"])).encode()).hexdigest())
"""
"""A program that compiles one kernel only."""


def start(cache: Path, program: str = DIGEST) -> subprocess.Popen[str]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", program]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert err == ""
    return out.strip()


@pytest.fixture(scope="module")
def expected() -> str:
    return hashlib.sha256(repr(rouge(["a cat sat on a mat", "b"], ["a cat ran", "b"])).encode()).hexdigest()


@pytest.fixture(scope="module")
def filled(expected, tmp_path_factory):
    """A cache of all kernels, and the digest of the process that filled it; another compiled its first kernel at the same time."""
    cache = tmp_path_factory.mktemp("numba")
    one, all_kernels = start(cache, ONE), start(cache)
    assert result(one) == expected
    found = result(all_kernels)
    hand_on(cache)
    return cache, found


def hand_on(cache: Path) -> None:
    """Put kernels that this checkout has not compiled yet where every other process looks for them."""
    beside = Path(fast.__file__).parent / "__pycache__"
    if numba.config.CACHE_DIR or not os.access(beside, os.W_OK):
        return
    for index in cache.rglob("kernels.*.nbi"):
        if not (beside / index.name).exists():
            for path in (*index.parent.glob(f"{index.stem}.*.nbc"), index):  # the code before what names it
                shutil.copy(path, beside / f"{path.name}.tests")
                (beside / f"{path.name}.tests").replace(beside / path.name)


@pytest.mark.slow
@pytest.mark.cold
def test_cold_is_warm_to_the_bit_with_the_cache_filled_by_two_at_once(filled):
    cache, found = filled
    assert list(cache.rglob("*.nbc")), "the kernels are cached"
    files = {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb?")}
    assert result(start(cache)) == found
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb?")} == files, "read, not written again"


# What befalls the cache concerns `jit`, whatever the kernel: one kernel, in this process.


def fresh_rouge(cache: Path) -> str:
    """What `ONE` prints, by kernels as a new process has them: nothing compiled, the cache in that folder; a warning is an error."""
    spec = importlib.util.spec_from_file_location("ts_eval.fast.kernels", Path(fast.__file__).with_name("kernels.py"))
    kernels = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(numba.config, "CACHE_DIR", str(cache))
        patch.setattr(fast, "load_kernels", lambda: kernels)
        spec.loader.exec_module(kernels)
        return hashlib.sha256(repr(rouge(["a cat sat on a mat", "b"], ["a cat ran", "b"])).encode()).hexdigest()


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ((_CacheLocator, "ensure_cache_path"), PermissionError(13, "read-only")),
        ((IndexDataCacheFile, "_open_for_write"), OSError(30, "full")),
    ],
    ids=["no folder to write to", "read-only"],
)
def test_without_a_cache_the_bits_are_the_same(expected, tmp_path, where, problem, monkeypatch):
    def refuse(*_):
        raise problem

    monkeypatch.setattr(*where, refuse)
    assert fresh_rouge(tmp_path) == expected
    assert not list(tmp_path.rglob("*.nb?"))


@pytest.mark.parametrize("damage", [(b"", b"\x80\x04garbage"), (b"\x80\x04garbage", b"")], ids=["index cut", "code cut"])
def test_a_damaged_cache_is_no_obstacle(filled, expected, tmp_path, damage):
    cache = tmp_path / "numba"
    shutil.copytree(filled[0], cache)
    for path in cache.rglob("*.nb?"):
        path.write_bytes(damage[path.suffix == ".nbc"])
    assert fresh_rouge(cache) == expected


def test_no_kernel_reorders_sums():
    """`fastmath` lets the copy of a helper that is cached round otherwise than the one that was just compiled."""
    for file in Path(fast.__file__).parent.glob("*.py"):
        assert "fastmath=" not in file.read_text(encoding="utf-8"), file
