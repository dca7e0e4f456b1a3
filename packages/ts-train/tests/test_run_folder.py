"""What a run folder holds must fit together; what does not is one sentence, and nothing is lost."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ts_models import artefact
from ts_train import BaseCallback, StepMetrics, TrainConfig, resume, train
from ts_train.checkpoint import CheckpointStore
from ts_train.errors import ArtefactError, ConfigError, DataError, Interrupted, TsTrainError
from ts_train.testing import FakeEncoded, TinyNetwork, fake_encoded

from .test_train import Crash, StopAt, same

Make = Callable[..., TrainConfig]


@pytest.fixture
def cut(tmp_path: Path, data: FakeEncoded, config: Make) -> Path:
    """A run that was interrupted after step 5 of 8; checkpoints of the steps 4 and 5."""
    with pytest.raises(Interrupted):
        train(config(), data, tmp_path / "cut", callbacks=[StopAt(5)])
    return tmp_path / "cut"


def edit(path: Path, **changes: Any) -> None:
    content = json.loads((path / "config.json").read_text())
    for name, value in changes.items():
        table, _, key = name.partition("__")
        if key:
            content[table][key] = value
        else:
            content[table] = value
    (path / "config.json").write_text(json.dumps(content))


def content(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file() and ".ts-lock" not in p.name}


# --- parts of two runs -------------------------------------------------------------------------


@pytest.mark.parametrize("left", ["checkpoints", "model", "metrics.jsonl"])
def test_parts_of_a_run_without_its_config_are_refused(cut: Path, config: Make, left: str) -> None:
    for name in {"checkpoints", "model", "metrics.jsonl", "config.json"} - {left}:
        path = cut / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = content(cut)
    with pytest.raises(ArtefactError, match=rf"holds {left} of a run, but not its config\.json"):
        train(config(), fake_encoded(seed=2), cut)
    assert content(cut) == before


def test_a_file_in_the_place_of_the_checkpoints_stops_before_the_first_step(
    tmp_path: Path, data: FakeEncoded, config: Make
) -> None:
    (tmp_path / "checkpoints").write_text("x")
    with pytest.raises(ArtefactError, match=r"holds checkpoints of a run, but not its config\.json"):
        train(config(max_steps=1), data, tmp_path)


def test_the_config_of_another_run_is_noticed(tmp_path: Path, cut: Path, config: Make) -> None:
    other = fake_encoded(seed=2)
    train(config(), other, tmp_path / "other")
    shutil.copyfile(tmp_path / "other" / "config.json", cut / "config.json")
    for start in (lambda: train(config(), other, cut), lambda: resume(cut, data=other)):
        with pytest.raises(ArtefactError, match="other data than config"):
            start()


def test_the_checkpoints_of_another_run_are_noticed(tmp_path: Path, cut: Path, data: FakeEncoded, config: Make) -> None:
    with pytest.raises(Interrupted):
        train(config(seed=9), data, tmp_path / "other", callbacks=[StopAt(5)])
    shutil.rmtree(cut / "checkpoints")
    shutil.copytree(tmp_path / "other" / "checkpoints", cut / "checkpoints")
    with pytest.raises(ArtefactError, match=r"belongs to another config\.json"):
        resume(cut, data=data)


@pytest.mark.parametrize(
    "changes",
    [{"total_steps": 20}, {"config__seed": 3}, {"config__grad_clip": 5.0}, {"environment__threads": 2}, {"precision": "bf16"}],
)
def test_a_config_edited_by_hand_is_noticed(cut: Path, data: FakeEncoded, changes: dict[str, Any]) -> None:
    edit(cut, **changes)
    with pytest.raises(ArtefactError, match="was changed or exchanged") as caught:
        resume(cut, data=data)
    assert "\n" not in str(caught.value)


def test_another_layout_of_the_same_config_is_no_change(tmp_path: Path, cut: Path, data: FakeEncoded, config: Make) -> None:
    edit(cut)
    resume(cut, data=data)
    train(config(), data, tmp_path / "whole")
    assert same(tmp_path / "whole", cut)


def test_a_missing_or_foreign_model_folder_is_noticed(tmp_path: Path, cut: Path, data: FakeEncoded, config: Make) -> None:
    (cut / "model").rename(tmp_path / "kept")
    with pytest.raises(ArtefactError, match="is missing or incomplete"):
        resume(cut, data=data)
    train(config(), fake_encoded(seed=2), tmp_path / "other")
    shutil.copytree(tmp_path / "other" / "model", cut / "model")
    with pytest.raises(ArtefactError, match="of a run on other data"):
        resume(cut, data=data)


def test_removed_checkpoints_do_not_start_the_training_again(cut: Path, data: FakeEncoded, config: Make) -> None:
    resume(cut, data=data)
    shutil.rmtree(cut / "checkpoints")
    before = content(cut)
    for start in (lambda: resume(cut, data=data), lambda: train(config(), data, cut)):
        with pytest.raises(ArtefactError, match="no checkpoint to resume from"):
            start()
    assert content(cut) == before


# --- damaged checkpoints -----------------------------------------------------------------------


def _empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def _cut_file(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


def _folder_for_file(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def _other_step(folder: Path) -> None:
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, "step": 4}))


def _file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "no state": lambda folder: (folder / "state.json").unlink(), "no tensors": lambda folder: (folder / "tensors.safetensors").unlink(),
    "empty": _empty, "cut state": _cut_file("state.json"), "cut tensors": _cut_file("tensors.safetensors"),
    "folder for state": _folder_for_file("state.json"), "folder for tensors": _folder_for_file("tensors.safetensors"),
    "binary state": lambda folder: _void((folder / "state.json").write_bytes(b"\xff\xfe\x00")), "other step": _other_step,
    "empty object": lambda folder: _void((folder / "state.json").write_text("{}")), "file": _file,
}  # fmt: skip


def _void(_: object) -> None:
    return None


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_newest_checkpoint_is_set_aside_and_the_run_goes_on(
    tmp_path: Path, cut: Path, data: FakeEncoded, config: Make, damage: Callable[[Path], None]
) -> None:
    train(config(), data, tmp_path / "whole")
    newest = cut / "checkpoints" / "step-00000005"
    damage(newest)
    said: list[str] = []
    with pytest.raises(Interrupted):
        resume(cut, data=data, warn=said.append, callbacks=[StopAt(5)])  # writes a checkpoint of step 5 again
    assert (cut / "checkpoints" / "damaged-step-00000005").exists()
    assert len(said) == newest.is_dir() * (damage is not _file)
    assert CheckpointStore(cut / "checkpoints").load()[0].step == 5
    resume(cut, data=data)
    assert same(tmp_path / "whole", cut)


def test_two_damaged_ones_of_one_step_keep_both(cut: Path, data: FakeEncoded) -> None:
    for _ in range(2):
        (cut / "checkpoints" / "step-00000005" / "state.json").unlink()
        with pytest.raises(Interrupted):
            resume(cut, data=data, callbacks=[StopAt(5)])
    names = {p.name for p in (cut / "checkpoints").iterdir()}
    assert {"damaged-step-00000005", "damaged-step-00000005.2"} <= names


def test_where_none_is_whole_nothing_is_moved(cut: Path, data: FakeEncoded) -> None:
    for file in (cut / "checkpoints").rglob("state.json"):
        file.unlink()
    before = content(cut)
    with pytest.raises(ArtefactError, match="no whole checkpoint"):
        resume(cut, data=data)
    assert content(cut) == before


# --- tries that made no step -------------------------------------------------------------------


@pytest.mark.parametrize("sink", ["smoke", "wandb"])
def test_a_sink_that_is_not_there_leaves_the_folder_free(
    tmp_path: Path, data: FakeEncoded, config: Make, monkeypatch: pytest.MonkeyPatch, sink: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match=sink):
        train(config(sinks=("jsonl", sink)), data, out)
    assert content(out) == {}
    train(config(), data, out)


def test_a_try_without_a_step_may_be_begun_anew(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    class Broken(TinyNetwork):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            if self.training and ids.shape[0] > 1:
                raise RuntimeError("shapes do not match")
            return super().forward(ids)

    out = tmp_path / "run"
    with pytest.raises(RuntimeError, match="do not match"):
        train(config(model={}), data, out, model=Broken(width=8))
    said: list[str] = []
    run = train(config(model={}, seed=3), data, out, model=TinyNetwork(), warn=said.append)  # other settings, other shapes
    assert run.state.step == 8
    assert "begins anew" in said[0]
    with pytest.raises(RuntimeError, match="do not match"):
        train(config(model={}), data, tmp_path / "same", model=Broken(width=8))
    assert train(config(model={}), data, tmp_path / "same", model=TinyNetwork()).state.step == 8  # same settings, other shapes


def test_a_try_without_a_step_may_be_begun_on_other_data(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        train(config(checkpoint={"every": 100}, validation={"every": 100}), data, tmp_path / "run", callbacks=[Crash(2)])
    other = fake_encoded(seed=2)
    train(config(), other, tmp_path / "run")
    train(config(), other, tmp_path / "peer")
    assert same(tmp_path / "peer", tmp_path / "run")
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]


def test_a_run_with_a_step_is_not_replaced(cut: Path, data: FakeEncoded, config: Make) -> None:
    before = content(cut)
    with pytest.raises(ConfigError, match=r"other settings \(seed\)"):
        train(config(seed=5), data, cut)
    with pytest.raises(DataError, match="not the data"):
        train(config(), fake_encoded(seed=2), cut)
    assert content(cut) == before


# --- one run at a time -------------------------------------------------------------------------


def _slow(out: Path, config: TrainConfig) -> None:
    torch.set_num_threads(1)

    class Slow(BaseCallback):
        def on_step(self, metrics: StepMetrics) -> None:
            time.sleep(60)

    train(config, fake_encoded(), out, callbacks=[Slow()])


def test_two_processes_on_one_folder_are_one_run_and_one_sentence(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    out = tmp_path / "run"
    process = multiprocessing.get_context("fork").Process(target=_slow, args=(out, config()))
    process.start()
    try:
        deadline = time.monotonic() + 60
        while not (out / "config.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        for start in (
            lambda: train(config(), data, out),
            lambda: resume(out, data=data),
            lambda: train(config(seed=2), data, out),
        ):
            with pytest.raises(ArtefactError, match=r"another process \(\d+\) is writing here"):
                start()
    finally:
        process.kill()
        process.join()
    assert train(config(), data, out).state.step == 8  # the lock of a killed process is free


def test_the_folder_is_free_after_an_error(cut: Path, data: FakeEncoded) -> None:
    with artefact.lock(cut / "config.json"):
        pass
    resume(cut, data=data)


# --- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"config": {"preset": "story-1m"}}, "TrainConfig.model_validate"), ({"config": None}, "NoneType"),
        ({"config": Path("x.toml")}, "TrainConfig was expected"), ({"out": None}, "path of the run folder"),
        ({"callbacks": BaseCallback()}, "list of callbacks"), ({"callbacks": [BaseCallback]}, "the class BaseCallback"),
        ({"callbacks": [print]}, "an instance of a BaseCallback"), ({"callbacks": "abc"}, "list of callbacks"),
        ({"progress": 3}, "`progress` is a int"), ({"warn": "loud"}, "`warn` is a str"), ({"model": nn.Linear}, "instance of the class"),
    ],
)  # fmt: skip
def test_arguments_of_another_kind_are_type_errors(
    tmp_path: Path, data: FakeEncoded, config: Make, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        train(**{"config": config(), "data": data, "out": tmp_path / "run", **arguments})


@pytest.mark.parametrize("data", [None, 3, [], {"train": 1}, "missing"])
def test_data_of_another_kind_are_one_sentence(tmp_path: Path, config: Make, data: Any) -> None:
    with pytest.raises(TsTrainError, match=r"data|no such file") as caught:
        train(config(), data, tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_ids_outside_the_vocabulary_are_named(tmp_path: Path, config: Make) -> None:
    wrong = fake_encoded()
    wrong.vocab_size = 20
    with pytest.raises(DataError, match=r"holds the id 2[0-9]"):
        train(config(), wrong, tmp_path / "run")
