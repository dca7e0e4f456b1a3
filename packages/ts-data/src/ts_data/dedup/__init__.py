"""Exact and near-duplicates, and hashes by which corpora compare."""
