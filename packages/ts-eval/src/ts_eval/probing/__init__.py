"""Minimal pairs: whether a model finds the right sentence of two more likely, by phenomenon."""
