"""The version of ts-data: the one place it is written."""

__version__ = "0.1.0"
