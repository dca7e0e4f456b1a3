"""What the judge's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real stories, next to the checkout; skips where there is none."""
    for parent in Path(__file__).resolve().parents:
        if (parent / "shared" / "data" / "gpt4o-rated-stories.jsonl").is_file():
            return parent / "shared" / "data"
    pytest.skip("no real stories: shared/data is not beside the checkout")
