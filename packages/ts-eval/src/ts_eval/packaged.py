"""The data files that lie beside the modules."""

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Any


def packaged_text(folder: str, name: str) -> str:
    """A file beside a module: `packaged_text(__package__, "words.txt")`."""
    return resources.files(folder).joinpath(name).read_text(encoding="utf-8")


@cache
def packaged_toml(folder: str, name: str) -> dict[str, Any]:
    """The content of a TOML file, read once. Callers leave it unchanged."""
    return tomllib.loads(packaged_text(folder, name))


def either(alternatives: Iterable[str], around: str = "{}") -> re.Pattern[str]:
    """One pattern of regular expressions, in place of the braces of `around`; it ignores case."""
    return re.compile(around.replace("{}", "|".join(alternatives)), re.IGNORECASE)
