"""Every kernel gives the same bits whether it was compiled in this process or read from Numba's cache, whole or in part."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

numba = pytest.importorskip("numba")

from ts_models.fast.kernels import jit  # noqa: E402

SCRIPT = Path(__file__).with_name("hashes.py")
ENTRIES = ("decode.forward", "attention.attention_", "dropout.drop")


Hashes = dict[str, str]
Run = Callable[..., list[Hashes]]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """`run(cache, *names, at_once=1, read_only=False)`: what as many new processes print that share this cache."""
    settings = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        env=settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    questions, answers = server.stdin, server.stdout

    def run(cache: Path, *only: str, at_once: int = 1, read_only: bool = False) -> list[Hashes]:
        print(json.dumps([(str(cache), only, read_only)] * at_once), file=questions, flush=True)
        *lines, end = [answers.readline() for _ in range(at_once + 1)]
        assert end == "ended\n", server.communicate(timeout=60)[1]
        return [json.loads(line) for line in lines]

    yield run
    _, errors = server.communicate(timeout=60)
    assert server.returncode == 0, errors


@pytest.fixture(scope="module")
def cold(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Hashes]:
    cache = tmp_path_factory.mktemp("cache")
    hashes = run(cache)[0]
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
def test_warm_equals_cold(run: Run, cold: tuple[Path, Hashes]) -> None:
    cache, hashes = cold
    assert len(hashes) == 16
    files = {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb?")}
    assert len(files) > 16
    assert run(cache) == [hashes]
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb?")} == files, "read, not written again"


def some(hashes: Hashes, *only: str) -> Hashes:
    """What `hashes.py` prints with these names."""
    return {name: value for name, value in hashes.items() if name.startswith(only)}


@pytest.mark.parametrize("removed", ["entries", "helpers"])
def test_a_cache_in_part_equals_cold(run: Run, cold: tuple[Path, Hashes], tmp_path: Path, removed: str) -> None:
    part = tmp_path / "cache"
    shutil.copytree(cold[0], part)
    gone = [path for path in part.rglob("*.nb?") if path.name.startswith(ENTRIES) == (removed == "entries")]
    assert gone
    for path in gone:
        path.unlink()
    only = ("attention", "dropout", "decode story float32")
    assert run(part, *only) == [some(cold[1], *only)]


# What follows concerns `jit`, whatever the kernel: the one that compiles fastest.


def test_a_damaged_cache_equals_cold(run: Run, cold: tuple[Path, Hashes], tmp_path: Path) -> None:
    shutil.copytree(cold[0], tmp_path / "cache")
    cut = list(tmp_path.rglob("dropout.*.nbc"))
    assert cut
    for path in cut:
        path.write_bytes(path.read_bytes()[:100])
    assert run(tmp_path / "cache", "dropout") == [some(cold[1], "dropout")]


def test_processes_that_fill_it_at_the_same_time_equal_cold(run: Run, cold: tuple[Path, Hashes], tmp_path: Path) -> None:
    expected = some(cold[1], "attention", "dropout")
    assert run(tmp_path, "attention", "dropout", at_once=2) == [expected] * 2
    assert list(tmp_path.rglob("*.nbc"))
    assert run(tmp_path, "attention", "dropout") == [expected]


def test_a_cache_that_cannot_be_written_ends_nothing(run: Run, cold: tuple[Path, Hashes], tmp_path: Path) -> None:
    assert run(tmp_path, "dropout", read_only=True) == [some(cold[1], "dropout")]
    assert not list(tmp_path.rglob("*.nbc"))
    assert run(cold[0], read_only=True) == [cold[1]]


def test_a_change_of_any_module_of_the_kernels_compiles_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    source = tmp_path / "own.py"
    source.write_text("def double(x):\n    return 2 * x\n")
    names: dict[str, object] = {"__name__": __name__}  # the module that the cache looks for once the function is gone
    exec(compile(source.read_text(), str(source), "exec"), names)

    def compiled() -> int:
        function = jit.kernel(names["double"])
        assert function(3) == 6
        misses = sum(function.stats.cache_misses.values())
        del function
        gc.collect()
        return misses

    assert compiled() == 1
    assert compiled() == 0
    monkeypatch.setattr(jit, "_sources", lambda: "other sources")
    assert compiled() == 1
