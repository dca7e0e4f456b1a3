"""The reference pages, from the code: the public names of each package with signature and docstring, every command's help, the schemas.

Read with griffe, which does not import what it reads; the commands' help comes from the commands themselves.
"""

from __future__ import annotations

import inspect
import itertools
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import griffe

from tools.workspace import ROOT, Package, packages

WIDTH = 100  # columns of the signatures and of the commands' help


def package_page(package: Package) -> str:
    """One page: what `__all__` of the package names, sorted as there."""
    module = griffe.load(package.module, search_paths=[str(package.path / "src")], resolve_aliases=True)
    if not isinstance(module, griffe.Module):
        raise TypeError(f"{package.module}: not a module")
    lines = [f"# {package.folder}", "", text(module), "", f"Install as `{package.distribution}`, import as `{package.module}`."]
    for name in [str(name) for name in module.exports or ()]:
        if name != "__version__":
            lines += ["", *entry(module[name], name, 2)]
    errors = griffe.load(f"{package.module}.errors", search_paths=[str(package.path / "src")])
    lines += ["", f"## Errors: `{package.module}.errors`", "", "```text", text(errors), "```"]
    return "\n".join(lines) + "\n"


def entry(item: griffe.Object | griffe.Alias, name: str, level: int) -> list[str]:
    """Heading, signature, docstring; for a class also its public attributes and methods."""
    target = item.final_target if isinstance(item, griffe.Alias) else item
    lines = [f"{'#' * level} `{name}`", ""]
    if isinstance(target, griffe.Function):
        lines += ["```python", signature(target, name), "```", ""]
    lines.append(paragraphs(text(target)))
    if isinstance(target, griffe.Class):
        lines += attributes(target)
        for method in target.members.values():
            if isinstance(method, griffe.Function) and not method.name.startswith("_"):
                lines += ["", *entry(method, f"{name}.{method.name}", level + 1)]
    return lines


def attributes(item: griffe.Class) -> list[str]:
    rows = []
    for member in item.members.values():
        if isinstance(member, griffe.Attribute) and not member.name.startswith("_") and member.annotation is not None:
            default = "" if member.value is None else default_of(str(member.value))
            meaning = cell(" ".join(text(member).split()))
            rows.append(f"| `{member.name}` | `{cell(str(member.annotation))}` | {default} | {meaning} |")
    return ["", "| field | type | default | meaning |", "|---|---|---|---|", *rows] if rows else []


def default_of(value: str) -> str:
    """Default and limits; of `Field(0, ge=0)`: `0`, `ge=0`."""
    field = re.fullmatch(r"Field\((?:default=|default_factory=)?(.*?)(?:, )?((?:\b(?:ge|gt|le|lt|min_length)=.*)?)\)", value)
    return ", ".join(f"`{cell(part)}`" for part in (field.groups() if field else [value]) if part)


def cell(content: str) -> str:
    return content.replace("|", "\\|").replace("\n", " ")


def signature(function: griffe.Function, name: str) -> str:
    parameters = [p for p in function.parameters if p.name not in ("self", "cls")]
    parts: list[str] = []
    for parameter in parameters:
        if parameter.kind is griffe.ParameterKind.keyword_only and "*" not in parts:
            parts.append("*")
        star = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(
            parameter.kind or griffe.ParameterKind.positional_or_keyword, ""
        )
        annotation = f": {parameter.annotation}" if parameter.annotation is not None else ""
        default = f" = {parameter.default}" if parameter.default is not None and not star else ""
        parts.append(f"{star}{parameter.name}{annotation}{default}")
    returns = f" -> {function.returns}" if function.returns is not None else ""
    line = f"{name}({', '.join(parts)}){returns}"
    return line if len(line) <= WIDTH else f"{name}(\n    " + ",\n    ".join(parts) + f",\n){returns}"


def text(item: griffe.Object | griffe.Alias) -> str:
    return inspect.cleandoc(item.docstring.value) if item.docstring else ""


def paragraphs(docstring: str) -> str:
    """A docstring as Markdown: indented blocks (trees, examples) stay as they are, in a fence."""
    lines = docstring.splitlines()
    out: list[str] = []
    for block in "\n".join(lines).split("\n\n"):
        plain = not any(line.startswith(("    ", "├", "└", ">>>")) for line in block.splitlines())
        out.append(block if plain else f"```text\n{block}\n```")
    return "\n\n".join(out)


def command_page() -> str:
    """Every command's own help."""
    lines = ["# Commands", "", "Every command takes `--json`, `--quiet` and `--debug`."]
    for package in packages().values():
        overview = helped(package.folder)
        lines += ["", f"## {package.folder}", "", "```text", overview, "```"]
        for verb in verbs(overview):
            lines += ["", f"### {package.folder} {verb}", "", "```text", helped(package.folder, verb), "```"]
    return "\n".join(lines) + "\n"


def verbs(overview: str) -> list[str]:
    lines = overview.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("Commands:")), len(lines))
    under = itertools.takewhile(lambda line: line.strip(), lines[start + 1 :])
    return [line.split()[0] for line in under if line.startswith("  ") and line[2:3] not in (" ", "")]


def helped(*arguments: str) -> str:
    script = Path(sysconfig.get_path("scripts")) / arguments[0]
    environment = {**os.environ, "COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH)}
    done = subprocess.run([str(script), *arguments[1:], "--help"], capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)} --help: {done.stderr}")
    return done.stdout.strip()


def schema_page() -> str:
    """What each published JSON Schema describes."""
    lines = ["# JSON Schemas", "", "Of every artefact and configuration, generated from the code and checked against it.", ""]
    lines += ["| schema | describes |", "|---|---|"]
    for path in sorted((ROOT / "docs" / "schemas").glob("*.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        about = cell(" ".join(str(schema.get("description", schema.get("title", ""))).split()))
        lines.append(f"| [{path.stem}](../schemas/{path.name}) | {about} |")
    return "\n".join(lines) + "\n"
