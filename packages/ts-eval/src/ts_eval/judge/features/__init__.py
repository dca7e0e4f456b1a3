"""Estimates ratings from text features, without a language model."""
