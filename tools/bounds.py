"""The bounds that siblings set each other, widened where a release leaves them: `ts-data>=0.1,<0.2` → `ts-data>=0.1,<0.3`.

Only upper bounds move, and only as text in `pyproject.toml`; a lower bound is a statement about code, which its tests hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.workspace import Package, packages

UPPER = re.compile(r"<(?!=)\s*[\w.]+")


def next_break(version: str) -> str:
    """The first version that may break: `0.2.1` → `0.3`, `1.4.0` → `2`."""
    major, minor, *_ = [*Version(version).release, 0]
    return str(major + 1) if major else f"0.{minor + 1}"


def kept_out(package: Package, version: str) -> Iterator[tuple[Package, str]]:
    """Each sibling's declaration of `package`, as it is written, that does not admit `version`."""
    for other in packages().values():
        project = other.pyproject["project"]
        extras = project.get("optional-dependencies", {})
        for line in [*project.get("dependencies", ()), *(line for extra in extras.values() for line in extra)]:
            requirement = Requirement(line)
            ours = canonicalize_name(requirement.name) == canonicalize_name(package.distribution)
            if ours and not requirement.specifier.contains(version):
                yield other, line


def widened(line: str, version: str) -> str:
    """The declaration with its upper bound behind `version`; ValueError where it is not the upper bound that keeps it out."""
    new = UPPER.sub(f"<{next_break(version)}", line)
    if not Requirement(new).specifier.contains(version):
        raise ValueError(f"{line}: no upper bound to raise keeps {version} out")
    return new


def widen(package: Package, version: str) -> list[tuple[Package, str]]:
    """Raise the bounds that keep `version` out, with a change note in each sibling; the siblings and their new lines."""
    done = [(other, line, widened(line, version)) for other, line in kept_out(package, version)]
    for other, old, new in done:
        declared = other.path / "pyproject.toml"
        declared.write_text(declared.read_text(encoding="utf-8").replace(f'"{old}"', f'"{new}"'), encoding="utf-8")
        fragment = note(other, package, version)
        fragment.parent.mkdir(exist_ok=True)  # git keeps no empty folder, and a release empties it
        fragment.write_text(f"Works with {package.distribution} {short(version)}.\n", encoding="utf-8")
    return [(other, new) for other, _, new in done]


def note(other: Package, package: Package, version: str) -> Path:
    """Where the sibling's change note stands: an `added`, for a `changed` would announce a break of its own."""
    return other.path / "changes" / f"+{package.folder}-{short(version).replace('.', '-')}.added.md"


def short(version: str) -> str:
    return version.removesuffix(".0")
