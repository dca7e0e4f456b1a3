"""The version of tinystories-eval: the one place it is written."""

__version__ = "0.1.0"
