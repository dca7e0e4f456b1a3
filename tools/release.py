"""The local part of a release: `python -m tools.release ts-models minor [--dry-run]`, and `… --check-tag ts-models-v0.2.0`.

The `first` release of a package has the version that stands in the tree; every other one raises it.

Everything happens in a clone aside; only when all of it held are the commit and the tag taken over. A release that fails, or is
interrupted, leaves the repository as it was. Nothing is published here: the pushed tag starts the release workflow.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import griffe
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.affected import git, tags
from tools.bounds import short, widen
from tools.dist import problems as dist_problems
from tools.schemas import incompatible_since
from tools.surface import removed_since
from tools.workspace import FOLDERS, LOWEST, ROOT, Package, closure, packages, with_extras, workspace_group

PARTS = ("first", "major", "minor", "patch")
MAY_BREAK = ("changed", "removed")  # kinds of change note that announce a break


def stop(message: str) -> NoReturn:
    sys.exit(f"release: {message}")


def run(*command: str, cwd: Path = ROOT) -> None:
    print(f"$ {' '.join(command)}", flush=True)
    if subprocess.run(command, cwd=cwd, check=False).returncode != 0:
        stop(f"`{command[0]} {command[1]}` failed; nothing was changed")


def next_version(version: str, part: str) -> str:
    """`0.1.4`, minor → `0.2.0`."""
    if part == "first":
        return version
    numbers = [*Version(version).release, 0, 0][:3]
    place = ("major", "minor", "patch").index(part)
    return ".".join(str(n) for n in [*numbers[:place], numbers[place] + 1, *[0] * (2 - place)])


def fragments(package: Package) -> list[Path]:
    return sorted(path for path in (package.path / "changes").glob("*.*.md"))


def breaks(package: Package) -> list[str]:
    """What a user of the last release would miss: names, parameters, fields of artefacts. Empty before the first release."""
    released = tags(package.folder)
    if not released:
        print(f"{package.folder}: no release yet, so there is nothing that this one could break")
        return []
    place = [f"packages/{package.folder}/src"]
    old = griffe.load_git(package.module, ref=released[0], repo=ROOT, search_paths=place, resolve_aliases=True)
    new = griffe.load(package.module, search_paths=[str(ROOT / place[0])], resolve_aliases=True)
    found = [change.explain(griffe.ExplanationStyle.ONE_LINE) for change in griffe.find_breaking_changes(old, new)]
    plain = [re.sub(r"\x1b\[\d*m", "", line) for line in found]
    return [*plain, *removed_since(released[0], package), *incompatible_since(released[0], package.folder)]


def check_breaks(package: Package, part: str) -> None:
    found = breaks(package)
    for line in found:
        print(f"break: {line}")
    announced = any(path.name.split(".")[-2] in MAY_BREAK for path in fragments(package))
    allowed = part == "major" or (part == "minor" and Version(package.version).major == 0 and announced)
    if found and not allowed:
        stop(
            f"{len(found)} breaks since {tags(package.folder)[0]}: a {part} release does not allow them without a `changed` or `removed` note"
        )


def widen_bounds(package: Package, version: str) -> list[Package]:
    """Let every sibling that needs this package take the new version; the siblings that had kept it out."""
    try:
        done = widen(package, version)
    except ValueError as problem:
        stop(str(problem))
    for other, line in done:
        print(f"packages/{other.folder}/pyproject.toml: {line}", flush=True)
    return list(dict.fromkeys(other for other, _ in done))


def commit_bounds(package: Package, version: str, siblings: Sequence[Package]) -> None:
    """What `widen_bounds` wrote, in a commit before the release's own."""
    places = [f"packages/{other.folder}/{name}" for other in siblings for name in ("pyproject.toml", "changes")]
    run("git", "add", "--all", *places)
    names = ", ".join(other.folder for other in siblings)
    run("git", "commit", "--quiet", "-m", f"Let {names} take {package.distribution} {short(version)}")
    print(f"their released versions still keep {version} out: release {names} next (patch)", flush=True)


