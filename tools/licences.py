"""The licences of everything that the five packages bring along; one that would bind a user's own code is an error.

`python -m tools.licences FILE` also writes what is installed, our own packages left out, as pins that pip-audit reads.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from importlib import metadata
from pathlib import Path

# Copyleft that reaches further than the library itself. LGPL and MPL do not.
REFUSED = re.compile(r"\bA?GPL|Affero|(?<!Lesser )General Public License", re.IGNORECASE)


def licence(distribution: metadata.Distribution) -> str:
    """The licence expression, else the classifiers (a choice, where there are several), else the licence field's first line."""
    about = distribution.metadata.json
    classifiers = [str(c).rpartition(" :: ")[2] for c in about.get("classifier", ()) if str(c).startswith("License ::")]
    return str(
        about.get("license_expression") or " OR ".join(classifiers) or str(about.get("license", "unknown")).splitlines()[0]
    )


def is_refused(name: str) -> bool:
    """Whether every choice that a licence expression leaves is one of those."""
    return all(REFUSED.search(choice) and "exception" not in choice for choice in name.split(" OR "))


def pins() -> str:
    """`name==version` of all that came from an index, without a build's own mark (`+cpu`), which no advisory knows."""
    found = [d for d in metadata.distributions() if d.read_text("direct_url.json") is None]
    return "".join(sorted(f"{d.metadata['Name']}=={d.version.partition('+')[0]}\n" for d in found))


def main() -> None:
    for file in sys.argv[1:]:
        Path(file).write_text(pins(), encoding="utf-8")
    found: dict[str, list[str]] = defaultdict(list)
    for distribution in metadata.distributions():
        found[licence(distribution)].append(distribution.metadata["Name"])
    for name, owners in sorted(found.items()):
        print(f"{name}: {', '.join(sorted(owners))}")
    refused = [f"{owner}: {name}" for name, owners in found.items() if is_refused(name) for owner in owners]
    if refused:
        sys.exit("\n".join(["licences that would bind a user's own code:", *refused]))


if __name__ == "__main__":
    main()
