"""Other libraries that run our judge: Inspect."""
