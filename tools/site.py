"""Prepare the documentation site: a staging folder with docs/, the generated reference, and a configuration with the navigation.

`python -m tools.site` writes build/docs/; zensical then builds build/docs/site/ from it. A page that is put under docs/ appears by itself.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from tools.reference import command_page, package_page, schema_page
from tools.workspace import ROOT, packages

STAGE = ROOT / "build" / "docs"
# Title, and what stands under it: a page, or a folder.
ORDER = (
    ("Home", "index.md"),
    ("Tutorial", "tutorial.md"),
    ("How to", "how-to"),
    ("Reference", "reference"),
    ("Explanation", "explanation"),
    ("Performance", "performance"),
    ("Comparison with the talk", "reproduction.md"),
    ("Cost at scale", "cost-at-scale.md"),
    ("Releases", "releases.md"),
)

CONFIGURATION = """[project]
site_name = "Small stories, small models"
site_description = "Five Python packages from raw stories to a small language model that tells new ones."
docs_dir = "docs"
site_dir = "{site}"
use_directory_urls = false
extra_css = ["wrap.css"]
nav = {nav}

[project.theme]
font = false
features = ["content.code.copy", "navigation.footer", "navigation.indexes", "navigation.sections", "navigation.top", "search.highlight"]

[[project.theme.palette]]
media = "(prefers-color-scheme: light)"
scheme = "default"
toggle.icon = "lucide/sun"
toggle.name = "Switch to dark mode"

[[project.theme.palette]]
media = "(prefers-color-scheme: dark)"
scheme = "slate"
toggle.icon = "lucide/moon"
toggle.name = "Switch to light mode"
"""


def title(page: Path) -> str:
    """The first heading of a page."""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            return line[2:].strip().strip("`")
    raise ValueError(f"{page}: has no heading of the first level")


def pages(folder: Path) -> list[Path]:
    """The folder's own index, then its pages in the order in which docs/index.md links them, then the others by name."""
    linked = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    place = {path: linked.find(f"({path.relative_to(folder.parent).as_posix()})") for path in sorted(folder.rglob("*.md"))}
    return sorted(place, key=lambda path: (path.name != "index.md", place[path] < 0, place[path]))


def navigation(docs: Path) -> str:
    """The navigation as TOML: everything under `docs`, in the order above; a page that no entry covers is an error."""
    seen: set[Path] = set()
    entries: list[str] = []
    for name, place in ORDER:
        under = pages(docs / place) if (docs / place).is_dir() else [docs / place]
        present = [page for page in under if page.is_file()]
        seen |= set(present)
        if (docs / place).is_dir() and present:
            items = [f"{{ {json.dumps(title(page))} = {json.dumps(page.relative_to(docs).as_posix())} }}" for page in present]
            entries.append(f"{{ {json.dumps(name)} = [{', '.join(items)}] }}")
        elif (docs / place).is_file():
            entries.append(f"{{ {json.dumps(name)} = {json.dumps(place)} }}")
    left = set(docs.rglob("*.md")) - seen
    if left:
        raise ValueError(f"no place in the navigation (tools/site.py, ORDER): {', '.join(sorted(map(str, left)))}")
    return "[\n  " + ",\n  ".join(entries) + ",\n]"


def for_site(text: str) -> str:
    """A page as GitHub shows it, in the words of the site's Markdown: a fence with one word, no backslash before a bar in code."""
    text = re.sub(r"^```python notest$", "```python", text, flags=re.MULTILINE)
    return re.sub(r"`[^`\n]+`", lambda code: code[0].replace("\\|", "|"), text)


def stage(folder: Path = STAGE) -> None:
    """Write the staging folder anew."""
    shutil.rmtree(folder, ignore_errors=True)
    docs = folder / "docs"
    shutil.copytree(ROOT / "docs", docs, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    reference = docs / "reference"
    reference.mkdir(exist_ok=True)
    for package in packages().values():
        (reference / f"{package.folder}.md").write_text(package_page(package), encoding="utf-8")
    (reference / "commands.md").write_text(command_page(), encoding="utf-8")
    (reference / "schemas.md").write_text(schema_page(), encoding="utf-8")
    for page in docs.rglob("*.md"):
        page.write_text(for_site(page.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "zensical.toml").write_text(CONFIGURATION.format(site="site", nav=navigation(docs)), encoding="utf-8")


if __name__ == "__main__":
    stage()
    print(f"{len(list(STAGE.rglob('*.md')))} pages staged in {STAGE.relative_to(ROOT)}")
