"""Which packages a change touches, and which depend on them: `python -m tools.affected [COMMIT]`.

Without a commit, each package is compared with its own last tag (or the first commit, when it was never released).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

from tools.workspace import FOLDERS, ROOT, dependants

# A change here can change the outcome of everybody's tests.
SHARED = ("noxfile.py", "pyproject.toml", "constraints/", "tools/", ".ci/")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def tags(folder: str) -> list[str]:
    """The tags of a package, the newest version first."""
    return git("tag", "--list", f"{folder}-v*", "--sort=-version:refname").splitlines()


def changed_files(since: str) -> list[str]:
    """Files that differ between a commit and the working tree, new ones included."""
    listed = git("diff", "--name-only", since).splitlines()
    return sorted({*listed, *git("ls-files", "--others", "--exclude-standard").splitlines()})


def touched(files: Iterable[str]) -> set[str]:
    """The packages that the files belong to; all, where one is shared by all."""
    out: set[str] = set()
    for name in files:
        if name.startswith(SHARED):
            return set(FOLDERS)
        if name.startswith("packages/"):
            out.add(name.split("/")[1])
    return out


def main() -> None:
    if len(sys.argv) > 1:
        files = changed_files(sys.argv[1])
        direct = touched(files)
    else:
        first = git("rev-list", "--max-parents=0", "HEAD").splitlines()[0]
        direct = {folder for folder in FOLDERS if folder in touched(changed_files((tags(folder) or [first])[0]))}
    everyone = dependants(direct)
    for folder in everyone:
        print(f"{folder}: {'changed' if folder in direct else 'depends on a changed package'}")
    sessions = [f'"tests({folder})"' for folder in everyone]
    print(f"nox -s {' '.join([*sessions, chr(34) + 'tests(workspace)' + chr(34)])}" if sessions else "no package is affected")


if __name__ == "__main__":
    main()
