"""The cleaning rules and the cleaner that runs them."""

__all__: list[str] = []
