"""The compiled loops give the same bytes compiled or from the cache, on one core or many, and whatever befalls the cache."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from numba.core.caching import IndexDataCacheFile

from ts_tokenizer.fast import loops

SCRIPT = Path(__file__).with_name("kernel_hashes.py")


def _start(**environment: str) -> subprocess.Popen[str]:
    settings = {**os.environ, **environment}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT)], env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _finish(process: subprocess.Popen[str]) -> dict[str, str]:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return json.loads(out)  # type: ignore[no-any-return]


@pytest.mark.slow
def test_every_process_gives_the_same_bytes(tmp_path: Path) -> None:
    """Of plain loops, and of compiled ones on one core and on five: the first compiles what this machine's cache lacks, the other reads it."""
    plain = _start(CORES="2", NUMBA_CACHE_DIR=str(tmp_path), TS_TOKENIZER_KERNELS="plain")
    one = _finish(_start(CORES="1"))
    five = _finish(_start(CORES="5"))
    expected = _finish(plain)
    assert len(expected) == 10
    assert one == expected
    assert five == expected
    assert not list(tmp_path.rglob("*.nbc"))


# What befalls the cache concerns `jit`, whatever the loop: these tests run a few loops, most of them in this process.


@pytest.fixture(scope="module")
def expected(plain_loops: ModuleType) -> dict[str, str]:
    return _few(plain_loops)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import numba

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def filled(expected: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the few loops, to be copied."""
    import numba

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "CACHE_DIR", str(tmp_path_factory.mktemp("filled")))
        assert _few(_fresh_loops()) == expected
        return Path(numba.config.CACHE_DIR)


def _few(loops: ModuleType) -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("kernel_hashes", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.few(loops)  # type: ignore[no-any-return]


def _fresh_loops() -> ModuleType:
    """The loops as a new process has them: nothing compiled, the cache on disk."""
    path = Path(loops.__file__)
    module = ModuleType(loops.__name__)
    source = path.read_text(encoding="utf-8").replace("from .jit import", "from ts_tokenizer.fast.jit import")
    exec(compile(source, path, "exec"), module.__dict__)
    return module


def _hits(module: ModuleType) -> int:
    return sum(sum(module.__dict__[name].stats.cache_hits.values()) for name in ("fill_table", "learn", "sum_weights"))


@pytest.mark.parametrize(("harm", "hits"), [("none", 6), ("half", None), ("cut code", 0), ("cut index", 0)])
def test_a_harmed_cache_equals_cold(cache: Path, filled: Path, expected: dict[str, str], harm: str, hits: int | None) -> None:
    shutil.copytree(filled, cache)
    code, index = (sorted(cache.rglob(pattern)) for pattern in ("*.nbc", "*.nbi"))
    assert len(code) >= 6
    if harm == "half":
        for path in [*code, *index][::2]:
            path.unlink()
    elif harm != "none":
        for path in code if harm == "cut code" else index:
            path.write_bytes(path.read_bytes()[:100])
    again = _fresh_loops()
    assert _few(again) == expected
    assert hits is None or _hits(again) == hits


def test_processes_that_fill_it_at_the_same_time_equal_cold(expected: dict[str, str], tmp_path: Path) -> None:
    both = [_start(NUMBA_CACHE_DIR=str(tmp_path), FEW="1") for _ in range(2)]
    assert [_finish(process) for process in both] == [expected] * 2
    assert _finish(_start(NUMBA_CACHE_DIR=str(tmp_path), FEW="1")) == expected


def test_a_cache_that_cannot_be_written_ends_nothing(
    cache: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(IndexDataCacheFile, "_open_for_write", refuse)
        assert _few(_fresh_loops()) == expected
        assert not list(cache.rglob("*.nb?"))
    assert _few(_fresh_loops()) == expected
    monkeypatch.setattr(IndexDataCacheFile, "_open_for_write", refuse)
    warm = _fresh_loops()
    assert _few(warm) == expected
    assert _hits(warm) == 6


def test_a_cache_of_another_signature_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two processes can leave an index that names the code of another signature."""
    import numba

    from ts_tokenizer.fast.jit import jit

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    source = tmp_path / "own.py"
    source.write_text("def double(x):\n    return x + x\n")
    names: dict[str, Any] = {}
    exec(compile(source.read_text(), str(source), "exec"), names)
    first = jit(names["double"])
    assert (first(3), first(2.5)) == (6, 5.0)
    one, two = sorted(tmp_path.rglob("*.nbc"))
    whole, fraction = one.read_bytes(), two.read_bytes()
    one.write_bytes(fraction)
    two.write_bytes(whole)
    again = jit(names["double"])
    assert (again(3), again(2.5)) == (6, 5.0)
    assert sum(again.stats.cache_hits.values()) == 0
    assert (jit(names["double"])(3), jit(names["double"])(2.5)) == (6, 5.0)


def test_without_a_place_for_the_cache_it_compiles_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only __pycache__ and no usable home make `njit(cache=True)` raise."""
    import numba

    from ts_tokenizer.fast.jit import jit

    jit(lambda x: x)(1)  # Numba's own modules are imported by the first call, and use `njit`
    real, seen = numba.njit, []

    def njit(**options: Any) -> Any:
        seen.append(options.get("cache", False))
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(numba, "njit", njit)
    assert jit(lambda x: x + 1)(1) == 2
    assert seen == [True, False]
