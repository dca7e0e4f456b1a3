"""Fixtures of ts_train's tests: one thread, because ten processes of two threads each are slower than ten of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ts_train import TrainConfig
from ts_train.testing import FakeEncoded, fake_encoded

TINY = {
    "kind": "transformer", "d_model": 16, "n_heads": 2, "n_layers": 1, "d_ff": 24, "max_seq_len": 16, "init_std": 0.1, "dropout": 0.1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The measured peak of this machine goes to a cache of the tests' own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def data() -> FakeEncoded:
    return fake_encoded()


@pytest.fixture
def config() -> Callable[..., TrainConfig]:
    """A config of a few tiny steps; keyword arguments replace fields."""

    def make(**changes: Any) -> TrainConfig:
        fields: dict[str, Any] = {
            "model": TINY, "max_steps": 8, "threads": 1, "sinks": ("jsonl",), "precision": "fp32",
            "batch": {"tokens_per_step": 96}, "micro_batch_tokens": 40, "optimizer": {"name": "adamw", "lr": 0.01},
            "validation": {"every": 4}, "checkpoint": {"every": 2},
        }  # fmt: skip
        return TrainConfig.model_validate({**fields, **changes})

    return make


@pytest.fixture
def base() -> dict[str, Any]:
    """The base of a study whose runs take a fraction of a second."""
    return {
        "model": TINY, "max_steps": 4, "threads": 1, "sinks": ["jsonl"], "precision": "fp32", "batch": {"tokens_per_step": 96},
        "micro_batch_tokens": 96, "optimizer": {"name": "adamw", "lr": 0.01}, "validation": {"every": 2, "samples": 0},
        "checkpoint": {"every": 2},
    }  # fmt: skip
