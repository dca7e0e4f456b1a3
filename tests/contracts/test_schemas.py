"""The published JSON Schemas: no drift from the code, formats and versions as the artefacts write them, breaks are noticed."""

import ast
import copy
import importlib
import inspect
import json
import textwrap

import pytest
from pydantic import BaseModel
from tools import schemas


def test_committed_schemas_say_what_the_code_says():
    assert schemas.drift() == []


def test_every_package_publishes_schemas(package):
    assert importlib.import_module(f"{package.module}.schemas").SCHEMAS


def test_type_checkers_see_the_defaults_of_public_settings(package):
    """Without pydantic's plugin they take only `default=` for one: mypy asked each caller of TrainConfig for ten more fields."""
    module = importlib.import_module(package.module)
    public = [kind for kind in (getattr(module, name) for name in module.__all__) if isinstance(kind, type)]
    settings = [kind for kind in public if issubclass(kind, BaseModel)]
    assert settings
    for kind in {base for each in settings for base in each.__mro__ if base.__module__.startswith(package.module)}:
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(kind)))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Field":
                assert not node.args, f"{kind.__qualname__}: {ast.unparse(node)}"


def test_every_schema_describes_its_top_level_fields_or_variants():
    for name, text in schemas.generate().items():
        schema = json.loads(text)
        assert {"properties", "anyOf", "oneOf", "$ref"} & set(schema), name


def test_artefacts_open_with_format_and_version():
    found = 0
    for name, text in schemas.generate().items():
        properties = json.loads(text).get("properties", {})
        if "format" in properties:
            found += 1
            assert "schema_version" in properties, name
            assert properties["format"]["const"].partition("/")[0].startswith("ts-"), name
    assert found >= 5


def test_objects_refuse_unknown_fields():
    for name, text in schemas.generate().items():
        schema = json.loads(text)
        if "properties" in schema:
            assert schema.get("additionalProperties") is False, name


OLD = {"properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"], "type": "string"}}, "required": ["a"]}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s["properties"].pop("a"), "a: removed"),
        (lambda s: s["properties"]["a"].update(type="string"), "a: was integer, is string"),
        (lambda s: s["required"].append("b"), "b: newly required"),
        (lambda s: s["properties"]["b"].update(enum=["x"]), "b: value 'y' no longer allowed"),
    ],
)
def test_a_breaking_change_is_named(change, told):
    new = copy.deepcopy(OLD)
    change(new)
    assert told in schemas.breaking(OLD, new)


def test_an_added_optional_field_is_no_break():
    new = copy.deepcopy(OLD)
    new["properties"]["c"] = {"type": "integer", "default": 0}
    assert schemas.breaking(OLD, new) == []
