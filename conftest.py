"""The order in which test processes take the test files."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process ends with one while the others wait; first of all those that compile."""
    marked = {mark: {item.path for item in items if item.get_closest_marker(mark)} for mark in ("cold", "slow")}
    items.sort(key=lambda item: (item.path not in marked["cold"], item.path not in marked["slow"]))
