"""Look into built distributions: what must be in a wheel and an sdist, and what must not. `python -m tools.dist dist/`"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

from tools.sbom import content
from tools.workspace import Package, packages

LARGEST_WHEEL = 6_000_000  # bytes; the demo model of ts-models is nearly all of the 4.9 MB of the largest


def problems(package: Package, dist: Path) -> list[str]:
    """One sentence per thing that is wrong with the wheel or the sdist of a package."""
    stem = f"{package.distribution.replace('-', '_')}-{package.version}"
    wheel, sdist = dist / f"{stem}-py3-none-any.whl", dist / f"{stem}.tar.gz"
    if not (wheel.is_file() and sdist.is_file()):
        return [f"{package.folder}: expected {wheel.name} and {sdist.name} in {dist}"]
    out = wheel_problems(package, wheel)
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = ("README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "tests/conftest.py")
    return [*out, *(f"{sdist.name}: lacks {name}" for name in wanted if name not in names)]


def wheel_problems(package: Package, wheel: Path) -> list[str]:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    out: list[str] = []
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        boms = [archive.read(name).decode("utf-8") for name in names if "/sboms/" in name]
        metadata = HeaderParser().parsestr(
            archive.read(next(n for n in names if n.endswith(".dist-info/METADATA"))).decode("utf-8")
        )
    info = f"{package.distribution.replace('-', '_')}-{package.version}.dist-info/"
    out += [f"{wheel.name}: holds {name}" for name in names if not name.startswith((f"{package.module}/", info))]
    out += [f"{wheel.name}: holds {name}" for name in names if "__pycache__" in name or "/tests/" in name]
    out += [
        f"{wheel.name}: lacks {name}" for name in (f"{package.module}/py.typed", f"{info}licenses/LICENSE") if name not in names
    ]
    sources = package.path / "src"
    present = {path.relative_to(sources).as_posix() for path in sources.rglob("*.py")}
    out += [f"{wheel.name}: lacks {name}" for name in sorted(present - set(names))]
    if boms != [content(package)]:
        out.append(f"{wheel.name}: holds no SBOM of what it declares")
    out += [
        f"{wheel.name}: SBOM: {str(error.data).splitlines()[0]}"
        for bom in boms
        if (error := JsonStrictValidator(SchemaVersion.V1_7).validate_str(bom))
    ]
    if metadata["Requires-Python"] != ">=3.11":
        out.append(f"{wheel.name}: Requires-Python is {metadata['Requires-Python']!r}")
    if not str(metadata.get_payload()).strip():
        out.append(f"{wheel.name}: has no description")
    if wheel.stat().st_size > LARGEST_WHEEL:
        out.append(f"{wheel.name}: {wheel.stat().st_size:,} bytes, at most {LARGEST_WHEEL:,} are allowed")
    return out


def main() -> None:
    dist = Path(sys.argv[1])
    if found := [problem for package in packages().values() for problem in problems(package, dist)]:
        sys.exit("\n".join(found))
    for path in sorted([*dist.glob("*.whl"), *dist.glob("*.tar.gz")]):
        print(f"{path.stat().st_size:>9,}  {path.name}")


if __name__ == "__main__":
    main()
