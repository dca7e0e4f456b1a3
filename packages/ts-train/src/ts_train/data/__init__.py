"""Encoded stories as batches."""
