"""Training on an NVIDIA GPU, and by the same code on the CPU where that can stand in for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import ts_models
from ts_train import TrainConfig, train
from ts_train.runtime.precision import Precision
from ts_train.sinks.jsonl import read_metrics
from ts_train.testing import FakeEncoded

from .conftest import one_rank

Make = Callable[..., TrainConfig]
GPU = pytest.param(
    "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU here")]
)
on_both = pytest.mark.parametrize("device", ["cpu", GPU])
on_gpu = pytest.mark.parametrize("device", [GPU])
with_capture = pytest.mark.parametrize("capture", [False, True])


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(run / "metrics.jsonl") if row["kind"] == "step"]


class CrashError(RuntimeError):
    pass


def crash_at(step: int) -> Callable[..., None]:
    def stop(stage: str, done: int, total: int | None = None) -> None:
        if done == step:
            raise CrashError

    return stop


@on_both
@with_capture
def test_fp16_overflows_then_trains(
    tmp_path: Path, data: FakeEncoded, config: Make, monkeypatch: pytest.MonkeyPatch, device: str, capture: bool
) -> None:
    """A scale of 2^40 overflows float16 in the first steps: they are skipped, the scale falls, the rest learns."""
    scaler = lambda self: torch.amp.GradScaler(self.device_type, enabled=True, init_scale=2.0**40, backoff_factor=2.0**-10)  # noqa: E731
    monkeypatch.setattr(Precision, "scaler", scaler)
    settings = config(precision="fp16", device=device, capture=capture, micro_batch_tokens=96, max_steps=40)
    run = train(settings, data, tmp_path / "run")
    assert 1 <= run.state.skipped <= 4
    assert run.state.skipped_in_a_row == 0
    assert losses(tmp_path / "run")[-1] < losses(tmp_path / "run")[0] - 0.2


@on_both
@with_capture
def test_bf16_follows_fp32(tmp_path: Path, data: FakeEncoded, config: Make, device: str, capture: bool) -> None:
    for precision in ("fp32", "bf16"):
        settings = config(precision=precision, device=device, capture=capture, micro_batch_tokens=96, max_steps=20)
        train(settings, data, tmp_path / precision)
    assert losses(tmp_path / "bf16") == pytest.approx(losses(tmp_path / "fp32"), rel=3e-2)
    assert losses(tmp_path / "bf16") != losses(tmp_path / "fp32")


@on_both
@with_capture
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_killed_run_resumes_to_the_bit(
    tmp_path: Path, data: FakeEncoded, config: Make, device: str, capture: bool, optimizer: str
) -> None:
    settings = config(device=device, capture=capture, optimizer={"name": optimizer}, micro_batch_tokens=96, ema_decay=0.9)
    whole = train(settings, data, tmp_path / "whole")
    with pytest.raises(CrashError):
        train(settings, data, tmp_path / "killed", progress=crash_at(5))
    resumed = train(settings, data, tmp_path / "killed")
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


@on_gpu
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_recorded_step_equals_a_launched_one(
    tmp_path: Path, data: FakeEncoded, config: Make, device: str, optimizer: str
) -> None:
    for capture in (False, True):
        settings = config(device=device, capture=capture, optimizer={"name": optimizer}, micro_batch_tokens=96, max_steps=60)
        train(settings, data, tmp_path / str(capture))
    assert losses(tmp_path / "True") == pytest.approx(losses(tmp_path / "False"), rel=1e-4)


@on_gpu
@with_capture
def test_a_compiled_step_follows_an_eager_one(
    tmp_path: Path, data: FakeEncoded, config: Make, device: str, capture: bool
) -> None:
    tiny = {**config().model, "dropout": 0.0}  # compiled dropout draws other masks
    for compiled in (False, True):
        settings = config(device=device, capture=capture, compile=compiled, model=tiny, micro_batch_tokens=96, max_steps=20)
        train(settings, data, tmp_path / str(compiled))
    assert losses(tmp_path / "True") == pytest.approx(losses(tmp_path / "False"), rel=1e-3)


IN_A_GROUP = """
import atexit, sys
from pathlib import Path
import torch, torch.distributed as dist

# The first to register runs last: behind what ends the process group.
atexit.register(lambda: Path(sys.argv[3]).write_text("\\n".join(t.read_text() for t in Path("/proc/self/task").glob("*/comm"))))
from ts_train import TrainConfig, train
from ts_train.testing import fake_encoded

torch.set_num_threads(1)
train(TrainConfig.model_validate_json(sys.argv[1]), fake_encoded(), sys.argv[2])
import torch._dynamo   # as a training does at some time
print(dist.get_backend())
"""


@on_both
def test_a_process_group_of_one_rank_trains_as_one_process_and_leaves_no_thread(
    tmp_path: Path, data: FakeEncoded, config: Make, device: str
) -> None:
    settings = config(device=device, optimizer={"name": "muon"})
    train(settings, data, tmp_path / "alone")
    script, threads = tmp_path / "script.py", tmp_path / "threads.txt"
    script.write_text(IN_A_GROUP)
    done = subprocess.run(
        [sys.executable, str(script), settings.model_dump_json(), str(tmp_path / "grouped"), str(threads)],
        env=one_rank(), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-1] == ("nccl" if device == "cuda" else "gloo")
    assert losses(tmp_path / "grouped") == losses(tmp_path / "alone")
    if Path("/proc/self/task").exists():  # Linux lists a process's threads there
        assert "python" in threads.read_text()
        assert "gloo" not in threads.read_text()


@on_gpu
@pytest.mark.parametrize("preset", ["story-1m", "talk-1m", "talk-5m", "talk-5m-lstm"])
def test_a_model_generates_on_the_gpu_what_it_generates_on_the_cpu(device: str, preset: str) -> None:
    torch.manual_seed(1)
    model: Any = ts_models.build(preset, init_std=0.3, zero_init=False) if preset == "story-1m" else ts_models.build(preset)
    model.eval()
    ids = torch.randint(0, 2000, (3, 100), generator=torch.Generator().manual_seed(1))
    torch.set_float32_matmul_precision("highest")
    with torch.no_grad():
        here = model(ids).log_softmax(-1)
        written = model.generate(ids[:, :8].tolist(), method="greedy", max_new_tokens=40)
        there = model.to(device)(ids.to(device)).log_softmax(-1).cpu()
        written_there = model.generate(ids[:, :8].tolist(), method="greedy", max_new_tokens=40)
    assert torch.allclose(here, there, atol=1e-3)
    assert json.dumps(written) == json.dumps(written_there)
