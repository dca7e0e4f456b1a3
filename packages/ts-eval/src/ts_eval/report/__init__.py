"""Writes an EvalReport as report.json, report.html (self-contained) and stories.jsonl for the judge."""

from pathlib import Path

from ts_data import artefact

from ..checks import StrPath
from ..errors import ArtefactError
from ..judge.files import write_lines
from ..schemas import EvalReport
from .page import page as render

__all__ = ["read_report", "render", "write_report"]


def write_report(report: EvalReport, out: StrPath) -> None:
    """Write the three files, each atomically. stories.jsonl is for `ts-eval judge`; `source` is the model's name, or `real`."""
    folder = Path(out)
    artefact.write_model(folder / "report.json", report)
    rows = [(model.name, story) for model in report.models for story in model.stories]
    rows += [("real", story) for story in report.real.stories]
    write_lines(folder / "stories.jsonl", ({"source": name, "prompt": story.prompt, "story": story.text} for name, story in rows))
    artefact.write_text(folder / "report.html", render(report))


def read_report(path: StrPath) -> EvalReport:
    """Read a report.json (or the folder that holds it)."""
    file = Path(path)
    file = file / "report.json" if file.is_dir() else file
    return artefact.read_model(file, EvalReport, package="tinystories-eval", error=ArtefactError)
