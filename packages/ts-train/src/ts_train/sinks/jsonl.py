"""run/metrics.jsonl: one line per optimizer step and per validation. A resume truncates it to the checkpoint."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from ..callbacks import BaseCallback, RunInfo, StepMetrics, ValidationMetrics
from ..schemas import TrainerState


class JsonlSink(BaseCallback):
    """Writes metrics.jsonl; a number that is not finite becomes null."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None

    def on_start(self, run: RunInfo) -> None:
        path = run.path / "metrics.jsonl"
        cut_back(path, run.start_step)
        self._file = path.open("a", buffering=1, encoding="utf-8", newline="\n")  # a kill loses no line

    def on_step(self, metrics: StepMetrics) -> None:
        self._write({"kind": "step", **asdict(metrics)})

    def on_validation(self, metrics: ValidationMetrics) -> None:
        self._write({"kind": "validation", **metrics.point.model_dump(), "best": metrics.best, "samples": metrics.samples})

    def on_end(self, state: TrainerState) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, row: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(_line(row))


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a metrics.jsonl, without an incomplete last line."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                yield row


def cut_back(path: Path, step: int) -> None:
    """Drop the rows after `step` and an incomplete last line."""
    if not path.exists():
        return
    kept = [row for row in read_metrics(path) if row["step"] <= step]
    aside = path.with_name(f".{path.name}.partial")
    aside.write_bytes("".join(map(_line, kept)).encode())
    os.replace(aside, path)


def _line(row: dict[str, Any]) -> str:
    """One line of JSON, which has no NaN and no infinity: they become null."""
    plain = {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}
    return json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n"
