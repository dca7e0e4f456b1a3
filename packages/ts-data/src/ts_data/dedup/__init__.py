"""Exact and near-duplicates, and hashes by which corpora compare."""

__all__: list[str] = []
