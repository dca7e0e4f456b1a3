"""Raw stories: where they are, what kind of file they are in, and how they are read."""
