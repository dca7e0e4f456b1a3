"""Install each package alone, in a clean environment: seconds, megabytes (torch, where it is needed, is there before), processor time of `import` and of `--help`.

python bench/install.py [--git URL] [--packages ts-data …]

Builds the wheels of this checkout, or takes them from git (`--git file://$PWD`), where every package that is needed must be named.
Needs uv; the downloads are in its cache after the first run, so the seconds are those of a fast network.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools import workspace  # noqa: E402


def requirements(name: str, git: str | None, dist: Path) -> list[str]:
    """What to install for one package: its wheel, with the siblings' beside it, or each of them from git."""
    package = workspace.packages()[name]
    if git is None:
        return ["--find-links", str(dist), package.distribution]
    return workspace.git_requirements(name, git)


def processor_seconds(*command: str) -> float:
    """What a process takes, start of the interpreter included: other work on the machine changes it little."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def fastest(*command: str, times: int = 3) -> float:
    """The least of several calls; the first also compiles the modules."""
    return min(processor_seconds(*command) for _ in range(times))


def megabytes(place: Path) -> float:
    """Size of an environment's packages."""
    packages = next(place.glob("lib/python*/site-packages"), place / "Lib" / "site-packages")
    return sum(file.lstat().st_size for file in packages.rglob("*") if file.is_file()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--git", help="repository to install from, instead of wheels of this checkout")
    parser.add_argument("--packages", nargs="*", default=list(workspace.packages()))
    options = parser.parse_args()
    print("| package | install, s | processor time, s | MB | import, s | `--help`, s |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        dist = Path(work) / "dist"
        if options.git is None:
            for name in workspace.packages():
                subprocess.run(
                    ["uv", "build", "-q", "--wheel", "--out-dir", str(dist), str(ROOT / "packages" / name)], check=True
                )
        for name in options.packages:
            place = Path(work) / name
            subprocess.run(["uv", "venv", "-q", "-p", sys.executable, str(place)], check=True)
            scripts = place / ("Scripts" if os.name == "nt" else "bin")
            install = ["uv", "pip", "install", "-q", "-p", str(scripts / "python"), "-c", str(workspace.CONSTRAINTS)]
            if "ts-models" in workspace.closure({name: ()}):  # torch is there before
                subprocess.run([*install, "torch"], check=True)
            before, start = megabytes(place), time.perf_counter()
            busy = processor_seconds(*install, *requirements(name, options.git, dist))
            seconds = time.perf_counter() - start
            imported = fastest(str(scripts / "python"), "-c", f"import {workspace.packages()[name].module}")
            print(
                f"| `{name}` | {seconds:.1f} | {busy:.1f} | {megabytes(place) - before:,.0f} | {imported:.2f} | "
                f"{fastest(str(scripts / name), '--help'):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
