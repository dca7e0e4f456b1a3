"""What the workspace's tests share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.workspace import Package, packages  # noqa: E402

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Set, even to nothing: no command leaves the kernels to another process, which would compile them beside the tests.
os.environ.setdefault("TS_MODELS_KERNELS", "")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(params=list(packages()), scope="session")
def package(request: pytest.FixtureRequest) -> Package:
    return packages()[request.param]
