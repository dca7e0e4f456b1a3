"""The five packages as their own pyproject.toml files describe them: names, siblings, what to install together.

It reads files and computes lists of arguments; it installs nothing and runs nothing. Standard library and `packaging` only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints" / "dev.txt"
# For pytest with the lowest versions: old thinc refuses the seeds that pytest-randomly draws.
LOWEST = ("-p", "no:randomly")
FOLDERS = ("ts-data", "ts-tokenizer", "ts-models", "ts-train", "ts-eval")  # in the order of the line


@dataclass(frozen=True)
class Package:
    """One package: `folder` is also the console script, `module` the import, `distribution` the name on the index."""

    folder: str
    pyproject: dict[str, Any] = field(repr=False, hash=False, compare=False)

    @property
    def path(self) -> Path:
        return ROOT / "packages" / self.folder

    @property
    def module(self) -> str:
        return self.folder.replace("-", "_")

    @property
    def distribution(self) -> str:
        return str(self.pyproject["project"]["name"])

    @property
    def about(self) -> Path:
        return self.path / "src" / self.module / "__about__.py"

    @property
    def version(self) -> str:
        found = re.search(r'^__version__ = "([^"]+)"$', self.about.read_text(encoding="utf-8"), re.MULTILINE)
        if found is None:
            raise ValueError(f'{self.about}: holds no line `__version__ = "…"`')
        return found.group(1)

    @property
    def scripts(self) -> tuple[str, ...]:
        return tuple(self.pyproject["project"].get("scripts", {}))

    @property
    def test_extras(self) -> tuple[str, ...]:
        return tuple(self.pyproject.get("tool", {}).get("ts", {}).get("test-extras", ()))

    def requirements(self, extras: Iterable[str] = ()) -> list[Requirement]:
        """What the package declares that it needs, with these extras."""
        project = self.pyproject["project"]
        optional = project.get("optional-dependencies", {})
        lines = [*project.get("dependencies", ()), *(line for extra in extras for line in optional[extra])]
        return [Requirement(line) for line in lines]

    def group(self, name: str) -> list[str]:
        """A dependency group (PEP 735), with the groups that it includes."""
        groups = self.pyproject.get("dependency-groups", {})
        return expand_group(groups, name)


def expand_group(groups: Mapping[str, list[Any]], name: str) -> list[str]:
    """The requirements of a dependency group, `include-group` followed."""
    out: list[str] = []
    for entry in groups.get(name, ()):
        out += expand_group(groups, entry["include-group"]) if isinstance(entry, dict) else [entry]
    return out


@cache
def packages() -> dict[str, Package]:
    """Folder name → package, in the order of the line."""
    return {folder: Package(folder, read_toml(ROOT / "packages" / folder / "pyproject.toml")) for folder in FOLDERS}


def read_toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def workspace_group(name: str) -> list[str]:
    """A dependency group of the top-level pyproject.toml."""
    return expand_group(read_toml(ROOT / "pyproject.toml")["dependency-groups"], name)


def by_distribution() -> dict[str, Package]:
    return {canonicalize_name(package.distribution): package for package in packages().values()}


def closure(wanted: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Folder → extras of the packages asked for and of all the siblings that they declare, siblings of siblings included.

    Three of our names belong to strangers on the package index, so an installer must never look for a sibling there:
    every install names this whole closure as paths in one call.
    """
    siblings = by_distribution()
    found: dict[str, set[str]] = {}
    todo = [(folder, set(extras)) for folder, extras in wanted.items()]
    while todo:
        folder, extras = todo.pop()
        if folder in found and extras <= found[folder]:
            continue
        found[folder] = found.get(folder, set()) | extras
        for requirement in packages()[folder].requirements(sorted(found[folder])):
            sibling = siblings.get(canonicalize_name(requirement.name))
            if sibling is not None:
                todo.append((sibling.folder, set(requirement.extras)))
    return {folder: found[folder] for folder in FOLDERS if folder in found}


def with_extras(requirement: str, extras: Iterable[str]) -> str:
    return f"{requirement}[{','.join(sorted(extras))}]" if extras else requirement


def install_arguments(wanted: Mapping[str, Iterable[str]], *, editable: bool = True) -> list[str]:
    """Arguments for one `pip install` call: the closure as paths, and the constraints."""
    arguments: list[str] = []
    for folder, extras in closure(wanted).items():
        path = with_extras(f"./packages/{folder}", extras)
        arguments += ["-e", path] if editable else [path]
    return [*arguments, "-c", CONSTRAINTS.relative_to(ROOT).as_posix()]


def git_requirements(name: str, repository: str) -> list[str]:
    """Requirements that install one package and its siblings from a git repository."""
    needed = {folder: with_extras(packages()[folder].distribution, extras) for folder, extras in closure({name: ()}).items()}
    return [f"{requirement} @ git+{repository}#subdirectory=packages/{folder}" for folder, requirement in needed.items()]


def dependants(folders: Iterable[str]) -> list[str]:
    """These packages and all that declare them, directly or not, extras included, in the order of the line."""
    changed = set(folders)
    every = {
        folder: tuple(package.pyproject["project"].get("optional-dependencies", {})) for folder, package in packages().items()
    }
    return [folder for folder, extras in every.items() if changed & set(closure({folder: extras}))]


def index_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Where pip is told to look, in uv's words: uv reads none of pip's settings.

    Only what the user (or the machine) has set is handed on; what uv has been told already stays.
    """
    out: dict[str, str] = {}
    for ours, theirs in (("UV_FIND_LINKS", "find-links"), ("UV_DEFAULT_INDEX", "index-url")):
        value = environ.get("PIP_" + theirs.upper().replace("-", "_")) or pip_setting(theirs)
        if value and ours not in environ:
            out[ours] = ",".join(value.split())
    if "SSL_CERT_FILE" not in environ and (certificates := environ.get("PIP_CERT")):
        out["SSL_CERT_FILE"] = certificates
    return out


@cache
def pip_setting(name: str) -> str:
    """A value of pip's configuration files, empty where there is none (or no pip)."""
    for section in ("global", "install"):
        got = subprocess.run(
            [sys.executable, "-m", "pip", "config", "get", f"{section}.{name}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if got.returncode == 0:
            return got.stdout.strip()
    return ""
