"""The public surface of ts_data."""

from __future__ import annotations

import ast
import doctest
import importlib
import json
import pkgutil
from pathlib import Path

import pytest

import ts_data
from ts_data.schemas import SCHEMAS


def test_every_public_name_resolves_twice_alike() -> None:
    assert len(ts_data.__all__) > 15
    for name in ts_data.__all__:
        assert getattr(ts_data, name) is getattr(ts_data, name)
    with pytest.raises(AttributeError, match="nothing"):
        ts_data.nothing  # noqa: B018


def test_the_stub_lists_what_it_imports() -> None:
    tree = ast.parse(Path(ts_data.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imported = [name.name for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names]
    (listed,) = [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)]
    assert sorted(listed) == sorted(imported)
    assert len(listed) <= 45


MODULES = [
    name for _, name, _ in pkgutil.walk_packages(ts_data.__path__, "ts_data.") if not name.endswith(("ray", "worker", "about__"))
]


@pytest.mark.parametrize("name", MODULES)
def test_modules_say_what_they_hold_and_their_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    assert doctest.testmod(module).failed == 0


def test_schemas_open_with_format_and_version() -> None:
    assert SCHEMAS
    for name, schema in SCHEMAS.items():
        assert list(schema.model_fields)[:2] == ["format", "schema_version"]
        assert schema.model_fields["format"].default == name
        assert schema.model_config["frozen"]
        assert schema.model_config["extra"] == "forbid"
        json.dumps(schema.model_json_schema())
