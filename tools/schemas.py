"""The JSON Schemas of every artefact and configuration, committed under docs/schemas/, checked for drift and for compatible change.

`python -m tools.schemas` fails where a committed schema differs from what the code says; `--write` renews them. A package lists
its models in `SCHEMAS` of its `schemas` modules: name → anything that pydantic's TypeAdapter takes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools.workspace import ROOT, Package, packages

FOLDER = ROOT / "docs" / "schemas"


def generate() -> dict[str, str]:
    """File name → content, for every schema of every package."""
    from pydantic import TypeAdapter

    out: dict[str, str] = {}
    for package in packages().values():
        for name, model in published(package).items():
            adapter = model if isinstance(model, TypeAdapter) else TypeAdapter(model)
            schema = adapter.json_schema()
            content = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
            out[file_name(package.folder, name)] = json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    return out


def published(package: Package) -> dict[str, Any]:
    """Name → model, of the package's `schemas` module and those of its sub-packages."""
    source = package.path / "src" / package.module
    found: dict[str, Any] = {}
    for path in sorted([source / "schemas.py", source / "schemas" / "__init__.py", *source.glob("*/schemas.py")]):
        if path.is_file():
            name = ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
            found |= getattr(importlib.import_module(f"{package.module}.{name}"), "SCHEMAS", {})
    return found


def file_name(folder: str, name: str) -> str:
    """`ts-data/manifest` → `ts-data-manifest.json`; a bare name gets its package in front."""
    flat = name.replace("/", "-").replace(".", "-")
    return f"{flat if flat.startswith(folder) else f'{folder}-{flat}'}.json"


def drift(folder: Path = FOLDER) -> list[str]:
    """One sentence per schema that is missing, stale or left over."""
    wanted = generate()
    present = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.json"))}
    problems = [f"{name}: missing" for name in wanted if name not in present]
    problems += [f"{name}: differs from the code" for name in wanted if name in present and present[name] != wanted[name]]
    return problems + [f"{name}: no package has it any more" for name in present if name not in wanted]


def breaking(old: dict[str, Any], new: dict[str, Any], where: str = "") -> list[str]:
    """What a reader of the old schema's files would trip over: a field gone, newly required, or of another type.

    Only a change of `schema_version` allows that, with a migration; a field that is added with a default is no break.
    """
    problems: list[str] = []
    if "properties" in old:
        fields, now = old["properties"], new.get("properties", {})
        problems += [f"{where}{name}: removed" for name in fields if name not in now]
        required = set(new.get("required", ())) - set(old.get("required", ()))
        problems += [f"{where}{name}: newly required" for name in sorted(required)]
        for name in fields:
            if name in now:
                problems += breaking(fields[name], now[name], f"{where}{name}.")
    elif old.get("type") is not None and new.get("type") is not None and old["type"] != new["type"]:
        problems.append(f"{where[:-1]}: was {old['type']}, is {new['type']}")
    if "enum" in old and "enum" in new:
        problems += [f"{where[:-1]}: value {value!r} no longer allowed" for value in old["enum"] if value not in new["enum"]]
    for name, definition in old.get("$defs", {}).items():
        if name in new.get("$defs", {}):
            problems += breaking(definition, new["$defs"][name], f"{where}{name}.")
    return problems


def version_of(schema: dict[str, Any]) -> object:
    field = schema.get("properties", {}).get("schema_version", {})
    return field.get("default", field.get("const"))


def incompatible_since(tag: str, folder: str) -> list[str]:
    """Breaking changes of one package's schemas since a tag, apart from artefacts whose schema_version has risen."""
    problems: list[str] = []
    for path in sorted(FOLDER.glob(f"{folder}-*.json")):
        name = path.relative_to(ROOT).as_posix()
        before = subprocess.run(["git", "show", f"{tag}:{name}"], cwd=ROOT, capture_output=True, text=True, check=False)
        if before.returncode == 0:
            old, new = json.loads(before.stdout), json.loads(path.read_text(encoding="utf-8"))
            if version_of(old) == version_of(new):
                problems += [f"{path.name}: {problem}" for problem in breaking(old, new)]
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew the committed schemas")
    if parser.parse_args().write:
        FOLDER.mkdir(parents=True, exist_ok=True)
        wanted = generate()
        for path in FOLDER.glob("*.json"):
            if path.name not in wanted:
                path.unlink()
        for name, content in wanted.items():
            (FOLDER / name).write_text(content, encoding="utf-8")
        print(f"{len(wanted)} schemas in {FOLDER.relative_to(ROOT)}")
        return
    problems = drift()
    if problems:
        sys.exit("\n".join([*problems, "Renew them: nox -s contracts -- --write"]))
    print("JSON Schemas: no drift")


if __name__ == "__main__":
    main()
