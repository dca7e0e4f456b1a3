"""Text to tokens by spaCy's English rules: pinned as data, rebuilt, and applied to each distinct chunk once."""
