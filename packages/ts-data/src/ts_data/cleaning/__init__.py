"""The cleaning rules, and the cleaner that runs them over one story or over an Arrow batch."""
