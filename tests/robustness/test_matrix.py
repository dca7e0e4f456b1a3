"""Every command under six conditions: no network, read-only folder, full disk, wrong folder, file for folder, missing package.

Each cell is a command line that meets the condition, or None where the command cannot: it reads no network, writes no file,
takes no folder or needs no package but those that every install has. All cells end with exit code 2 and at most three lines.
Exit codes and lines are those of the table in docs/explanation/when-a-command-fails.md.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.resources
import itertools
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from ..commands import call, tree

CONDITIONS = ("no network", "read-only folder", "full disk", "wrong folder", "file for folder", "missing package")
PACKAGES = ("ts-data", "ts-tokenizer", "ts-models", "ts-train", "ts-eval")
NOWHERE = "http://127.0.0.1:9/v1"
PARTS = "--data splits --set resamples=100"
RUN = "ts-train run --config settings.toml --data encoded"
BEST = "ts-eval best run/model --stories 1 --n 2"
ASKED = "ts-eval instruct run/model --stories 1 --required 0 --set max_new_tokens=4 --data asked"
PROBE = "ts-eval probe run/model --pairs 2 --only names"

# command: no network, read-only folder, full disk, wrong folder, file for folder, missing package (package | line)
CELLS: dict[str, tuple[str | None, ...]] = {
    "ts-data sample": (None, "ts-data sample --stories 9 --out sealed/x.txt", "ts-data sample --stories 9 --out x.txt", "ts-data sample --stories 9 --out splits", "ts-data sample --stories 9 --out raw.txt/x", None),
    "ts-data download": ("ts-data download tinystories-v2 --out raw", "ts-data download tinystories-v2 --out sealed/raw", "ts-data download tinystories-v2 --out raw", "ts-data download tinystories-v3 --out splits", "ts-data download tinystories-v2 --out raw.txt", "huggingface_hub | ts-data download tinystories-v2 --out raw"),
    "ts-data prepare": ("ts-data prepare hub:nobody/nothing --out new", "ts-data prepare raw.txt --out sealed/new --validation 9", "ts-data prepare raw.txt --out new --validation 9", "ts-data prepare raw.txt --out encoded --validation 9", "ts-data prepare raw.txt --out notes.txt --validation 9", "datasets | ts-data prepare hub:nobody/nothing --out new"),
    "ts-data stats": (None, None, None, "ts-data stats encoded", "ts-data stats raw.txt", None),
    "ts-data show": (None, None, None, "ts-data show run", "ts-data show raw.txt", None),
    "ts-data leakage": (None, None, None, "ts-data leakage report", "ts-data leakage raw.txt", None),
    "ts-data instruct": (None, "ts-data instruct splits --out sealed/new", "ts-data instruct splits --out new", "ts-data instruct encoded --out new", "ts-data instruct splits --out raw.txt", None),
    "ts-tokenizer train": (None, "ts-tokenizer train splits --vocab-size 120 --out sealed/t.json", "ts-tokenizer train splits --vocab-size 120 --out t.json", "ts-tokenizer train encoded --out t.json", "ts-tokenizer train raw.txt --out t.json", None),
    "ts-tokenizer encode": (None, "ts-tokenizer encode splits -t lower.json -o sealed/e", "ts-tokenizer encode splits -t lower.json -o e", "ts-tokenizer encode run -t lower.json -o e", "ts-tokenizer encode raw.txt -t lower.json -o e", "ray | ts-tokenizer encode splits -t lower.json -o e --engine ray"),
    "ts-tokenizer check": (None, None, None, "ts-tokenizer check lower.json encoded", "ts-tokenizer check splits splits", None),
    "ts-tokenizer stats": (None, None, None, "ts-tokenizer stats splits", "ts-tokenizer stats raw.txt", None),
    "ts-tokenizer coverage": (None, None, None, "ts-tokenizer coverage encoded", "ts-tokenizer coverage raw.txt", None),
    "ts-tokenizer compare": (None, None, None, "ts-tokenizer compare lower.json keep.json encoded", "ts-tokenizer compare lower.json splits splits", None),
    "ts-models list": (None,) * 6,
    "ts-models show": ("ts-models show nobody/nothing", None, None, "ts-models show splits", "ts-models show raw.txt", None),
    "ts-models export": ("ts-models export nobody/nothing --format int8 --out new", "ts-models export run/model --format int8 --out sealed/new", "ts-models export run/model --format int8 --out new", "ts-models export splits --format int8 --out new", "ts-models export run/model --format int8 --out raw.txt", "gguf | ts-models export run/model --format gguf --out m.gguf"),
    "ts-models generate": ("ts-models generate nobody/nothing", None, None, "ts-models generate encoded", "ts-models generate raw.txt", "ts_tokenizer | ts-models generate run/model --prompt Once"),
    "ts-models neighbours": ("ts-models neighbours nobody/nothing dog", None, None, "ts-models neighbours splits dog", "ts-models neighbours raw.txt dog", None),
    "ts-models prompts": ("ts-models prompts nobody/nothing", None, None, "ts-models prompts splits", "ts-models prompts raw.txt", None),
    "ts-models play": ("ts-models play nobody/nothing", None, None, "ts-models play splits", "ts-models play raw.txt", "uvicorn | ts-models play run/model --port 0"),
    "ts-models look": ("ts-models look nobody/nothing Once", "ts-models look run/model Once --out sealed/x.html", "ts-models look run/model Once --out x.html", "ts-models look splits Once", "ts-models look raw.txt Once", "ts_tokenizer | ts-models look run/model Once"),
    "ts-models neurons": ("ts-models neurons nobody/nothing --data encoded", "ts-models neurons run/model --data encoded --out sealed/x.html", "ts-models neurons run/model --data encoded --out x.html", "ts-models neurons run/model --data splits", "ts-models neurons run/model --data raw.txt", "pyarrow | ts-models neurons run/model --data encoded --out x.html"),
    "ts-train run": (None, f"{RUN} --out sealed/new", f"{RUN} --out new", "ts-train run --config settings.toml --data splits --out new", f"{RUN} --out raw.txt", f"wandb | {RUN} --out new --set 'sinks=[\"wandb\"]'"),
    "ts-train resume": (None, "ts-train resume sealed/run", "ts-train resume run2", "ts-train resume splits", "ts-train resume raw.txt", None),
    "ts-train plot": (None, "ts-train plot run --out sealed/x.png", "ts-train plot run --out x.png", "ts-train plot splits --out x.png", "ts-train plot raw.txt --out x.png", "matplotlib | ts-train plot run --out x.png"),
    "ts-train prefer": (None, "ts-train prefer run/model pairs.jsonl --out sealed/new", "ts-train prefer run/model pairs.jsonl --out new", "ts-train prefer splits pairs.jsonl --out new", "ts-train prefer run/model pairs.jsonl --out raw.txt", "ts_tokenizer | ts-train prefer run/model pairs.jsonl --out new"),
    "ts-train search": (None, "ts-train search --config search.toml --data encoded --out sealed/new", "ts-train search --config search.toml --data encoded --out new", "ts-train search --config search.toml --data splits --out new", "ts-train search --config search.toml --data encoded --out raw.txt", "optuna | ts-train search --config search.toml --data encoded --out new"),
    "ts-train ladder": (None, "ts-train ladder --config ladder.toml --data encoded --out sealed/new", "ts-train ladder --config ladder.toml --data encoded --out new", "ts-train ladder --config ladder.toml --data splits --out new", "ts-train ladder --config ladder.toml --data encoded --out raw.txt", None),
    "ts-train ablate": (None, "ts-train ablate ablation.toml --data encoded --out sealed/new", "ts-train ablate ablation.toml --data encoded --out new", "ts-train ablate ablation.toml --data splits --out new", "ts-train ablate ablation.toml --data encoded --out raw.txt", None),
    "ts-eval report": (f"ts-eval report {NOWHERE}#m --out new {PARTS}", f"ts-eval report run/model --out sealed/new {PARTS}", f"ts-eval report run/model --out new {PARTS}", "ts-eval report run/model --data encoded --out new", f"ts-eval report run/model --out notes.txt {PARTS}", f"transformers | ts-eval report hf:nobody/nothing --out new {PARTS}"),
    "ts-eval perplexity": (None, None, None, "ts-eval perplexity run/model --data encoded", "ts-eval perplexity run/model --data raw.txt", f"transformers | ts-eval perplexity hf:nobody/nothing {PARTS}"),
    "ts-eval memorisation": (f"ts-eval memorisation {NOWHERE}#m {PARTS}", f"ts-eval memorisation run/model --index sealed/i {PARTS}", f"ts-eval memorisation run/model --index i {PARTS}", "ts-eval memorisation run/model --data encoded", f"ts-eval memorisation run/model --index raw.txt {PARTS}", f"openai | ts-eval memorisation {NOWHERE}#m {PARTS}"),
    "ts-eval overfitting": (f"ts-eval overfitting {NOWHERE}#m {PARTS}", f"ts-eval overfitting run/model --index sealed/i {PARTS}", f"ts-eval overfitting run/model --index i {PARTS}", "ts-eval overfitting splits --data splits", f"ts-eval overfitting run/model --index raw.txt {PARTS}", f"openai | ts-eval overfitting {NOWHERE}#m {PARTS}"),
    "ts-eval paper": (f"ts-eval paper {NOWHERE}#m {PARTS}", f"ts-eval paper run/model --index sealed/i {PARTS}", f"ts-eval paper run/model --index i {PARTS}", "ts-eval paper encoded --data splits", f"ts-eval paper run/model --index raw.txt {PARTS}", f"openai | ts-eval paper {NOWHERE}#m {PARTS}"),
    "ts-eval sweep": (f"ts-eval sweep {NOWHERE}#m --data splits --stories 2", "ts-eval sweep run/model --data splits --stories 2 --set 'temperature=[1.0]' --out sealed/s.json", "ts-eval sweep run/model --data splits --stories 2 --set 'temperature=[1.0]' --out s.json", "ts-eval sweep run/model --data encoded", "ts-eval sweep run/model --data raw.txt", "optuna | ts-eval sweep run/model --data splits --search optuna"),
    "ts-eval probe": (None, f"{PROBE} --out sealed/new", f"{PROBE} --out new", "ts-eval probe splits --pairs 2", f"{PROBE} --out raw.txt", "transformers | ts-eval probe hf:nobody/nothing --pairs 2"),
    "ts-eval extraction": (f"ts-eval extraction {NOWHERE}#m --data splits", "ts-eval extraction run/model --data splits --stories 2 --out sealed/new", "ts-eval extraction run/model --data splits --stories 2 --out new", "ts-eval extraction run/model --data encoded", "ts-eval extraction run/model --data splits --out raw.txt", f"openai | ts-eval extraction {NOWHERE}#m --data splits"),
    "ts-eval instruct": ("ts-eval instruct nobody/nothing --data asked", f"{ASKED} --out sealed/a.json", f"{ASKED} --out a.json", "ts-eval instruct run/model --data splits", "ts-eval instruct run/model --data raw.txt", f"ts_tokenizer | {ASKED}"),
    "ts-eval best": ("ts-eval best nobody/nothing --out b.jsonl", f"{BEST} --out sealed/b.jsonl", f"{BEST} --out b.jsonl", "ts-eval best splits --out b.jsonl", f"{BEST} --out raw.txt/b.jsonl", f"ts_tokenizer | {BEST} --out b.jsonl"),
    "ts-eval judge": (f"ts-eval judge told.jsonl --base-url {NOWHERE} --model m --set retries=0 --set backoff=0.001 --out r.jsonl", "ts-eval judge told.jsonl --backend fake --out sealed/r.jsonl", "ts-eval judge told.jsonl --backend fake --out r.jsonl", "ts-eval judge splits --backend fake --out r.jsonl", "ts-eval judge told.jsonl --backend fake --out raw.txt/r.jsonl", None),
    "ts-eval calibrate": (f"ts-eval calibrate rated.jsonl --base-url {NOWHERE} --model m --set retries=0 --set backoff=0.001 --out c.json", "ts-eval calibrate rated.jsonl --backend fake --out sealed/c.json", "ts-eval calibrate rated.jsonl --backend fake --out c.json", "ts-eval calibrate splits --backend fake --out c.json", "ts-eval calibrate rated.jsonl --backend fake --out raw.txt/c.json", None),
    "ts-eval optimise-prompt": (f"ts-eval optimise-prompt rated.jsonl --base-url {NOWHERE} --model m --set retries=0 --set backoff=0.001 --out o.json", "ts-eval optimise-prompt rated.jsonl --backend fake --out sealed/o.json", "ts-eval optimise-prompt rated.jsonl --backend fake --out o.json", "ts-eval optimise-prompt splits --backend fake --out o.json", "ts-eval optimise-prompt rated.jsonl --backend fake --out raw.txt/o.json", None),
    "ts-eval panel": (None, "ts-eval panel ada.jsonl eve.jsonl --out sealed/p.jsonl", "ts-eval panel ada.jsonl eve.jsonl --out p.jsonl", "ts-eval panel splits splits", "ts-eval panel ada.jsonl eve.jsonl --out raw.txt/p.jsonl", None),
    "ts-eval rate": (None, "ts-eval rate told.jsonl --out sealed/r.jsonl", None, "ts-eval rate splits --out r.jsonl", "ts-eval rate told.jsonl --out raw.txt/r.jsonl", None),
}  # fmt: skip

OTHER_CODES = {
    ("ts-eval judge", "no network"): 1,
    ("ts-eval calibrate", "no network"): 1,
}
"""Cells that end with another exit code than 2: nothing could be rated."""

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "when-a-command-fails.md"


# --- conditions --------------------------------------------------------------------------------

_sealed: list[str] = []
"""Folders that are read-only now; empty: none."""


def _refuse_sealed(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: it serves every user, also root, for whom no mode of a folder is an obstacle. It cannot be removed."""
    if not _sealed or event not in {
        "open",
        "os.mkdir",
        "os.rename",
        "os.remove",
        "os.link",
        "os.symlink",
        "os.rmdir",
        "sqlite3.connect",
    }:
        return
    path = arguments[0]
    writes = event != "open" or (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes and isinstance(path, str | bytes | os.PathLike):
        name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - resolve() would follow links
        if any(name == folder or name.startswith(folder + os.sep) for folder in _sealed):
            raise OSError(30, "Read-only file system", os.fsdecode(path))


sys.addaudithook(_refuse_sealed)


@contextlib.contextmanager
def under(condition: str, package: str | None, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """The condition, as far as it is not in the command line."""
    patch.setattr(time, "sleep", lambda _: None)  # clients wait before they try again
    if condition == "no network":

        def refuse(*_: Any, **__: Any) -> Any:
            raise socket.gaierror(-3, "Temporary failure in name resolution")

        patch.setattr(socket, "getaddrinfo", refuse)
        patch.setattr(socket.socket, "connect", refuse)
        yield
    elif condition == "read-only folder":
        _sealed.append(str(Path("sealed").resolve()))
        try:
            yield
        finally:
            _sealed.clear()
    elif condition == "full disk":
        resource = pytest.importorskip("resource")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        usage = shutil.disk_usage(".")
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(used=usage.total, free=0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    elif package is not None:
        for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, package, None)
        yield
    else:
        yield


@pytest.fixture(scope="module")
def prepared(artefacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefacts, settings for short runs, and an unfinished run."""
    place = tmp_path_factory.mktemp("matrix") / "p"
    shutil.copytree(artefacts, place)
    (place / "notes.txt").write_text("mine", encoding="utf-8")
    (place / "sealed").mkdir()
    model = '{ kind = "transformer", d_model = 8, n_heads = 2, n_layers = 1, d_ff = 12, max_seq_len = 64 }'
    settings = f'model = {model}\nmax_steps = 4\nsinks = ["jsonl"]\noptimizer = {{ name = "adamw" }}\n'
    (place / "settings.toml").write_text(settings, encoding="utf-8")
    recipes = importlib.resources.files("ts_train").joinpath("recipes")
    for name, origin in (("search", "searches/learning-rates"), ("ladder", "ladders/story"), ("ablation", "ablations/heads")):
        (place / f"{name}.toml").write_bytes(recipes.joinpath(f"{origin}.toml").read_bytes())
    call(f"ts-data instruct {place}/splits --held-out 0.5 --out {place}/asked")
    _rated(place)
    for name, backend in (("ada", "fake"), ("eve", "features")):
        assert call(f"ts-eval judge {place}/told.jsonl --backend {backend} --out {place}/{name}.jsonl").code == 0
    _unfinished_run(place)
    shutil.copytree(place / "run2", place / "sealed" / "run")
    return place


def _rated(place: Path) -> None:
    from ts_eval.schemas import CATEGORIES

    stories = [json.loads(line)["story"] for line in (place / "told.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = [
        {"story": f"{story} Part {turn}.", "ratings": [dict.fromkeys(CATEGORIES, 3 + (n + turn) % 6)], "rater": "ada"}
        for n, story in enumerate(stories)
        for turn in range(2)
    ]
    (place / "rated.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    pairs = [{"prompt": "", "story": a, "rejected": b} for a, b in itertools.pairwise(stories)]
    (place / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")


def _unfinished_run(place: Path) -> None:
    import ts_train

    class Stop(ts_train.Callback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            raise ts_train.StopTraining("enough")

    import tomllib

    config = ts_train.TrainConfig.model_validate(tomllib.loads((place / "settings.toml").read_text(encoding="utf-8")))
    ts_train.train(config, place / "encoded", place / "run2", callbacks=[Stop()])


def test_every_command_has_its_row() -> None:
    found = {
        f"{package} {name}"
        for package in PACKAGES
        for name in get_command(importlib.import_module(f"{package.replace('-', '_')}.cli").app).commands  # type: ignore[attr-defined]
    }
    assert found == set(CELLS)


def documented(command: str, condition: str) -> str:
    """The cell of the table in the documentation."""
    (row,) = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{command}` |")]
    return row.split("|")[2 + CONDITIONS.index(condition)].strip()


LINES = [
    (command, condition, line) for command, cells in CELLS.items() for condition, line in zip(CONDITIONS, cells, strict=True)
]


def test_the_table_has_a_dash_where_a_command_cannot_meet_the_condition() -> None:
    assert f"| {' | '.join(CONDITIONS)} |" in PAGE.read_text(encoding="utf-8")
    assert {(command, condition) for command, condition, line in LINES if line is None} == {
        (command, condition) for command, condition, _ in LINES if documented(command, condition) == "—"
    }


@pytest.mark.parametrize(
    ("command", "condition", "line"),
    [pytest.param(*cell, id=f"{cell[0]}-{cell[1]}") for cell in LINES if cell[2] is not None],
)
def test_a_fault_is_one_sentence(
    command: str, condition: str, line: str, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, bar, rest = line.partition(" | ")
    monkeypatch.chdir(prepared)
    before = tree(prepared)
    with under(condition, package if bar else None, monkeypatch):
        done = call(rest if bar else line)
    print(f"{command} | {condition} | {done.code} | {done.stderr}")
    assert "Traceback" not in done.stderr, done.stderr
    assert done.code == OTHER_CODES.get((command, condition), 2), done.stderr
    assert 1 <= done.lines <= 3, done.stderr
    assert documented(command, condition) == f"{done.code}, {done.lines} line{'s' * (done.lines > 1)}"
    after = tree(prepared)
    assert _files(after) == _files(before), "something half-written stays"
    for name in set(after) - set(before):
        shutil.rmtree(name) if Path(name).is_dir() else Path(name).unlink(missing_ok=True)


def _files(found: dict[str, str]) -> dict[str, str]:
    """Without folders, and without what is whole or what the next call goes on with: work, an index, a study, what was not rated."""
    whole = ("study.db", "r.jsonl", "c.json")
    return {
        name: content
        for name, content in found.items()
        if content != "folder" and ".ts-work" not in name and not name.endswith(whole) and not name.startswith("new/index/")
    }
