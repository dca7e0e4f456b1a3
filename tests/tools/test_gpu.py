"""What comes back from a borrowed GPU, and that every stage names options that exist."""

from __future__ import annotations

import importlib.util
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tools import demo

import ts_models

SCRIPT = Path(__file__).parents[2] / "bench" / "_gpu.py"
SPEC = importlib.util.spec_from_file_location("_gpu", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
gpu = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(gpu)
STORIES = np.arange(7, dtype=np.uint64)


def trained(folder: Path) -> None:
    lm = ts_models.load(demo.FOLDER)
    words = demo.FOLDER / "word_tokenizer.json"
    ts_models.save(lm.model, folder, tokenizer=words, training=lm.training, train_stories=STORIES)


def test_finished_and_unfinished_runs_come_back_with_their_stories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    monkeypatch.setattr(gpu, "WORK", work)
    trained(work / "cells" / "whole" / "model")
    cell = {"validation_loss": 1.0, "parameters": 1_000_000}
    (work / "cells" / "whole" / "cell.json").write_text(json.dumps(cell), encoding="utf-8")
    trained(work / "demo" / "begun" / "run" / "model")
    (work / "demo" / "nothing yet" / "run").mkdir(parents=True)
    out.mkdir()
    gpu.gather(out)
    with tarfile.open(out / "results.tar.gz") as archive:
        cells = json.loads(archive.extractfile("cells.json").read())  # type: ignore[union-attr]
    assert {name: found["finished"] for name, found in cells.items()} == {"cells/whole": True, "demo/begun": False}
    assert cells["demo/begun"]["validation_loss"] == ts_models.load(demo.FOLDER).training.best_validation_loss  # type: ignore[union-attr]
    pieces = b"".join(piece.read_bytes() for piece in sorted(out.glob("piece-*")))
    with tarfile.open(fileobj=io.BytesIO(pieces)) as archive:
        archive.extractall(tmp_path / "back", filter="data")
    for place in ("cells/whole", "demo/begun"):
        assert np.array_equal(ts_models.read_train_stories(tmp_path / "back" / place / "model"), STORIES)  # type: ignore[arg-type]


def test_a_stage_ends_at_the_limit_and_the_next_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "WORK", tmp_path / "work")
    monkeypatch.setattr(gpu, "GATHER", 0)
    monkeypatch.setattr(gpu, "SHORTEST", 1)
    monkeypatch.setattr(gpu, "command", lambda stage, *_, **__: ["sh", "-c", f"echo {stage}; exec sleep 60"])
    gpu.measure(tmp_path / "out", ["demo", "cells"], None, 1.5, tiny=False)
    with tarfile.open(tmp_path / "out" / "results.tar.gz") as archive:
        assert [name for name in archive.getnames() if name.endswith(".log")] == ["demo.log"]


@pytest.mark.parametrize("stage", [name for name in gpu.STAGES if name != "check"])
def test_a_stage_has_options_that_its_command_knows(stage: str, tmp_path: Path) -> None:
    line = gpu.command(stage, tmp_path, "encoded", tiny=False)
    script = Path(gpu.ROOT, line[1]).read_text(encoding="utf-8")
    assert [option for option in line if option.startswith("--") and f'"{option}"' not in script] == []
