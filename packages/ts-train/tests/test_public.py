from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

import ts_train
from ts_train import TrainConfig, recipe, recipe_names, schemas
from ts_train.errors import ConfigError
from ts_train.recipes import combine, over_recipe
from ts_train.registry import SINKS
from ts_train.sinks import make_sink
from ts_train.studies import schemas as study_schemas


def test_every_name_resolves_twice_alike() -> None:
    assert ts_train.__all__
    for name in ts_train.__all__:
        assert getattr(ts_train, name) is getattr(ts_train, name)
    with pytest.raises(AttributeError):
        _ = ts_train.nothing


def test_import_and_schemas_load_no_torch() -> None:
    code = "import sys, ts_train, ts_train.schemas, ts_train.errors, ts_train.cli; print(sorted({'torch', 'matplotlib', 'spacy', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sinks_table_equals_files_and_unknown_ones_are_named() -> None:
    folder = Path(ts_train.__file__).parent / "sinks"
    assert sorted(SINKS) == sorted(p.stem for p in folder.glob("[a-z]*.py")) != []
    with pytest.raises(ConfigError, match="no sink is named 'smoke'"):
        make_sink("smoke")


def test_a_recipe_for_every_preset_of_the_zoo() -> None:
    from ts_models.presets import PRESETS

    assert {name.removesuffix("-instruct") for name in recipe_names()} == set(PRESETS) != set()
    for name in recipe_names():
        assert TrainConfig.model_validate(recipe(name)).preset == name.removesuffix("-instruct")


def test_a_variant_is_its_presets_recipe_with_changes() -> None:
    base, variant = recipe("story-5m", device="cuda"), recipe("story-5m-instruct", device="cuda")
    assert variant == {**base, "model": {"max_seq_len": 512}, "asked_weight": 10.0}
    over = over_recipe(
        "story-5m-instruct", {"preset": "story-5m-instruct", "device": "cpu", "seed": 7, "model": {"dropout": 0.1}}
    )
    assert TrainConfig.model_validate(over).preset == "story-5m"
    assert (over["seed"], over["model"]) == (7, {"max_seq_len": 512, "dropout": 0.1})


@pytest.mark.parametrize(
    ("name", "lr", "step_size", "gamma"),
    [
        ("talk-1m", 0.004902, 5_000, 0.7997), ("talk-5m", 0.0013, 12_500, 0.5551), ("talk-5m-laptop", 0.0018, 12_500, 0.5551),
        ("talk-10m", 0.0009, 12_000, 0.5), ("talk-15m", 0.0012, 12_000, 0.5), ("talk-35m", 0.00065, 11_500, 0.555),
        ("talk-5m-rnn", 0.0006, 2_500, 0.75), ("talk-5m-lstm", 0.0011, 2_500, 0.78), ("talk-5m-gru", 0.0011, 2_500, 0.78),
    ],
)  # fmt: skip
def test_the_talks_hyperparameters(name: str, lr: float, step_size: int, gamma: float) -> None:
    config = TrainConfig.model_validate(recipe(name))
    assert (config.optimizer.name, config.optimizer.lr) == ("adamw", lr)
    assert config.schedule.model_dump(exclude={"warmup_steps"}) == {"name": "step", "step_size": step_size, "gamma": gamma}
    assert (config.batch.batch_size, config.epochs, config.model) == (64, 2.0, {})


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'talk-35m'"):
        recipe("talk-35")


def test_combine_replaces_a_table_of_another_name_and_the_other_batch_size() -> None:
    base = recipe("story-1m")
    other = combine(base, {"optimizer": {"name": "adamw"}, "schedule": {"min_factor": 0.1}, "batch": {"batch_size": 8}})
    config = TrainConfig.model_validate(other)
    assert config.optimizer.name == "adamw"
    assert config.schedule.name == base["schedule"]["name"]
    assert config.schedule.model_dump() == {**base["schedule"], "min_factor": 0.1}
    assert (config.batch.batch_size, config.batch.tokens_per_step) == (8, None)


def test_schemas_are_frozen_and_refuse_unknown_fields() -> None:
    studies = {"ablation", "ablation-report", "cell", "ladder", "ladder-report", "search", "search-report"}
    assert set(schemas.SCHEMAS | study_schemas.SCHEMAS) == {
        f"ts-train/{name}" for name in {"config", "preference", "run", "state"} | studies
    }
    with pytest.raises(ValidationError):
        TrainConfig.model_validate({"learning_rate": 1})
    with pytest.raises(ValidationError):
        TrainConfig().seed = 2  # type: ignore[misc]


def test_a_table_without_a_name_changes_the_default() -> None:
    """The message was "unable to extract tag using discriminator 'name'"."""
    changed = TrainConfig.model_validate({"optimizer": {"lr": 0.03}, "schedule": {"warmup_steps": 7}})
    assert changed.optimizer == schemas.MuonConfig(lr=0.03)
    assert changed.schedule == schemas.LinearConfig(warmup_steps=7)
    assert type(changed.optimizer) is type(TrainConfig().optimizer)
    assert type(changed.schedule) is type(TrainConfig().schedule)
    with pytest.raises(ValidationError, match="lrr"):
        TrainConfig.model_validate({"optimizer": {"lrr": 0.03}})
