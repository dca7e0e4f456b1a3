"""Where commands write: never over an input, never over what is not theirs, behind links, and one at a time."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from pathlib import Path

import pytest

from ..commands import call, tree


@pytest.fixture
def place(artefacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the artefacts, with the working folder in it."""
    shutil.copytree(artefacts, tmp_path / "p")
    monkeypatch.chdir(tmp_path / "p")
    Path("notes.txt").write_text("mine", encoding="utf-8")
    (Path("box") / "deep").mkdir(parents=True)
    shutil.copy("raw.txt", "box/raw.txt")
    return tmp_path / "p"


OVER_AN_INPUT = [
    "ts-data prepare box/raw.txt --out box",
    "ts-data prepare raw.txt --out raw.txt",
    "ts-data prepare box/raw.txt --out new --work box",
    "ts-data prepare raw.txt --test box/raw.txt --out box",
    "ts-data prepare raw.txt --out new --work new",
    "ts-data prepare raw.txt --out new --work new/inside",
    "ts-data sample --stories 3 --out notes.txt",
    "ts-data sample --stories 3 --out splits/manifest.json",
    "ts-data sample --stories 3 --out run/model/model.safetensors",
    "ts-data sample --stories 3 --out splits",
    "ts-tokenizer train splits --out splits/manifest.json",
    "ts-tokenizer train splits --out splits/word_tokenizer.json",
    "ts-tokenizer train splits --out notes.txt",
    "ts-tokenizer train splits --out run/model/config.json",
    "ts-tokenizer encode splits -t lower.json --out splits",
    "ts-tokenizer encode splits -t lower.json --out splits/encoded",
    "ts-tokenizer encode splits -t lower.json --out lower.json",
    "ts-models export run/model --format int8 --out run/model",
    "ts-models export run/model --format int8 --out run",
    "ts-models export run/model --format transformers --out run/model/here",
    "ts-models export run/model --format transformers --out splits",
    "ts-models export run/model --format gguf --out run/model/model.safetensors",
    "ts-models export run/model --format gguf --out notes.txt",
    "ts-models export run/model --format onnx --out run/model/config.json",
    "ts-train run --data encoded --out encoded --max-steps 1",
    "ts-train run --data encoded --out encoded/run --max-steps 1",
    "ts-train run --data encoded --out splits --max-steps 1",
    "ts-train run --data encoded --init-from run/model --out run/model --max-steps 1",
    "ts-train ladder --config ladder.toml --data encoded --out encoded",
    "ts-train ablate heads --data encoded --out encoded/study",
    "ts-train plot run --out notes.txt",
    "ts-train plot run --out run/metrics.jsonl",
    "ts-train plot run --out plot.xyz",
    "ts-eval report run/model --data splits --out run/model",
    "ts-eval report run/model --data splits --out splits",
    "ts-eval report run/model --data splits --out notes.txt",
    "ts-eval sweep run/model --data splits --out run/model/config.json",
    "ts-eval judge told.jsonl --backend fake --out told.jsonl",
    "ts-eval judge told.jsonl --backend fake --out notes.txt",
    "ts-eval judge told.jsonl --backend fake --out new.jsonl --store told.jsonl",
    "ts-eval calibrate ratings.jsonl --backend fake --out ratings.jsonl",
    "ts-eval calibrate ratings.jsonl --backend fake --out notes.txt",
    "ts-eval optimise-prompt ratings.jsonl --backend fake --out ratings.jsonl",
    "ts-eval optimise-prompt ratings.jsonl --backend fake --out notes.txt",
    "ts-eval rate told.jsonl --out told.jsonl",
    "ts-eval rate told.jsonl --out notes.txt",
]


@pytest.mark.parametrize("line", OVER_AN_INPUT)
def test_no_command_writes_over_its_input_or_over_what_is_not_its_own(line: str, place: Path) -> None:
    shutil.copy(str(importlib.resources.files("ts_train").joinpath("recipes/ladders/story.toml")), "ladder.toml")
    before = tree(place)
    done = call(line)
    assert (done.code, done.lines) == (2, 1), done.stderr
    assert done.stderr.startswith("error: ")
    assert tree(place) == before


@pytest.mark.parametrize(
    "line",
    [
        "ts-data sample --stories 3 --out OUT",
        "ts-data prepare raw.txt --out OUT --validation 20",
        "ts-tokenizer train splits --vocab-size 120 --out OUT",
        "ts-tokenizer encode splits -t lower.json --out OUT",
        "ts-models export run/model --format int8 --out OUT",
        "ts-models export run/model --format transformers --out OUT",
        "ts-train run --data encoded --out OUT --config settings.toml",
        "ts-train plot run --out OUT",
        "ts-eval report run/model --data splits --out OUT --set resamples=100 --set 'parts=[\"perplexity\"]'",
        "ts-eval judge told.jsonl --backend fake --out OUT",
    ],
)
def test_a_link_stays_a_link_and_the_user_s_files_stay(line: str, place: Path, tmp_path: Path) -> None:
    settings = {"model": json.loads(Path("run/config.json").read_bytes())["config"]["model"]}
    Path("settings.toml").write_text(
        'max_steps = 2\nsinks = ["jsonl"]\n[model]\n'
        + "".join(f"{k} = {json.dumps(v)}\n" for k, v in settings["model"].items() if v is not None),
        encoding="utf-8",
    )
    disk = tmp_path / "disk"
    disk.mkdir()
    name = "loss.png" if "plot" in line else "out"
    Path(name).symlink_to(disk / name)  # it does not exist yet
    for turn in range(2):
        done = call(line.replace("OUT", name))
        assert done.code == 0, done.stderr
        assert Path(name).is_symlink()
        assert (disk / name).exists()
        if (disk / name).is_dir():
            (disk / name / "notes.txt").write_text("mine", encoding="utf-8")
        assert (turn, *(p.name for p in disk.iterdir() if ".ts-" in p.name)) == (turn,)
    if (disk / name).is_dir():
        assert (disk / name / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_names_of_locks_and_work_never_meet_a_user_s_files(place: Path) -> None:
    Path("poetry.lock").write_text("precious", encoding="utf-8")
    for name in (".splits.work", ".splits.partial", ".splits.old", ".encoded.work", ".encoded.partial", ".poetry.lock"):
        Path(name).mkdir()
        (Path(name) / "thesis.txt").write_text("precious", encoding="utf-8")
    for line in (
        "ts-data prepare raw.txt --out new --work poetry --validation 20",
        "ts-data prepare raw.txt --out splits --validation 20",
        "ts-tokenizer encode splits -t keep.json --out other",
        "ts-tokenizer encode splits -t lower.json --out encoded",
    ):
        done = call(line)
        assert done.code == 0, done.stderr
    assert Path("poetry.lock").read_text(encoding="utf-8") == "precious"
    assert not Path("poetry").exists()
    assert len(list(Path().glob(".*/thesis.txt"))) == 6
    assert not list(Path().rglob(".*.ts-*"))


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_every_file_of_an_artefact_has_the_mode_of_the_umask(place: Path) -> None:
    for line in (
        "ts-models export run/model --format int8 --out small",
        "ts-models export run/model --format transformers --out other",
    ):
        assert call(line).code == 0
    files = [p for folder in ("run", "splits", "encoded", "small", "other", "index", "report") for p in Path(folder).rglob("*")]
    umask = os.umask(0)
    os.umask(umask)
    found = {str(p): oct(p.stat().st_mode & 0o777) for p in files if p.is_file() and p.stat().st_mode & 0o777 != 0o666 & ~umask}
    assert found == {}
