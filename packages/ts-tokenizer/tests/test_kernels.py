"""The compiled loops give the same bytes compiled or from the cache, on one core or many, and whatever befalls the cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba")

SCRIPT = Path(__file__).with_name("kernel_hashes.py")


def _start(cache: Path, **environment: str) -> subprocess.Popen[str]:
    settings = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "CORES": "2", **environment}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT)], env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _finish(process: subprocess.Popen[str]) -> dict[str, str]:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return json.loads(out)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    cache = tmp_path_factory.mktemp("cache")
    return cache, _finish(_start(cache))


def test_warm_equals_cold_on_one_core_and_on_two(cold: tuple[Path, dict[str, str]]) -> None:
    cache, hashes = cold
    assert len(hashes) == 10
    assert list(cache.rglob("*.nbc"))
    assert _finish(_start(cache)) == hashes
    assert _finish(_start(cache, CORES="1")) == hashes
    assert _finish(_start(cache, CORES="5")) == hashes


def test_plain_loops_equal_the_compiled_ones(cold: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    assert _finish(_start(tmp_path, TS_TOKENIZER_KERNELS="plain")) == cold[1]
    assert not list(tmp_path.rglob("*.nbc"))


@pytest.mark.parametrize("harm", ["half", "cut code", "cut index"])
def test_a_harmed_cache_equals_cold(cold: tuple[Path, dict[str, str]], tmp_path: Path, harm: str) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(cold[0], cache)
    code, index = (sorted(cache.rglob(pattern)) for pattern in ("*.nbc", "*.nbi"))
    if harm == "half":
        for path in [*code, *index][::2]:
            path.unlink()
    else:
        for path in code if harm == "cut code" else index:
            path.write_bytes(path.read_bytes()[:100])
    assert _finish(_start(cache)) == cold[1]


def test_processes_that_fill_it_at_the_same_time_equal_cold(cold: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    both = [_start(tmp_path) for _ in range(2)]
    assert [_finish(process) for process in both] == [cold[1]] * 2
    assert _finish(_start(tmp_path)) == cold[1]


def test_a_cache_that_cannot_be_written_ends_nothing(cold: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    assert _finish(_start(tmp_path / "empty", READ_ONLY="1")) == cold[1]
    assert not list(tmp_path.rglob("*.nb?"))
    assert _finish(_start(cold[0], READ_ONLY="1")) == cold[1]


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

    real, seen = numba.njit, []

    def njit(**options: Any) -> Any:
        seen.append(options.get("cache", False))
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(numba, "njit", njit)
    assert jit(lambda x: x + 1)(1) == 2
    assert seen == [True, False]
