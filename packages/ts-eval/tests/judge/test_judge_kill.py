"""The judge killed in the middle, over a server that fails a fifth of its calls (the benchmark's own code, at small size)."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_killed_twice_every_story_is_rated_once_and_none_is_paid_twice() -> None:
    path = next(
        (p / "bench/eval_judge_kill.py" for p in Path(__file__).resolve().parents if (p / "bench/eval_judge_kill.py").is_file()),
        None,
    )
    if path is None:
        pytest.skip("the benchmarks are not beside the package")
    spec = importlib.util.spec_from_file_location("eval_judge_kill", path)
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    found = bench.run(24, 2, idempotent=True)
    assert found["kills"] == 2
    assert found["rated once"] == 24
    assert found["lost"] == found["rated twice"] == found["paid twice"] == 0
    assert found["kept in the store"] == found["replies paid for"] == 24
