"""Every kernel gives the same bits whether it was compiled in this process or read from Numba's cache, whole or in part."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

numba = pytest.importorskip("numba")

from ts_models.fast.kernels import jit  # noqa: E402

SCRIPT = Path(__file__).with_name("hashes.py")
ENTRIES = ("decode.forward", "attention.attention_", "dropout.drop")


def start(cache: Path, *only: str, **environment: str) -> subprocess.Popen[str]:
    settings = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *only], env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> dict[str, str]:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return json.loads(out)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    cache = tmp_path_factory.mktemp("cache")
    hashes = finish(start(cache))
    hand_on(cache)
    return cache, hashes


def hand_on(cache: Path) -> None:
    """Put kernels that this checkout has not compiled yet where every other process looks for them: to compile takes half a minute."""
    beside = Path(jit.__file__).parent / "__pycache__"
    if numba.config.CACHE_DIR or not os.access(beside, os.W_OK):
        return
    for index in cache.rglob("*.nbi"):
        if not (beside / index.name).exists():
            for path in (*index.parent.glob(f"{index.stem}.*.nbc"), index):  # the code before what names it
                shutil.copy(path, beside / f"{path.name}.tests")
                (beside / f"{path.name}.tests").replace(beside / path.name)


@pytest.mark.slow
@pytest.mark.cold
def test_warm_equals_cold(cold: tuple[Path, dict[str, str]]) -> None:
    cache, hashes = cold
    assert len(hashes) == 16
    assert finish(start(cache)) == hashes


def some(hashes: dict[str, str], *only: str) -> dict[str, str]:
    """What `hashes.py` prints with these names after it."""
    return {name: value for name, value in hashes.items() if name.startswith(only)}


@pytest.mark.parametrize("removed", ["entries", "helpers"])
def test_a_cache_in_part_equals_cold(cold: tuple[Path, dict[str, str]], tmp_path: Path, removed: str) -> None:
    part = tmp_path / "cache"
    shutil.copytree(cold[0], part)
    gone = [path for path in part.rglob("*.nb?") if path.name.startswith(ENTRIES) == (removed == "entries")]
    assert gone
    for path in gone:
        path.unlink()
    only = ("attention", "dropout", "decode story float32")
    assert finish(start(part, *only)) == some(cold[1], *only)


# What follows concerns `jit`, whatever the kernel: the one that compiles fastest.


def test_a_damaged_cache_equals_cold(cold: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    shutil.copytree(cold[0], tmp_path / "cache")
    cut = list(tmp_path.rglob("dropout.*.nbc"))
    assert cut
    for path in cut:
        path.write_bytes(path.read_bytes()[:100])
    assert finish(start(tmp_path / "cache", "dropout")) == some(cold[1], "dropout")


def test_processes_that_fill_it_at_the_same_time_equal_cold(cold: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    both = [start(tmp_path, "attention", "dropout") for _ in range(2)]
    expected = some(cold[1], "attention", "dropout")
    assert [finish(process) for process in both] == [expected] * 2
    assert finish(start(tmp_path, "attention", "dropout")) == expected


def test_a_cache_that_cannot_be_written_ends_nothing(cold: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    assert finish(start(tmp_path, "dropout", READ_ONLY="1")) == some(cold[1], "dropout")
    assert not list(tmp_path.rglob("*.nbc"))
    assert finish(start(cold[0], READ_ONLY="1")) == cold[1]


def test_a_change_of_any_module_of_the_kernels_compiles_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    source = tmp_path / "own.py"
    source.write_text("def double(x):\n    return 2 * x\n")
    names: dict[str, object] = {}
    exec(compile(source.read_text(), str(source), "exec"), names)

    def compiled() -> int:
        function = jit.kernel(names["double"])
        assert function(3) == 6
        return sum(function.stats.cache_misses.values())

    assert compiled() == 1
    assert compiled() == 0
    monkeypatch.setattr(jit, "_sources", lambda: "other sources")
    assert compiled() == 1
