"""Fixtures of the judge's tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def attacks() -> ModuleType:
    """`attacks.py` beside this file."""
    path = Path(__file__).with_name("attacks.py")
    spec = importlib.util.spec_from_file_location("judge_attacks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real stories beside the checkout; skips without it."""
    for parent in Path(__file__).resolve().parents:
        if (parent / "shared" / "data" / "gpt4o-rated-stories.jsonl").is_file():
            return parent / "shared" / "data"
    pytest.skip("no real stories: shared/data is not beside the checkout")
