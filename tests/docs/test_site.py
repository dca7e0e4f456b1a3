"""The navigation holds every page, once; the README shows the two commands as they must be typed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tools import links, reference, site

ROOT = Path(__file__).resolve().parents[2]


def listed(entries: list[dict[str, object]]) -> list[str]:
    out: list[str] = []
    for entry in entries:
        for value in entry.values():
            out += listed(value) if isinstance(value, list) else [str(value)]
    return out


def test_every_page_is_in_the_navigation() -> None:
    docs = ROOT / "docs"
    navigation = tomllib.loads(f"nav = {' '.join(site.navigation(docs).split()).replace(', ]', ' ]')}")["nav"]
    pages = sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))
    assert sorted(listed(navigation)) == pages
    assert len(pages) >= 8


def test_a_page_without_a_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.md").write_text("# Home\n", encoding="utf-8")
    (tmp_path / "stray.md").write_text("# Stray\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"stray\.md"):
        site.navigation(tmp_path)


def test_what_the_site_reads_otherwise_than_github_is_put_right() -> None:
    page = "```python notest\nx = 1\n```\n| `a \\| b` | c \\| d |\n"
    assert site.for_site(page) == "```python\nx = 1\n```\n| `a | b` | c \\| d |\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("256", "`256`"),
        ("Field(0, ge=0)", "`0`, `ge=0`"),
        ("Field(default=(None,), min_length=1)", "`(None,)`, `min_length=1`"),
        ("Field(default_factory=dict)", "`dict`"),
        ("Field(gt=0, lt=1)", "`gt=0, lt=1`"),
    ],
)
def test_the_reference_shows_a_default_and_its_limits(value: str, shown: str) -> None:
    assert reference.default_of(value) == shown


def test_readme_holds_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\npython3 -m venv .venv && . .venv/bin/activate && pip install nox && nox -s quickstart\n" in text
    assert "\nnox -s tests\n" in text


def test_readme_names_every_distribution() -> None:
    from tools.workspace import packages

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for package in packages().values():
        assert f"`{package.distribution}`" in text
        readme = (package.path / "README.md").read_text(encoding="utf-8")
        assert package.distribution in readme


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<h1 id="top">x</h1><a href="#top">a</a><a href="gone.html">b</a><a href="#no">c</a>', encoding="utf-8"
    )
    assert links.site_problems(tmp_path) == ["index.html: #no names no heading there", "index.html: gone.html does not exist"]
    page = tmp_path / "page.md"
    page.write_text(
        "[here](page.md) [gone](gone.md) [host](https://example.org)\n```\n[code](not-a-link.md)\n```\n", encoding="utf-8"
    )
    assert links.markdown_problems(page) == [f"{page}: gone.md does not exist"]


CHARTS = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "`python bench/_bars.py" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", CHARTS, ids=lambda page: page.stem)
def test_a_chart_shows_the_table_of_its_page(page: Path, tmp_path: Path) -> None:
    (command,) = re.findall(r"`python (bench/_bars\.py [^`]+)`", page.read_text(encoding="utf-8"))
    *line, committed = command.split()
    out = tmp_path / "chart.svg"
    subprocess.run([sys.executable, *line, str(out)], cwd=ROOT, check=True)
    assert out.read_text(encoding="utf-8") == (ROOT / committed).read_text(encoding="utf-8")


def test_the_routes_name_modules_that_exist() -> None:
    checked = 0
    text = (ROOT / "docs" / "explanation" / "routes.md").read_text(encoding="utf-8")
    for section in text.split("\n## ")[1:]:
        (home,) = re.findall(r"\b(?:All modules|All modules but the tokenizer) are in `([\w.]+)`", section)
        for cell in re.findall(r"^\| `([\w.]+)", section, re.MULTILINE):
            full = cell if cell.startswith("ts_") else f"{home}.{cell}"
            folder = next(ROOT.glob("packages/*/src")).parents[1] / full.partition(".")[0].replace("_", "-") / "src"
            place = folder / full.replace(".", "/")
            assert place.with_suffix(".py").is_file() or (place / "__init__.py").is_file(), full
            checked += 1
    assert checked >= 40
