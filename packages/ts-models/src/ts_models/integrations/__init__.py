"""Other libraries that run our models: transformers and the lm-evaluation-harness."""
