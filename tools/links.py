"""Check links: inside a built site (pages and anchors) and, in Markdown files, to files of this repository.

`python -m tools.links site README.md docs packages`: a folder with an index.html is a site; any other folder is searched for
Markdown. Links to other hosts are not followed: the answer would depend on the network.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

MARKDOWN_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


class Page(HTMLParser):
    """The links that a page holds and the anchors that it offers."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := values.get(name))}
        link = values.get("href") if tag in ("a", "link") else values.get("src")
        if link:
            self.links.add(link)


def site_problems(site: Path) -> list[str]:
    """Links of a built site that lead nowhere."""
    parsed = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    problems: list[str] = []
    for path, page in parsed.items():
        if path.name == "404.html":  # its links are absolute, for wherever the site is put
            continue
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("data:"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                problems.append(f"{path.relative_to(site)}: {link} does not exist")
            elif parts.fragment and target in parsed and unquote(parts.fragment) not in parsed[target].anchors:
                problems.append(f"{path.relative_to(site)}: {link} names no heading there")
    return problems


def markdown_problems(path: Path) -> list[str]:
    """Relative links of a Markdown file that lead nowhere."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    problems: list[str] = []
    for link in MARKDOWN_LINK.findall(text):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc or not parts.path:
            continue
        target = path.parent / unquote(parts.path)
        # Pages under docs/reference are generated when the site is built; there the site check covers them.
        if not target.exists() and "reference" not in target.parts:
            problems.append(f"{path}: {link} does not exist")
    return problems


def main() -> None:
    problems: list[str] = []
    for argument in map(Path, sys.argv[1:]):
        if (argument / "index.html").is_file():
            problems += site_problems(argument.resolve())
        else:
            files = [argument] if argument.is_file() else sorted(argument.rglob("*.md"))
            problems += [problem for file in files for problem in markdown_problems(file)]
    if problems:
        sys.exit("\n".join(problems))
    print("links: all lead somewhere")


if __name__ == "__main__":
    main()
