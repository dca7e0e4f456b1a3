"""Schemas and the public surface: golden files are read for ever, names resolve, nothing heavy is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

import ts_models
from ts_models.artefact import read_model
from ts_models.errors import ConfigError
from ts_models.presets import PRESETS
from ts_models.schemas import SCHEMAS, GenerationConfig, ModelConfig, PromptFormat, TrainingSummary

GOLDEN = Path(__file__).parent / "golden"
CONFIGS = sorted(GOLDEN.glob("config-v1-*.json"))


def test_golden_files_are_there() -> None:
    assert [path.stem.removeprefix("config-v1-") for path in CONFIGS] == ["story-1m", "talk-1m", "talk-5m-lstm"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_of_version_1_are_read(path: Path) -> None:
    config = TypeAdapter(ModelConfig).validate_python(json.loads(path.read_text()))
    assert config == PRESETS[path.stem.removeprefix("config-v1-")].config


def test_training_of_version_1_is_read() -> None:
    summary = read_model(GOLDEN / "training-v1.json", TrainingSummary, package="ts-models")
    assert (summary.preset, summary.steps, summary.curve[1].validation_loss) == ("story-1m", 100, 2.5)


def test_every_schema_gives_a_json_schema() -> None:
    assert set(SCHEMAS) == {"ts-models/config", "ts-models/generation", "ts-models/training"}
    for schema in SCHEMAS.values():
        described = schema.json_schema() if isinstance(schema, TypeAdapter) else schema.model_json_schema()
        assert described


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"min_new_tokens": 9, "max_new_tokens": 5}, "exceeds max_new_tokens"),
        ({"method": "beam", "num_beams": 2, "num_return_sequences": 3}, "exceeds num_beams"),
        ({"temperature": 0}, "temperature"),
        ({"beams": 3}, "beams"),
    ],
)
def test_generation_settings_that_do_not_hold(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GenerationConfig.model_validate(fields)


def test_public_names_resolve_twice_alike() -> None:
    assert len(ts_models.__all__) > 10
    for name in ts_models.__all__:
        assert getattr(ts_models, name) is getattr(ts_models, name)
    with pytest.raises(AttributeError, match="nothing"):
        _ = ts_models.nothing  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "code", ["import ts_models", "from ts_models import preset, count_parameters; preset('talk-1m')", "import ts_models.cli"]
)
def test_an_import_loads_nothing_heavy(code: str) -> None:
    heavy = "{'torch', 'torchtune', 'transformers', 'spacy', 'numba', 'huggingface_hub', 'safetensors'}"
    check = f"import sys; {code}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_texts_of_prompts_hold_a_value_at_their_braces_and_nothing_else() -> None:
    parts = {"words": "Words {0.__class__} {x} { {}.", "summary": "{:99999999999}"}
    prompts = PromptFormat(parts=parts, features=("dialogue",), end="Story:")
    assert prompts.prompt(["dog", "{}"]) == "Words {0.__class__} {x} { dog, {}. Story:"
    with pytest.raises(ConfigError, match="ask for no features, but for words, summary"):
        prompts.prompt(features=["dialogue"])
