"""Print the built files of one package: `python tools/published.py ts-models` (for the release workflow). Standard library only."""

import sys
import tomllib
from pathlib import Path

root = Path(__file__).resolve().parent.parent
project = tomllib.loads((root / "packages" / sys.argv[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
stem = project["name"].replace("-", "_")
print(*sorted(str(path) for path in (root / "dist").glob(f"{stem}-*")))
