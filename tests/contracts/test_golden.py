"""A golden file of every version of every published format lies in its package's tests, and the package of today still reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from tools.schemas import published
from tools.workspace import packages

from ts_data.artefact import parse_model


def golden() -> list[Path]:
    return [path for package in packages().values() for path in sorted((package.path / "tests" / "golden").rglob("*.json"))]


def formats() -> Iterator[tuple[str, int, Any]]:
    """Format, present version and model (or union of models) of everything that a package publishes with a format."""
    for package in packages().values():
        for model in published(package).values():
            adapter = model if isinstance(model, TypeAdapter) else TypeAdapter(model)
            schema = adapter.json_schema()
            variants = [schema, *schema.get("$defs", {}).values()] if "oneOf" in schema else [schema]
            fields = next((v["properties"] for v in variants if "format" in v.get("properties", {})), None)
            if fields is not None:
                yield fields["format"]["const"], fields["schema_version"]["default"], model


FORMATS = {name: (version, model) for name, version, model in formats()}


def test_there_are_formats_and_golden_files() -> None:
    assert len(FORMATS) >= 23
    assert len(golden()) >= len(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_every_version_has_its_golden_file(name: str) -> None:
    found = {content["schema_version"] for path in golden() if (content := json.loads(path.read_bytes())).get("format") == name}
    assert found == set(range(1, FORMATS[name][0] + 1)), f"{name}: put a file of each version into the package's tests/golden"


@pytest.mark.parametrize("path", golden(), ids=lambda path: f"{path.parts[-4]}/{path.name}")
def test_it_is_read(path: Path) -> None:
    content = json.loads(path.read_bytes())
    version, model = FORMATS[content["format"]]
    if isinstance(model, TypeAdapter):
        assert model.validate_python(content).schema_version == version
    elif content["schema_version"] == version:
        assert (
            parse_model(content, model, source=str(path), package="this one").model_dump(mode="json", exclude_unset=True)
            == content
        )
