"""The whole line once: raw stories → splits → vocabulary → ids → a trained model → stories → a report.

`nox -s quickstart` runs it. It only calls the commands that the packages install, and prints each before it runs, so that every
step can be repeated by hand. A stage is skipped when its result is there and was made by the same commands from the same
input; after Ctrl-C, or a kill, the same call goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCRIPTS = Path(sysconfig.get_path("scripts"))
METHODS = ("greedy", "sample", "beam", "beam-sample")
PROMPT = "Once upon a time"
# A story preset; mixed precision as the machine has it, steps by the length of the run, accumulated from pieces of 512 tokens, clipping, a schedule.
TRAIN = ("--preset", "story-1m", "--set", "precision=auto", "--set", "micro_batch_tokens=512", "--set", "grad_clip=1.0")

Command = Sequence[str]


@dataclass(frozen=True)
class Size:
    """How much of everything: the whole takes less than ten minutes on two cores, the shortened form about two."""

    stories: int
    validation: int
    train: tuple[str, ...]
    report: tuple[str, ...]


FULL = Size(20_000, 500, ("--max-minutes", "3", "--checkpoint-every", "100"), ())
FAST = Size(2_000, 60, ("--max-tokens", "150000", "--checkpoint-every", "50"), ("--set", "stories=20"))


@dataclass
class Line:
    """What has been done in a folder. `state.json` holds, per result, a hash of its commands and of all that came before."""

    out: Path
    key: str = ""
    state: dict[str, str] = field(default_factory=dict)

    def stage(self, title: str, result: str, *commands: Command, resume: Callable[[], Command | None] = lambda: None) -> None:
        """Run the commands unless `result` is there and was made by them; half done before, `resume` may give another."""
        self.key = digest([self.key, [list(command) for command in commands]])
        if self.state.get(result) == self.key and (self.out / result).exists():
            print(f"\n== {title}: done before ({result})", flush=True)
            return
        print(f"\n== {title}", flush=True)
        begun = self.state.get(f"begun {result}") == self.key
        self.note(f"begun {result}")
        begin = time.monotonic()
        instead = resume() if begun else None
        for command in [instead] if instead else commands:
            call(command, self.out)
        self.note(result)
        print(f"   {time.monotonic() - begin:.0f} s, {result}", flush=True)

    def note(self, entry: str) -> None:
        self.state[entry] = self.key
        aside = self.out / "state.json.partial"
        aside.write_text(json.dumps(self.state, indent=2), encoding="utf-8")
        aside.replace(self.out / "state.json")

    def recall(self) -> None:
        try:
            self.state = dict(json.loads((self.out / "state.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            self.state = {}


def digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def call(command: Command, folder: Path) -> None:
    """Run one command inside of the output folder. `> FILE` at its end keeps what it prints there."""
    print(f"$ {shlex.join(command).replace(chr(39) + '>' + chr(39), '>')}", flush=True)
    words, target = (command[:-2], folder / command[-1]) if ">" in command else (command, None)
    stdout = subprocess.PIPE if target else None
    done = subprocess.run([str(SCRIPTS / words[0]), *words[1:]], cwd=folder, check=False, stdout=stdout)
    if done.returncode == 130:
        sys.exit(130)
    if done.returncode != 0:
        sys.exit(
            f"quickstart: `{words[0]} {words[1]}` ended with exit code {done.returncode}. The same command goes on from here."
        )
    if target:
        target.write_bytes(done.stdout)


def raw_text(data: Path | None, size: Size, line: Line) -> tuple[str, int]:
    """The file to begin with, and how many validation stories to draw from it."""
    if data is None:
        line.stage("Write the embedded corpus", "raw.txt", sample_command(size.stories))
        return "raw.txt", size.validation
    if not data.is_file():
        sys.exit(f"quickstart: {data}: no such file")
    content = data.read_bytes()
    stories = content.count(b"<|endoftext|>")
    if stories < 100:
        sys.exit(f"quickstart: {data} holds {stories} lines <|endoftext|>; put one after each story, at least 100 are needed")
    line.key = hashlib.sha256(content).hexdigest()
    return str(data.resolve()), max(10, min(500, stories // 20))


def sample_command(stories: int) -> Command:
    return ("ts-data", "sample", "--stories", str(stories), "--seed", "1", "--impurities", "--out", "raw.txt")


def generate_command(method: str) -> Command:
    wanted = ("--method", method, "--n", "3", "--seed", "1", "--json", "--quiet")
    return ("ts-models", "generate", "run/model", "--prompt", PROMPT, *wanted, ">", f"stories/{method}.json")


def resume_command(out: Path) -> Command | None:
    """A training that was interrupted goes on from its last checkpoint, if there is one."""
    return ("ts-train", "resume", "run") if any((out / "run" / "checkpoints").glob("step-*")) else None


def run_line(data: Path | None, size: Size, line: Line) -> None:
    """The stages, one after the other."""
    raw, validation = raw_text(data, size, line)
    prepare = ("ts-data", "prepare", raw, "--out", "splits", "--validation", str(validation))
    line.stage("Clean, remove duplicates, split", "splits/manifest.json", prepare)
    vocabulary = ("ts-tokenizer", "train", "splits", "--out", "word_tokenizer.json", "--vocab-size", "2048")
    line.stage("Learn the vocabulary", "word_tokenizer.json", vocabulary)
    encode = ("ts-tokenizer", "encode", "splits", "--tokenizer", "word_tokenizer.json", "--out", "encoded")
    line.stage("Encode", "encoded/manifest.json", encode)
    train = ("ts-train", "run", "--data", "encoded", "--out", "run", *TRAIN, *size.train)
    line.stage("Train", "run/model/config.json", train, resume=lambda: resume_command(line.out))
    (line.out / "stories").mkdir(exist_ok=True)
    line.stage("Tell stories, with every method", f"stories/{METHODS[-1]}.json", *map(generate_command, METHODS))
    report = ("ts-eval", "report", "run/model", "demo", "--data", "splits", "--out", "report", *size.report)
    line.stage("Evaluate", "report/report.html", report)


def summary(out: Path) -> str:
    """The stories, and the loss beside the n-gram models'."""
    lines = [""]
    for method in METHODS:
        told = json.loads((out / "stories" / f"{method}.json").read_text(encoding="utf-8"))
        lines += [f"{method}: {first_story(told)}", ""]
    report = json.loads((out / "report" / "report.json").read_text(encoding="utf-8"))
    model, baselines = report["models"][0], report["baselines"]
    losses = [(entry["name"], entry["loss"]) for entry in baselines if entry["model"] == model["name"]]
    losses.append(("this model", model["metrics"]["perplexity.test.loss"]["mean"]))
    lines.append("Loss on unseen stories, nats per token (whole stories of the test split):")
    lines += [f"  {name:<32} {loss:6.3f}" for name, loss in losses]
    return "\n".join([*lines, ""])


def first_story(told: dict[str, Any]) -> str:
    story = " ".join((told["stories"][0]["prompt"] + told["stories"][0]["text"]).split())
    return story if len(story) < 400 else f"{story[:400]}…"


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s quickstart --", description="From raw stories to a rated, trained model.")
    parser.add_argument("--data", type=Path, help="your own text, <|endoftext|> after each story (default: an embedded corpus)")
    parser.add_argument("--out", type=Path, default=Path("quickstart-out"), help="the output folder (default: quickstart-out)")
    parser.add_argument("--fast", action="store_true", help="a shortened form, to see that all works; its stories are poor")
    options = parser.parse_args()
    begin = time.monotonic()
    line = Line(options.out.resolve())
    line.out.mkdir(parents=True, exist_ok=True)
    line.recall()
    try:
        run_line(options.data, FAST if options.fast else FULL, line)
    except KeyboardInterrupt:
        sys.exit("\nquickstart: interrupted; the same command goes on from here")
    print(summary(line.out))
    print(f"Done in {(time.monotonic() - begin) / 60:.1f} minutes. The report: {line.out / 'report' / 'report.html'}")


if __name__ == "__main__":
    main()
