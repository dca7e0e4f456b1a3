"""The tutorial's commands print what the tutorial shows below them: exactly up to the ids, in form where training makes the numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
SHOWN = re.compile(r"^```bash\n(?P<command>[^\n]+)\n```\n\n```text\n(?P<output>.*?)^```", re.MULTILINE | re.DOTALL)
SHORTER = {"--max-minutes 3": "--max-steps 3", "--out report/": "--out report/ --set stories=4 --set 'parts=[\"perplexity\"]'"}
"""What the test runs in place of minutes."""


def matches(shown: str, printed: str, *, exactly: bool) -> bool:
    """Whether the printed text has the shown lines; a line `…` stands for any lines, and without `exactly` any number for any other."""
    lines = [r"(?:.*\n)*?" if line.strip() == "…" else f"{re.escape(line.rstrip())} *\n" for line in shown.splitlines()]
    pattern = "".join(lines)
    if not exactly:
        pattern = re.sub(r"\d(?:[\d,]|\\\.(?=\d))*", r"[\\d,.]+", pattern)
    return re.fullmatch(pattern, printed) is not None


def test_every_command_prints_what_is_shown(tmp_path: Path) -> None:
    pairs = SHOWN.findall(PAGE.read_text(encoding="utf-8"))
    assert len(pairs) == 7
    environment = {**os.environ, "COLUMNS": "80", "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"}
    trained = False
    for command, shown in pairs:
        trained = trained or command.startswith("ts-train")
        for minutes, instead in SHORTER.items():
            command = command.replace(minutes, instead)
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert matches(shown, done.stdout, exactly=not trained), f"{command}\n{done.stdout}"


@pytest.mark.parametrize(
    ("shown", "printed", "exactly", "same"),
    [
        ("a 1\n", "a 1\n", True, True),
        ("a 1\n", "a 2\n", True, False),
        ("a 1,000.5 s\n", "a 2 s\n", False, True),
        ("a 1 s\n", "b 1 s\n", False, False),
        ("a\n…\nz\n", "a\nb\nc\nz\n", True, True),
        ("a\n…\nz\n", "a\nb\n", True, False),
    ],
)
def test_the_comparison_itself(shown: str, printed: str, exactly: bool, same: bool) -> None:
    assert matches(shown, printed, exactly=exactly) is same
