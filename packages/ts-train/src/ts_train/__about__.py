"""The version of tinystories-train: the one place it is written."""

__version__ = "0.1.0"
