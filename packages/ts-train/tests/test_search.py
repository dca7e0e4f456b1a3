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

import ts_train.run as train_module
import ts_train.studies.search as search_module
from ts_train import search
from ts_train.errors import ArtefactError, ConfigError, Interrupted, UnavailableError
from ts_train.studies.schemas import SearchConfig
from ts_train.testing import FakeEncoded, fake_encoded

optuna = pytest.importorskip("optuna", reason="the extra `search` is not installed")
SPACE = {"optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True}, "model.n_layers": {"low": 1, "high": 2}}


@pytest.fixture
def config(base: dict[str, Any]) -> SearchConfig:
    return SearchConfig.model_validate({"base": base, "space": SPACE, "trials": 3, "sampler_seed": 1})


def test_three_trials_then_two_more(config: SearchConfig, data: FakeEncoded, tmp_path: Path) -> None:
    report = search(config, data, tmp_path)
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
