"""The page on which people rate stories blind."""
