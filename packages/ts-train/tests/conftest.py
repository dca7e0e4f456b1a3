"""Fixtures of ts_train's tests: one thread, because ten processes of two threads each are slower than ten of one."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ts_data.schemas import FileInfo
from ts_models.artefact import sha256_file, write_model
from ts_tokenizer.schemas import EncodedManifest, EncodedSplitInfo
from ts_train import TrainConfig
from ts_train.runtime import hardware
from ts_train.testing import FakeEncoded, fake_encoded

TINY = {
    "kind": "transformer", "d_model": 16, "n_heads": 2, "n_layers": 1, "d_ff": 24, "max_seq_len": 16, "init_std": 0.1, "dropout": 0.1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    """One thread, and what a test draws does not depend on the tests before it."""
    torch.manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="module")
def _machine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Measure the peak of the matrix product once a format, cache it with the tests, and do not wait for the disk: no test loses power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setattr("ts_train.runtime.hardware.peak_flops", _peak)
        patch.setattr("os.fsync", lambda handle: None)
        yield


_peak = functools.cache(hardware.peak_flops)


@pytest.fixture
def data() -> FakeEncoded:
    return fake_encoded()


def plain_config(**changes: Any) -> TrainConfig:
    """A config of a few tiny steps; keyword arguments replace fields."""
    fields: dict[str, Any] = {
        "model": TINY, "max_steps": 8, "threads": 1, "sinks": ("jsonl",), "precision": "fp32",
        "batch": {"tokens_per_step": 96}, "micro_batch_tokens": 40, "optimizer": {"name": "adamw", "lr": 0.01},
        "validation": {"every": 4}, "checkpoint": {"every": 2},
    }  # fmt: skip
    return TrainConfig.model_validate({**fields, **changes})


@pytest.fixture
def config() -> Callable[..., TrainConfig]:
    return plain_config


@pytest.fixture
def base() -> dict[str, Any]:
    """The base of a study whose runs take a fraction of a second."""
    return {
        "model": TINY, "max_steps": 4, "threads": 1, "sinks": ["jsonl"], "precision": "fp32", "batch": {"tokens_per_step": 96},
        "micro_batch_tokens": 96, "optimizer": {"name": "adamw", "lr": 0.01}, "validation": {"every": 2, "samples": 0},
        "checkpoint": {"every": 2},
    }  # fmt: skip


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoded/ folder without a tokenizer, as `ts-tokenizer encode` lays it out."""
    import numpy as np

    folder = tmp_path_factory.mktemp("data") / "encoded"
    folder.mkdir()
    splits: dict[Any, EncodedSplitInfo] = {}
    for name, stem in (("train", "train"), ("validation", "val")):
        split = fake_encoded()[name]
        split.ids.astype("<u2").tofile(folder / f"{stem}.bin")
        np.save(folder / f"{stem}.idx.npy", split.offsets)
        files = [
            FileInfo(name=f, sha256=sha256_file(folder / f), bytes=(folder / f).stat().st_size, rows=rows)
            for f, rows in ((f"{stem}.bin", len(split.ids)), (f"{stem}.idx.npy", len(split.offsets)))
        ]
        splits[name] = EncodedSplitInfo(
            stories=len(split.offsets) - 1, tokens=len(split.ids), unk_tokens=0, utf8_bytes=5 * len(split.ids),
            unk_spelling_bits=0.0, restore_bits=10.0, priced_stories=1, bin=files[0], idx=files[1],
        )  # fmt: skip
    manifest = EncodedManifest(
        tokenizer_sha256="0" * 64, splits_fingerprint="1" * 64, cleaner_hash="2" * 64, vocab_size=32, bos_id=29, eos_id=28,
        unk_id=30, pad_id=31, splits=splits,
    )  # fmt: skip
    write_model(folder / "manifest.json", manifest)
    return folder


def as_ranks(count: int) -> list[dict[str, str]]:
    """The variables that torchrun gives the ranks of a process group, without the launcher's own start."""
    group = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "TORCHELASTIC_RUN_ID": "test"}
    return [{**group, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def one_rank() -> dict[str, str]:
    """The environment of a process group of one rank."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **as_ranks(1)[0]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
