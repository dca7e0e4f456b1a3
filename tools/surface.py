"""The public surface, one line each, committed as docs/public.txt: exported names, commands, arguments and options.

A Python name is public if a package's `__init__` exports it, or one of the sub-packages in `SUBPACKAGES`. Every other module is private,
whatever its name.

`python -m tools.surface` fails where the file differs from the code; `--write` renews it, and the change shows in review. A line that
is gone since the last tag is a break; parameters and types are griffe's to compare (`tools.release`).
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import griffe

from tools.workspace import ROOT, Package, packages

FILE = ROOT / "docs" / "public.txt"
SUBPACKAGES = ("ts_eval.metrics", "ts_models.layers", "ts_models.testing", "ts_train.testing", "ts_eval.testing")


def lines(package: Package) -> Iterator[str]:
    """All that is public in one package."""
    module = griffe.load(package.module, search_paths=[str(package.path / "src")])
    if not isinstance(module, griffe.Module):
        raise TypeError(f"{package.module}: not a module")
    yield from _names(module)
    yield from _commands(package)


def _names(package: griffe.Module) -> Iterator[str]:
    inner = [package[path.partition(".")[2]] for path in SUBPACKAGES if _has(package, path)]
    for module in (package, *inner):
        for name in module.exports or ():
            yield f"{module.path}.{name}"


def _has(package: griffe.Module, path: str) -> bool:
    parent, _, name = path.partition(".")
    return parent == package.path and name in package.modules


def _commands(package: Package) -> Iterator[str]:
    from typer.main import get_command

    root: Any = get_command(importlib.import_module(f"{package.module}.cli").app)
    for verb, command in root.commands.items():
        for parameter in command.params:
            for option in parameter.opts:
                name = option if option.startswith("-") else f"<{option}>"
                yield f"{package.folder} {verb} {name}"


def generate() -> str:
    return "".join(f"{line}\n" for package in packages().values() for line in sorted(set(lines(package))))


def removed_since(tag: str, package: Package) -> list[str]:
    """What the committed list of a tag has of a package and today's has no more."""
    shown = subprocess.run(["git", "show", f"{tag}:docs/public.txt"], cwd=ROOT, capture_output=True, text=True, check=False)
    now = set(FILE.read_text(encoding="utf-8").splitlines())
    ours = (f"{package.module}.", f"{package.folder} ")
    return [f"{line}: gone" for line in shown.stdout.splitlines() if line.startswith(ours) and line not in now]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew docs/public.txt")
    if parser.parse_args().write:
        FILE.write_text(generate(), encoding="utf-8")
    elif not FILE.is_file() or FILE.read_text(encoding="utf-8") != generate():
        sys.exit("docs/public.txt differs from the code. Renew it, and look at what changes: nox -s contracts -- --write")
    else:
        print("public surface: no drift")


if __name__ == "__main__":
    main()
