"""`prepare`: raw stories to splits/, in stages that can resume."""

__all__: list[str] = []
