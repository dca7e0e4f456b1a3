from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

import ts_train.checkpoint as checkpoint
from ts_train.checkpoint import CheckpointStore
from ts_train.errors import ArtefactError, DiskFullError
from ts_train.schemas import TrainerState


def save(store: CheckpointStore, step: int, **fields: object) -> None:
    store.save(TrainerState(step=step, **fields), {"model.w": torch.full((3,), float(step))})  # type: ignore[arg-type]


@pytest.fixture(params=[True, False], ids=["background", "foreground"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", keep=2, background=request.param)


def test_what_goes_in_comes_out(store: CheckpointStore) -> None:
    save(store, 5, tokens=70)
    store.wait()
    state, tensors, problems = store.load()
    assert (state.step, state.tokens, problems) == (5, 70, [])
    assert tensors["model.w"].tolist() == [5, 5, 5]


def test_the_copy_is_taken_before_save_returns(store: CheckpointStore) -> None:
    weight = torch.zeros(1000)
    store.save(TrainerState(step=1), {"w": weight})
    weight += 1
    store.wait()
    assert not store.load()[1]["w"].any()


def test_the_newest_and_the_best_are_kept(store: CheckpointStore) -> None:
    for step in range(1, 7):
        save(store, step, best_step=2)
    store.wait()
    assert store.steps() == [2, 5, 6]


@pytest.mark.parametrize("damage", ["cut tensors", "no tensors", "cut state", "no state", "flipped byte"])
def test_a_damaged_one_falls_back_to_the_one_before(store: CheckpointStore, damage: str) -> None:
    save(store, 1)
    save(store, 2)
    store.wait()
    file = store.folder / "step-00000002" / ("state.json" if "state" in damage else "tensors.safetensors")
    content = bytearray(file.read_bytes())
    if "no " in damage:
        file.unlink()
    else:
        content[-1] ^= 1
        file.write_bytes(content if damage == "flipped byte" else content[: len(content) // 2])
    state, _, problems = store.load()
    assert state.step == 1
    assert len(problems) == 1
    assert file.name in problems[0]


def test_none_whole_is_an_error_that_says_so(store: CheckpointStore) -> None:
    with pytest.raises(ArtefactError, match="no whole checkpoint"):
        store.load()


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), r"the disk is full; .*step 1 is whole.*Free.*ts-train resume"),
        (OSError(errno.EFBIG, "File too large"), r"larger than allowed here; .*step 1 is whole.*ulimit -f.*ts-train resume"),
        (SafetensorError("I/O error: File too large (os error 27)"), r"larger than allowed here; .*step 1 is whole"),
    ],
)
def test_a_full_disk_is_one_clear_error_and_the_last_one_stays_whole(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch, problem: Exception, said: str
) -> None:
    save(store, 1)
    store.wait()

    def full(*_: object) -> None:
        raise problem

    monkeypatch.setattr(checkpoint, "save_file", full)

    def save_second() -> None:
        save(store, 2)
        store.wait()

    with pytest.raises(DiskFullError, match=said):
        save_second()
    monkeypatch.undo()
    assert store.steps() == [1]
    assert store.load()[0].step == 1


def test_a_sweep_removes_what_a_kill_left(store: CheckpointStore) -> None:
    save(store, 1)
    store.wait()
    left = store.folder / ".step-00000002.ts-partial"
    left.mkdir()
    (left / "tensors.safetensors").write_bytes(b"half")
    (store.folder / "step-00000001").rename(store.folder / ".step-00000001.ts-old")  # killed between two renames
    store.sweep()
    assert [p.name for p in store.folder.iterdir()] == ["step-00000001"]
    assert store.load()[0].step == 1
