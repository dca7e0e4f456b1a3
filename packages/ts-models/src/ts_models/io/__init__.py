"""A model folder: writing, loading, its card, its provenance, its tokenizer."""
