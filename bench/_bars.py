"""Draws one column of a page's table as horizontal bars, as SVG without dependencies. Rows without a number there are left out.

python bench/_bars.py docs/performance/gpu.md --value tokens/s --label preset --colour way --out docs/performance/gpu.svg
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from xml.sax.saxutils import escape

COLOURS = ("#3b6ea5", "#e08a2e", "#8a8a8a", "#4f9d69")
LEFT, BAR, HEIGHT, WIDTH = 300, 340, 22, 720


def rows_of(page: Path, *names: str) -> list[dict[str, str]]:
    """The rows of the page's first table that has all columns `names`."""
    head: list[str] | None = None
    found: list[dict[str, str]] = []
    for line in page.read_text(encoding="utf-8").splitlines():
        fields = [field.strip().replace("`", "") for field in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if head is None:
            head = fields if set(names) <= set(fields) else None
        elif not fields:
            break
        elif set(fields[0]) - set("-: "):
            found.append(dict(zip(head, fields, strict=True)))
    if not found:
        raise SystemExit(f"{page}: no table has the columns {', '.join(names)}")
    return found


def bars(rows: list[dict[str, str]], *, label: str, value: str, colour: str | None) -> str:
    """The picture: a bar and a number for each row, below a legend of the groups in column `colour`."""
    rows = [row for row in rows if row[value][:1].isdigit()]
    numbers = [float(row[value].replace(",", "").rstrip(" ×")) for row in rows]
    groups = [value] if colour is None else list(dict.fromkeys(row[colour] for row in rows))
    fills = dict(zip(groups, itertools.cycle(COLOURS)))
    parts = []
    for at, group in enumerate(groups):
        left = 150 * at + (LEFT if len(groups) <= 3 else 8)
        parts.append(f'<rect x="{left}" y="6" width="12" height="12" fill="{fills[group]}"/>')
        parts.append(f'<text x="{left + 18}" y="16">{escape(group)}</text>')
    for at, (row, number) in enumerate(zip(rows, numbers, strict=True)):
        group = value if colour is None else row[colour]
        top, wide = 30 + HEIGHT * at, BAR * number / max(numbers)
        parts.append(f'<text x="{LEFT - 8}" y="{top + 14}" text-anchor="end">{escape(row[label])}</text>')
        parts.append(f'<rect x="{LEFT}" y="{top + 2}" width="{wide:.1f}" height="{HEIGHT - 6}" fill="{fills[group]}"/>')
        parts.append(f'<text x="{LEFT + wide + 6:.1f}" y="{top + 14}">{escape(row[value])}</text>')
    tall = 30 + HEIGHT * len(rows) + 6
    style = 'font-family="sans-serif" font-size="12" fill="#333"'
    box = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {tall}" width="{WIDTH}" height="{tall}"'
    return f'<svg {box} {style}>\n<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("page", type=Path)
    for name in ("value", "label"):
        options.add_argument(f"--{name}", required=True, help="a column's heading")
    options.add_argument("--colour", help="the heading of a column of groups")
    options.add_argument("--out", type=Path, required=True)
    chosen = options.parse_args()
    rows = rows_of(chosen.page, *filter(None, (chosen.value, chosen.label, chosen.colour)))
    chosen.out.write_text(bars(rows, label=chosen.label, value=chosen.value, colour=chosen.colour), encoding="utf-8")


if __name__ == "__main__":
    main()
