"""Every version of every artefact ever written is still read; a newer one is refused with what to upgrade."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ts_models.artefact import parse_model, read_model
from ts_train.errors import ArtefactError
from ts_train.recipes import combine, recipe
from ts_train.schemas import MIGRATIONS, RunManifest, TrainConfig, TrainerState

GOLDEN = Path(__file__).parent / "golden"
CASES = {"config": TrainConfig, "run": RunManifest, "state": TrainerState}


@pytest.mark.parametrize("name", CASES)
def test_version_2_is_read(name: str) -> None:
    path = GOLDEN / f"{name}-v2.json"
    model = read_model(path, CASES[name], package="tinystories-train", error=ArtefactError)
    assert model.model_dump(mode="json", exclude_unset=True) == json.loads(
        path.read_text()
    )  # fields that came later have defaults


@pytest.mark.parametrize("name", CASES)
def test_version_1_becomes_version_2(name: str) -> None:
    old, new = (
        read_model(
            GOLDEN / f"{name}-v{version}.json", CASES[name], package="tinystories-train",
            migrations=MIGRATIONS[f"ts-train/{name}"], error=ArtefactError,
        )
        for version in (1, 2)
    )  # fmt: skip
    assert old == new


def test_the_old_name_of_the_tokens_of_a_step_is_read_in_settings_and_over_a_recipe() -> None:
    asked = {"batch": {"max_tokens": 2048}}
    assert TrainConfig.model_validate({"schema_version": 1, **asked}).batch.tokens_per_step == 2048
    settings = TrainConfig.model_validate(combine(recipe("story-1m"), asked))
    assert (settings.batch.tokens_per_step, settings.batch.batch_size) == (2048, None)


@pytest.mark.parametrize("name", CASES)
def test_newer_foreign_and_unknown_fields_are_refused(name: str) -> None:
    content = json.loads((GOLDEN / f"{name}-v2.json").read_text())
    for change, message in (
        ({"schema_version": 3}, "Upgrade it: pip install -U tinystories-train"),
        ({"format": "ts-x/y"}, "another kind of file"),
        ({"surprise": 1}, "not a known field"),
    ):
        with pytest.raises(ArtefactError, match=message):
            parse_model({**content, **change}, CASES[name], source="x", package="tinystories-train", error=ArtefactError)
