"""Whether models give what prompts ask for."""
