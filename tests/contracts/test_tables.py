"""Folders of options: the table in `__init__`, the files of the folder and the names in the documentation are the same."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

# package, folder, table. Each table is a literal dict (or sequence) of name → "module:object".
TABLES = [
    ("ts-data", "cleaning/rules", "RULES"),
    ("ts-models", "architectures", "ARCHITECTURES"),
    ("ts-train", "optimizers", "OPTIMIZERS"),
    ("ts-train", "sinks", "SINKS"),
    ("ts-eval", "metrics", "METRICS"),
    ("ts-eval", "sections", "SECTIONS"),
    ("ts-eval", "judge/backends", "BACKENDS"),
    ("ts-eval", "judge/guards", "GUARDS"),
]


def table(folder: str, place: str, name: str) -> dict[str, str]:
    module = importlib.import_module(f"{folder.replace('-', '_')}.{place.replace('/', '.')}")
    return {key: getattr(entry, "target", entry) for key, entry in getattr(module, name).items()}


def modules(root: Path, folder: str, place: str) -> set[str]:
    path = root / "packages" / folder / "src" / folder.replace("-", "_") / place
    helpers = {"base", "parse"}  # what the options of a folder share
    return {p.stem for p in [*path.glob("*.py"), *path.glob("*/")] if not p.stem.startswith("_")} - helpers


@pytest.mark.parametrize(("folder", "place", "name"), TABLES)
def test_every_file_is_in_the_table_and_every_entry_has_its_file(root, folder, place, name):
    entries = table(folder, place, name)
    assert entries, f"{folder}/{place}: {name} is empty"
    prefix = f"{folder.replace('-', '_')}.{place.replace('/', '.')}."
    targets = {str(target).partition(":")[0].removeprefix(prefix).lstrip(".").partition(".")[0] for target in entries.values()}
    assert targets == modules(root, folder, place)


@pytest.mark.parametrize(("folder", "place", "name"), TABLES)
def test_every_entry_loads(folder, place, name):
    base = f"{folder.replace('-', '_')}.{place.replace('/', '.')}"
    for target in table(folder, place, name).values():
        module, _, attribute = str(target).partition(":")
        loaded = importlib.import_module(module if module.startswith("ts_") else f"{base}.{module.lstrip('.')}")
        assert hasattr(loaded, attribute or "apply"), target


def test_contributing_names_the_tables(root):
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for folder, place, name in TABLES:
        if name in {"RULES", "ARCHITECTURES", "METRICS", "BACKENDS", "GUARDS"}:
            assert f"{name}" in text
            assert place in text, f"{folder}/{place}"
