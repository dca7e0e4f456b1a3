"""Searches of tiny networks with Optuna on SQLite: resumed, pruned, shared by two processes, a dead worker's trial queued."""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import ts_train.run as train_module
import ts_train.studies.search as search_module
from ts_train import search
from ts_train.errors import ArtefactError, ConfigError, DiskFullError, Interrupted, UnavailableError
from ts_train.studies.schemas import SearchConfig
from ts_train.testing import FakeEncoded, fake_encoded

optuna = pytest.importorskip("optuna", reason="the extra `search` is not installed")
SPACE = {"optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True}, "model.n_layers": {"low": 1, "high": 2}}


@pytest.fixture
def config(base: dict[str, Any]) -> SearchConfig:
    return SearchConfig.model_validate({"base": base, "space": SPACE, "trials": 3, "sampler_seed": 1})


@pytest.mark.filterwarnings("error::optuna.exceptions.ExperimentalWarning")
def test_three_trials_then_two_more(config: SearchConfig, data: FakeEncoded, tmp_path: Path) -> None:
    config = config.model_copy(update={"base": {**config.base, "epochs": 7}})
    warnings: list[str] = []
    report = search(config, data, tmp_path, warn=warnings.append)
    assert warnings == ["epochs = 7 does nothing: max_steps is the limit."], "once for all trials"
    assert [t.number for t in report.trials] == [0, 1, 2]
    assert {t.state for t in report.trials} == {"complete"}
    assert len({t.params["optimizer.lr"] for t in report.trials}) == 3
    losses = {t.number: t.loss for t in report.trials}
    assert report.best == min(losses, key=lambda n: losses[n] or 0.0)
    assert report.best in report.pareto["flops"]
    cell = json.loads((tmp_path / "trials" / "00000" / "cell.json").read_text())
    assert cell["loss"] == losses[0]
    settings = json.loads((tmp_path / "trials" / "00000" / "run" / "config.json").read_text())["config"]
    assert settings["optimizer"]["lr"] == report.trials[0].params["optimizer.lr"]
    assert settings["model"]["n_layers"] == report.trials[0].params["model.n_layers"]

    more = search(config.model_copy(update={"trials": 5}), data, tmp_path)
    assert more.trials[:3] == report.trials
    assert len(more.trials) == 5
    assert set(more.importance) <= set(SPACE)
    assert sum(more.importance.values()) == pytest.approx(1)
    assert (tmp_path / "pareto.png").stat().st_size > 5000
    assert (tmp_path / "importance.png").stat().st_size > 3000
    assert json.loads((tmp_path / "results.json").read_text()) == more.model_dump(mode="json")


def test_another_space_or_other_data_do_not_mix(config: SearchConfig, data: FakeEncoded, tmp_path: Path) -> None:
    one = config.model_copy(update={"trials": 1})
    search(one, data, tmp_path)
    with pytest.raises(ArtefactError, match="another base, space or data"):
        search(one, fake_encoded(seed=2), tmp_path)


def test_a_worse_trial_is_pruned_at_its_first_validation(base: dict[str, Any], data: FakeEncoded, tmp_path: Path) -> None:
    """Two rates that learn, then one that cannot: the median of the others' losses at step 2 ends it there."""
    config = SearchConfig.model_validate(
        {"base": base, "space": {"optimizer.lr": {"choices": [0.05, 1e-9]}}, "trials": 3, "startup_trials": 2}
    )
    study = optuna.create_study(study_name="search", storage=f"sqlite:///{tmp_path / 'study.db'}", direction="minimize")
    for lr in (0.05, 0.05, 1e-9):
        study.enqueue_trial({"optimizer.lr": lr})
    report = search(config, data, tmp_path)
    assert [t.state for t in report.trials] == ["complete", "complete", "pruned"]
    cell = json.loads((tmp_path / "trials" / "00002" / "cell.json").read_text())
    assert (cell["steps"], cell["stopped"]) == (2, "pruned by the search")
    assert report.best in {0, 1}
    assert 2 not in report.pareto["flops"]


def _search(config: SearchConfig, out: Path, storage: str) -> None:
    search(config, fake_encoded(), out, storage=storage)


def test_two_processes_share_one_storage(config: SearchConfig, tmp_path: Path) -> None:
    config = config.model_copy(update={"trials": 5, "sampler_seed": None})
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        for worker in [pool.submit(_search, config, tmp_path / "out", storage) for _ in range(2)]:
            worker.result(300)
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    assert 5 <= len(report["trials"]) <= 6  # both may begin the last one at once
    assert {t["state"] for t in report["trials"]} <= {"complete", "pruned"}
    folders = sorted(p.name for p in (tmp_path / "out" / "trials").iterdir())
    assert folders == [f"{number:05d}" for number in range(len(folders))]  # no trial was trained twice
    assert len(folders) == len(report["trials"])


def test_an_interrupted_trial_is_queued_and_goes_on_from_its_checkpoint(
    config: SearchConfig, data: FakeEncoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[int] = []
    train = train_module.train

    def interrupted(config: Any, data: Any, out: Path, *, callbacks: Any, **options: Any) -> Any:
        class Kill:
            def on_start(self, run: Any) -> None:
                starts.append(run.start_step)

            def on_step(self, metrics: Any) -> None:
                if len(starts) == 1 and metrics.step == 3:
                    raise Interrupted("stopped", 15)

            def on_validation(self, metrics: Any) -> None: ...

            def on_end(self, state: Any) -> None: ...

        return train(config, data, out, callbacks=[*callbacks, Kill()], **options)

    monkeypatch.setattr(train_module, "train", interrupted)
    one = config.model_copy(update={"trials": 1})
    with pytest.raises(Interrupted):
        search(one, data, tmp_path)
    report = search(one, data, tmp_path)
    assert starts == [0, 2]
    assert [t.state for t in report.trials] == ["complete"]
    assert [p.name for p in (tmp_path / "trials").iterdir()] == ["00000"]


def test_the_trial_of_a_dead_worker_is_queued_with_its_folder(config: SearchConfig, data: FakeEncoded, tmp_path: Path) -> None:
    """A trial that runs without a heartbeat for a minute: what a kill -9 leaves in the storage."""
    storage = search_module._storage(optuna, f"sqlite:///{tmp_path / 'study.db'}")
    study = optuna.create_study(study_name="search", storage=storage, direction="minimize")
    dead = study.ask()
    rate = dead.suggest_float("optimizer.lr", 1e-4, 0.1, log=True)
    dead.suggest_int("model.n_layers", 1, 2)
    storage.record_heartbeat(dead._trial_id)
    with closing(sqlite3.connect(tmp_path / "study.db")) as database:
        database.execute("UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-61 seconds')")
        database.commit()
    report = search(config.model_copy(update={"trials": 1}), data, tmp_path)
    assert [(t.number, t.params["optimizer.lr"]) for t in report.trials] == [(1, rate)]
    assert [p.name for p in (tmp_path / "trials").iterdir()] == ["00000"]


def test_a_misspelt_field_costs_no_training(config: SearchConfig, data: FakeEncoded, tmp_path: Path) -> None:
    for space, message in (
        ({"optimizer.lrr": {"low": 0.1, "high": 0.2}}, "space 'optimizer.lrr' = 0.1.*lrr"),
        ({"seed": {"low": -1, "high": 2}}, "seed"),
    ):
        wrong = SearchConfig.model_validate({**config.model_dump(), "space": space})
        with pytest.raises(ConfigError, match=message):
            search(wrong, data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_optuna_the_extra_is_named(
    config: SearchConfig, data: FakeEncoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UnavailableError, match=r'pip install "tinystories-train\[search\]"'):
        search(config, data, tmp_path)


def test_a_continued_search_proposes_what_an_uninterrupted_one_does(
    config: SearchConfig, data: FakeEncoded, tmp_path: Path
) -> None:
    """With a seed, the sampler of a second call began anew: it tried the first trials again."""
    config = config.model_copy(update={"sampler": "random"})
    for trials in (2, 4):
        parts = search(config.model_copy(update={"trials": trials}), data, tmp_path / "parts")
    whole = search(config.model_copy(update={"trials": 4}), data, tmp_path / "whole")
    assert [t.params for t in parts.trials] == [t.params for t in whole.trials]
    assert len({t.params["optimizer.lr"] for t in parts.trials}) == 4


def test_the_trial_of_a_worker_that_was_just_killed_is_waited_for(
    config: SearchConfig, data: FakeEncoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Called again at once after a kill -9, it ended with one trial less than asked for."""
    monkeypatch.setattr(search_module, "HEARTBEAT", 1)
    storage = search_module._storage(optuna, f"sqlite:///{tmp_path / 'study.db'}")
    dead = optuna.create_study(study_name="search", storage=storage, direction="minimize").ask()
    dead.suggest_float("optimizer.lr", 1e-4, 0.1, log=True)
    dead.suggest_int("model.n_layers", 1, 2)
    storage.record_heartbeat(dead._trial_id)
    warnings: list[str] = []
    report = search(config.model_copy(update={"trials": 1}), data, tmp_path, warn=warnings.append)
    assert [t.number for t in report.trials] == [1]
    assert "to see whether these are alive" in warnings[0]


def test_two_studies_in_one_folder_have_trials_of_their_own(config: SearchConfig, data: FakeEncoded, tmp_path: Path) -> None:
    for name in ("search", "other/one"):
        report = search(config.model_copy(update={"trials": 1}), data, tmp_path, study=name)
        assert [t.number for t in report.trials] == [0]
    folders = sorted(p.name for p in (tmp_path / "trials").iterdir())
    assert len(folders) == 2
    assert folders[0] == "00000"


def test_a_trial_stopped_by_a_full_disk_is_queued_again_without_a_traceback(
    config: SearchConfig, data: FakeEncoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run_trial, seen = search_module.run_trial, []

    def full(name: str, settings: Any, data: Any, folder: Path, **options: Any) -> Any:
        seen.append((folder.name, settings.optimizer.lr))
        if len(seen) == 1:
            raise DiskFullError("the disk is full")
        return run_trial(name, settings, data, folder, **options)

    monkeypatch.setattr(search_module, "run_trial", full)
    one = config.model_copy(update={"trials": 1})
    with pytest.raises(DiskFullError):
        search(one, data, tmp_path)
    assert "Traceback" not in capfd.readouterr().err
    search(one, data, tmp_path)
    assert seen[0] == seen[1]


def test_values_that_do_not_go_together_do_not_end_the_search(base: dict[str, Any], data: FakeEncoded, tmp_path: Path) -> None:
    """Each value is valid beside the first of the other field: d_model 16 with 2 or 4 heads, 12 with 2; 12 with 8 is not."""
    space = {"model.d_model": {"choices": [16, 12]}, "model.n_heads": {"choices": [2, 8]}}
    config = SearchConfig.model_validate(
        {"base": base, "space": space, "trials": 8, "sampler": "random", "sampler_seed": 1, "pruner": "none"}
    )
    warnings: list[str] = []
    report = search(config, data, tmp_path, warn=warnings.append)
    invalid = [t for t in report.trials if t.params == {"model.d_model": 12, "model.n_heads": 8}]
    assert len(report.trials) == 8
    assert invalid
    assert {(t.state, t.loss) for t in invalid} == {("pruned", None)}
    assert {t.state for t in report.trials if t not in invalid} == {"complete"}
    assert any("do not go together" in line for line in warnings)


@pytest.mark.parametrize("url", ["nothing", "redis://host", "mysql://a/b", "sqlite:////no/such/folder/x.db"])
def test_a_storage_that_cannot_be_used(
    config: SearchConfig, data: FakeEncoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr(search_module.time, "sleep", lambda seconds: None)
    with pytest.raises(ConfigError, match="--storage: the database cannot be used"):
        search(config, data, tmp_path, storage=url)


def test_a_database_that_fails_during_the_study(
    config: SearchConfig, data: FakeEncoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drop(name: str, *others: Any, **options: Any) -> Any:
        with closing(sqlite3.connect(tmp_path / "study.db")) as database:
            database.execute("DROP TABLE trial_user_attributes")
        raise DiskFullError("the disk is full")

    monkeypatch.setattr(search_module, "run_trial", drop)
    with pytest.raises(ArtefactError, match=r"the study's database failed \(no such table: trial_user_attributes\)"):
        search(config, data, tmp_path)


def test_a_database_that_cannot_be_written(config: SearchConfig, data: FakeEncoded, tmp_path: Path) -> None:
    url = f"sqlite:///file:{tmp_path / 'study.db'}?mode=ro&uri=true"
    optuna.create_study(study_name="other", storage=f"sqlite:///{tmp_path / 'study.db'}")
    with pytest.raises(ArtefactError, match=r"the study's database failed \(attempt to write a readonly database\)"):
        search(config, data, tmp_path, storage=url)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler_seed": -1}, "sampler_seed"),
        ({"space": {"optimizer": {"choices": ["a", "b"]}, "optimizer.lr": {"low": 0.1, "high": 0.2}}}, "which is a part of it"),
        ({"space": {"model.n_layers": {"low": 1, "high": 4, "step": 0.5}}}, "must be whole"),
        ({"space": {"model.n_layers": {"choices": [1, 1]}}}, "stands twice"),
    ],
)
def test_a_space_that_optuna_cannot_take(config: SearchConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SearchConfig.model_validate({**config.model_dump(), **changes})


def test_a_folder_with_results_of_another_study_is_left_alone(config: SearchConfig, data: FakeEncoded, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"format": "ts-train/ladder-report"}')
    with pytest.raises(ArtefactError, match="is not the result of `search`"):
        search(config, data, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]
