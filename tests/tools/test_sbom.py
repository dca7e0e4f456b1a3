"""The bill of materials names each declared requirement once, with its range; `nox -s build` validates it in the wheel."""

from __future__ import annotations

import json

from tools.sbom import content
from tools.workspace import Package, packages


def test_each_requirement_stands_once_and_a_required_one_wins():
    project = {
        "name": "ts-data",
        "license": "MIT",
        "dependencies": ["torch>=2.6", "Foo_Bar<3,>=2.7"],
        "optional-dependencies": {"all": ["ts-data[fast]", "torch>=2.9"], "fast": ["numba==0.60", "plain"]},
    }
    bom = json.loads(content(Package("ts-data", {"project": project})))
    assert {part["name"]: (part["scope"], part["versionRange"]) for part in bom["components"]} == {
        "torch": ("required", "vers:pypi/>=2.6"),
        "foo-bar": ("required", "vers:pypi/>=2.7|<3"),
        "numba": ("optional", "vers:pypi/0.60"),
        "plain": ("optional", "vers:pypi/*"),
    }
    assert bom["dependencies"] == [{"ref": "ts-data", "dependsOn": ["foo-bar", "numba", "plain", "torch"]}]
    assert bom["metadata"]["component"]["version"] == packages()["ts-data"].version
