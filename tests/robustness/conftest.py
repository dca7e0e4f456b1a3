"""One small artefact of every kind, made once, down the whole line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

SIZES = {"kind": "transformer", "d_model": 8, "n_heads": 2, "n_layers": 1, "d_ff": 12, "max_seq_len": 64}


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with splits/, encoded/, run/, index/, report/ and every other file that one of the packages reads."""
    import ts_data
    import ts_tokenizer
    import ts_train

    folder = tmp_path_factory.mktemp("artefacts")
    (folder / "raw.txt").write_text("\n<|endoftext|>\n".join(ts_data.sample(120, seed=5)), encoding="utf-8")
    ts_data.prepare(folder / "raw.txt", folder / "splits", ts_data.PrepareConfig(validation=20))
    stories = ts_data.read(folder / "splits", "train")
    for casing in ("lower", "keep"):
        ts_tokenizer.WordTokenizer.train(stories, vocab_size=120, casing=casing).save(folder / f"{casing}.json")
    ts_tokenizer.encode_splits(folder / "splits", folder / "lower.json", folder / "encoded")
    settings = {
        "model": SIZES, "max_steps": 4, "sinks": ["jsonl"], "batch": {"tokens_per_step": 256}, "optimizer": {"name": "adamw"},
        "validation": {"every": 2}, "checkpoint": {"every": 2},
    }  # fmt: skip
    ts_train.train(ts_train.TrainConfig.model_validate(settings), folder / "encoded", folder / "run")
    _evaluation(folder, list(stories))
    return folder


def _evaluation(folder: Path, stories: list[str]) -> None:
    import ts_eval
    from ts_eval.judge import judge_stories
    from ts_eval.schemas import EvalConfig, JudgeConfig

    ts_eval.StoryIndex.cached(folder / "index", stories)
    (folder / "told.jsonl").write_text(
        "".join(json.dumps({"story": s, "model": "m"}) + "\n" for s in stories[:8]), encoding="utf-8"
    )
    config = JudgeConfig(backend="fake", anchors=False)
    (folder / "judge.json").write_text(config.model_dump_json(), encoding="utf-8")
    judge_stories(folder / "told.jsonl", config, out=folder / "ratings.jsonl", store=folder / "judge.sqlite")
    for path in folder.glob("judge.sqlite-*"):
        path.unlink()
    settings = EvalConfig(parts=("perplexity",), resamples=100)
    ts_eval.evaluate(folder / "run" / "model", folder / "splits", settings, out=folder / "report")
    shutil.copy(Path(ts_eval.__file__).parent / "judge" / "prompts" / "brief.toml", folder / "prompt.toml")
