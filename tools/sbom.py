"""The bill of materials of each wheel (PEP 770): `packages/*/sbom.cdx.json`, which hatchling copies into `.dist-info/sboms/`.

CycloneDX 1.7. A wheel bundles nothing: every component is external, those of extras are optional. `python -m tools.sbom` fails where a
committed file differs from pyproject.toml; `--write` renews it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.workspace import Package, packages


def content(package: Package) -> str:
    """The file's text; a function of pyproject.toml and the version alone, so that two builds are equal."""
    name = canonicalize_name(package.distribution)
    own = {
        "type": "library", "bom-ref": name, "name": name, "version": package.version,
        "licenses": [{"license": {"id": package.pyproject["project"]["license"]}}],
        "purl": f"pkg:pypi/{name}@{package.version}",
    }  # fmt: skip
    extras = package.pyproject["project"].get("optional-dependencies", {}).values()
    optional = [component(Requirement(line), "optional") for lines in extras for line in lines]
    required = [component(requirement, "required") for requirement in package.requirements()]
    parts = {part["name"]: part for part in [*optional, *required] if part["name"] != name}
    bom = {
        "bomFormat": "CycloneDX", "specVersion": "1.7", "version": 1,
        "metadata": {"component": own},
        "components": [parts[part] for part in sorted(parts)],
        "dependencies": [{"ref": name, "dependsOn": sorted(parts)}],
    }  # fmt: skip
    return json.dumps(bom, indent=1) + "\n"


def component(requirement: Requirement, scope: str) -> dict[str, Any]:
    name = canonicalize_name(requirement.name)
    ranges = [str(bound).removeprefix("==") for bound in sorted(requirement.specifier, key=lambda bound: Version(bound.version))]
    return {
        "type": "library", "bom-ref": name, "name": name, "purl": f"pkg:pypi/{name}", "scope": scope,
        "isExternal": True, "versionRange": f"vers:pypi/{'|'.join(ranges) or '*'}",
    }  # fmt: skip


def main() -> None:
    for package in packages().values():
        path, wanted = package.path / "sbom.cdx.json", content(package)
        if "--write" in sys.argv:
            path.write_text(wanted, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != wanted:
            sys.exit(f"{path} is not what pyproject.toml declares: nox -s contracts -- --write")


if __name__ == "__main__":
    main()
