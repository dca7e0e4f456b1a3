"""Writes an EvalReport as report.json, report.html (self-contained) and stories.jsonl for the judge."""

import json
from pathlib import Path

from ts_data import artefact

from ..checks import StrPath
from ..errors import ArtefactError
from ..schemas import EvalReport
from .page import page as render

__all__ = ["read_report", "render", "write_report"]


def write_report(report: EvalReport, out: StrPath) -> None:
    """Write the three files, each atomically."""
    folder = Path(out)
    artefact.write_model(folder / "report.json", report)
    artefact.write_text(folder / "stories.jsonl", "".join(_lines(report)))
    artefact.write_text(folder / "report.html", render(report))


def read_report(path: StrPath) -> EvalReport:
    """Read a report.json (or the folder that holds it)."""
    file = Path(path)
    file = file / "report.json" if file.is_dir() else file
    return artefact.read_model(file, EvalReport, package="tinystories-eval", error=ArtefactError)


def _lines(report: EvalReport) -> list[str]:
    """One story per line for `ts-eval judge`; `source` is the model's name, or `real`."""
    rows = [(model.name, story) for model in report.models for story in model.stories]
    rows += [("real", story) for story in report.real.stories]
    return [
        json.dumps({"source": name, "prompt": story.prompt, "story": story.text}, ensure_ascii=False) + "\n"
        for name, story in rows
    ]
