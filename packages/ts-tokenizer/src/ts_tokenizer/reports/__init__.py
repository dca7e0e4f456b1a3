"""What `check`, `stats`, `coverage` and `compare` report, one module each: frozen dataclasses, no printing, no files."""
