"""Back end for OpenAI-compatible chat servers."""