def check_tag(tag: str) -> None:
    """Tag, version and changelog heading must agree."""
    folder, _, version = tag.rpartition("-v")
    package = packages().get(folder)
    if package is None:
        stop(f"{tag}: names none of {', '.join(FOLDERS)}")
    heading = re.search(r"^## (\S+)", (package.path / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    if package.version != version or heading is None or heading.group(1) != version:
        stop(f"{tag}: the version is {package.version}, the changelog begins with {heading.group(1) if heading else 'nothing'}")
    print(f"{tag}: tag, version and changelog agree")


def sibling_wheels(package: Package, dist: Path, *, lowest: bool) -> list[str]:
    """Wheels of the siblings: from the oldest tag that the bounds admit, or (also when there is none) from this tree."""
    wheels: list[str] = []
    bounds = {canonicalize_name(r.name): r.specifier for r in package.requirements(package.test_extras)}
    for folder, extras in closure({package.folder: package.test_extras}).items():
        if folder == package.folder:
            continue
        sibling = packages()[folder]
        bound = bounds.get(canonicalize_name(sibling.distribution))
        admitted = [t for t in reversed(tags(folder)) if bound is None or bound.contains(t.rpartition("-v")[2])]
        source = ROOT / "packages" / folder
        if lowest and admitted:
            source = dist / "source" / folder
            source.mkdir(parents=True)
            archive = subprocess.run(
                ["git", "archive", admitted[0], f"packages/{folder}"], cwd=ROOT, capture_output=True, check=True
            )
            subprocess.run(["tar", "-x", "--strip-components=2", "-C", str(source)], input=archive.stdout, check=True)
        place = dist / ("lowest" if lowest else "newest") / folder
        run("uv", "build", "--quiet", "--wheel", "--out-dir", str(place), str(source))
        wheels.append(with_extras(str(next(place.glob("*.whl"))), extras))
    return wheels


def test_wheel(package: Package, wheel: Path, dist: Path, *, lowest: bool) -> None:
    """The package's tests against its built wheel, with the lowest or the newest of all that it requires."""
    print(f"== tests of {wheel.name} against the {'lowest' if lowest else 'newest'} versions that it allows", flush=True)
    place = dist / ("venv-lowest" if lowest else "venv-newest")
    run("uv", "venv", "--quiet", "--python", sys.executable, str(place))
    install = ["uv", "pip", "install", "--quiet", "--python", str(place)]
    ours = with_extras(str(wheel), package.test_extras)
    held = ["-c", "constraints/lowest.txt", "--resolution", "lowest-direct"] if lowest else ["-c", "constraints/lowest.txt"]
    run(*install, ours, *sibling_wheels(package, dist, lowest=lowest), *held)
    run(*install, *workspace_group("test"), *package.group("test"))
    options = LOWEST if lowest else ()
    run(str(place / "bin" / "python"), "-m", "pytest", "-q", *options, f"packages/{package.folder}/tests")


def release_here(package: Package, part: str) -> None:
    """All steps, in this (cloned) repository: checks, version, changelog, build, tests, commit, tag."""
    version = next_version(package.version, part)
    if part == "first" and tags(package.folder):
        stop(f"{package.folder} has been released before ({tags(package.folder)[0]}); say patch, minor or major")
    if part != "first" and not tags(package.folder):
        stop(
            f"no tag {package.folder}-v… here to compare with: `git fetch --tags` brings those of the releases; "
            f"if there has been none, say first, which releases {package.version}"
        )
    if not fragments(package):
        stop(f"packages/{package.folder}/changes holds no change notes; a release says what it changes")
    check_breaks(package, part)
    siblings = widen_bounds(package, version)
    package.about.write_text(
        package.about.read_text(encoding="utf-8").replace(f'"{package.version}"', f'"{version}"'), encoding="utf-8"
    )
    run(sys.executable, "-m", "tools.sbom", "--write")
    for note in fragments(package):
        if part == "first" and ".added." not in note.name:
            note.unlink()  # nothing was released before that could have been changed or fixed
    run("towncrier", "build", "--yes", "--config", "tools/towncrier.toml", "--dir", f"packages/{package.folder}",
        "--name", package.folder, "--version", version)  # fmt: skip
    dist = Path(tempfile.mkdtemp(prefix="dist-", dir=ROOT.parent))  # beside the clone, and gone with it
    run("uv", "build", "--quiet", "--out-dir", str(dist / "out"), f"packages/{package.folder}")
    if found := dist_problems(package, dist / "out"):
        stop("; ".join(found))
    files = sorted([*(dist / "out").glob("*.whl"), *(dist / "out").glob("*.tar.gz")])
    run("twine", "check", "--strict", *map(str, files))
    wheel = next(path for path in files if path.suffix == ".whl")
    for lowest in (True, False):
        test_wheel(package, wheel, dist, lowest=lowest)
    tag = f"{package.folder}-v{version}"
    if siblings:
        commit_bounds(package, version, siblings)
    run("git", "add", "--all", f"packages/{package.folder}")
    run("git", "commit", "--quiet", "-m", f"Release {package.folder} {version}")
    check_tag(tag)
    run("git", "tag", "-a", tag, "-m", f"{package.folder} {version}")


def release(name: str, part: str, *, dry_run: bool) -> None:
    """Clone aside, release there, take the commit and the tag over."""
    if git("status", "--porcelain"):
        stop("the working tree is not clean; commit or put away what is open")
    for setting in ("user.name", "user.email"):
        if not git("config", "--default", "", "--get", setting):
            stop(f"git does not know who commits: set `git config {setting} …`")
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        clone = Path(folder) / "clone"
        run("git", "clone", "--quiet", str(ROOT), str(clone))
        run("git", "config", "user.name", git("config", "user.name"), cwd=clone)
        run("git", "config", "user.email", git("config", "user.email"), cwd=clone)
        run(sys.executable, "-m", "tools.release", name, part, "--here", cwd=clone)
        if dry_run:
            print("dry run: everything held; nothing was changed")
            return
        run("git", "pull", "--quiet", "--ff-only", "--tags", str(clone), "HEAD")
    print(f"released locally. Now: git push && git push origin {tags(name)[0]}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="nox -s release --", description="The local part of a release.")
    parser.add_argument("package", choices=FOLDERS)
    parser.add_argument("part", choices=PARTS, nargs="?")
    parser.add_argument("--dry-run", action="store_true", help="do everything aside and change nothing")
    parser.add_argument("--check-tag", metavar="TAG", help="only check that tag, version and changelog agree")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.check_tag:
        check_tag(options.check_tag)
    elif options.part is None:
        parser.error("say first, patch, minor or major")
    elif options.here:
        release_here(packages()[options.package], options.part)
    else:
        release(options.package, options.part, dry_run=options.dry_run)


if __name__ == "__main__":
    main()
