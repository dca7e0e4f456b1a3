"""Claim: the full report of a 5M model with 100 prompts takes at most 5 minutes on two cores, judge excluded.

    python bench/eval_report.py [--small] [--data FILE] [--preset story-5m] [--steps 60]

The model is trained for a few steps first (not timed): what a report costs depends on the size of the network and on
how long its stories are, not on how good they are. The report is the command's, in a process of its own, so that imports,
compilation and the indices count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path

import ts_data
import ts_tokenizer
import ts_train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="story-1m, 12 prompts")
    parser.add_argument("--data", type=Path, help="stories, a line <|endoftext|> after each; generated ones without it")
    parser.add_argument("--preset", default="story-5m")
    parser.add_argument("--steps", type=int, default=60)
    chosen = parser.parse_args()
    preset, prompts = ("story-1m", 12) if chosen.small else (chosen.preset, 100)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = chosen.data
        if raw is None:
            raw = folder / "raw.txt"
            raw.write_text("\n<|endoftext|>\n".join(ts_data.sample(2_300, seed=1)), encoding="utf-8")
        ts_data.prepare(raw, folder / "splits", ts_data.PrepareConfig(validation=110))
        tokenizer = ts_tokenizer.WordTokenizer.train(ts_data.read(folder / "splits", "train"))
        ts_tokenizer.encode_splits(folder / "splits", tokenizer, folder / "encoded")
        config = ts_train.TrainConfig.model_validate({**ts_train.recipe(preset), "max_steps": chosen.steps})
        run = ts_train.train(config, folder / "encoded", folder / "run")
        command = ["report", str(run.path / "model"), "--data", str(folder / "splits"), "--out", str(folder / "report")]
        started = time.perf_counter()
        subprocess.run(
            [str(Path(sysconfig.get_path("scripts")) / "ts-eval"), *command, "--set", f"stories={prompts}", "--quiet"], check=True
        )
        seconds = time.perf_counter() - started
        metrics = json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))["models"][0]["metrics"]
        print(f"{preset}, {prompts} prompts a part, {len(metrics)} metrics, report.html: {seconds:.0f} s (bar 300)")


if __name__ == "__main__":
    main()
