"""How Numba compiles the kernels."""

from typing import Any

__all__ = ["ONE"]

ONE: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz", "arcp"}, "error_model": "numpy", "cache": True, "nogil": True}
"""Sums of a row are reordered for the vector unit (`reassoc`), in the same way for every row."""
