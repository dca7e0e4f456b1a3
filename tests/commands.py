"""Calls commands in this process, and says how they ended."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["Done", "call", "tree"]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> int:
        """Lines on stderr, without those of progress and without warnings."""
        return len([line for line in self.stderr.splitlines() if line and not line.startswith("warning: ")])


def call(line: str) -> Done:
    """Run a command line such as "ts-data stats splits" through its package's `main`; quiet, so that stderr holds messages alone."""
    words = [*shlex.split(line), "--quiet"]
    module = importlib.import_module(f"{words[0].replace('-', '_')}.cli")
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", words)
        if words[0] == "ts-models":
            patch.setattr("ts_models.cli._ahead.own_process", False)  # the command sets it, for the whole process
        try:
            module.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except Exception as problem:  # the interpreter would print its traceback
            print(f"Traceback\n{type(problem).__name__}: {problem}\n\n", file=err)
            code = 1
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8"))  # type: ignore[attr-defined]
    return Done(code, *texts)


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder with its hash, and every folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
        if not path.name.startswith("judge.sqlite")
    }
