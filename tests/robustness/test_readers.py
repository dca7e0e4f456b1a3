"""Whatever bytes or structure stand in an artefact, its reader opens it or raises its package's own error; nothing else comes out.

`READERS` names each artefact once: the files that are damaged, and a call that reads all of it. `SETTINGS` does so for the files that
people write; they go through the command that reads them. `FUZZ_EXAMPLES=1000` looks longer.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.resources
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .damage import as_toml, damaged_bytes, damaged_json, damaged_lines, damaged_toml

Damage = Callable[[bytes], st.SearchStrategy[bytes]]


@dataclass(frozen=True)
class Reader:
    """One artefact: its files, how they are damaged besides by bytes, who reads it, and that package's base error."""

    package: str
    files: tuple[str, ...]
    read: Callable[[Path], object]
    structure: Damage = damaged_json

    @property
    def error(self) -> type[Exception]:
        """The base of the errors of the package, TsDataError for ts_data."""
        module = importlib.import_module(f"{self.package}.errors")
        found: type[Exception] = getattr(module, "".join(part.title() for part in self.package.split("_")) + "Error")
        return found


def read_splits(place: Path) -> None:
    import ts_data

    for split in ("train", "test", "removed"):
        stories = ts_data.read(place / "splits", split)
        assert all(isinstance(story, str) for story in stories)
        assert len(list(stories)) == len(stories)


def read_tokenizer(place: Path) -> None:
    for name in ("lower.json", "keep.json"):
        use_tokenizer(place / name, (place / name).read_bytes())


@functools.cache
def use_tokenizer(file: Path, content: bytes) -> None:
    """Encode and decode with the tokenizer in the file, whose content this is; once for the file that is whole."""
    import ts_tokenizer

    tokenizer = ts_tokenizer.load(file)
    text = 'Once upon a time, Ünic0de said: "I can\'t," to McDonald.'
    ids = tokenizer.encode(text, add_special_tokens=True)
    tokenizer.decode(ids)
    tokenizer.decode(range(tokenizer.vocab_size))
    tokenizer.encode_batch([text, ""])
    tokenizer.extra_bits([text])


def read_encoded(place: Path) -> None:
    import ts_tokenizer

    data = ts_tokenizer.open_encoded(place / "encoded")
    for split in data.values():
        assert sum(len(story) for story in split) == len(split.ids)


def read_model(place: Path) -> None:
    import ts_models

    lm = ts_models.load(place / "run" / "model")
    lm.model.generate([[1, 2, 3]], method="greedy", max_new_tokens=2)


def read_run(place: Path) -> None:
    from ts_train.run_folder import read_manifest
    from ts_train.studies.plots import _curves

    read_manifest(place / "run")
    _curves(place / "run")


def read_checkpoint(place: Path) -> None:
    from ts_train.checkpoint import CheckpointStore

    CheckpointStore(place / "run" / "checkpoints").load()


def read_index(place: Path) -> None:
    import ts_eval

    index = ts_eval.StoryIndex.open(place / "index")
    index.closest(["One day a dog ran to the park."], k=2)


def read_ratings(place: Path) -> None:
    from ts_eval.judge import read_ratings, read_stories

    read_stories(place / "told.jsonl")
    read_ratings(place / "ratings.jsonl")


def read_store(place: Path) -> None:
    from ts_eval.judge import estimate_cost
    from ts_eval.schemas import JudgeConfig

    config = JudgeConfig.model_validate_json((place / "judge.json").read_text(encoding="utf-8"))
    estimate_cost(place / "told.jsonl", config, store=place / "judge.sqlite")


def read_report(place: Path) -> None:
    from ts_eval.report import read_report, render

    render(read_report(place / "report"))


def read_prompt(place: Path) -> None:
    from ts_eval.judge.prompt import load_prompt

    load_prompt(str(place / "prompt.toml"))


READERS = {
    "splits": Reader("ts_data", ("splits/manifest.json",), read_splits),
    "parquet": Reader("ts_data", ("splits/train.parquet", "splits/removed.parquet"), read_splits, damaged_bytes),
    "tokenizer": Reader("ts_tokenizer", ("lower.json", "keep.json"), read_tokenizer),
    "encoded": Reader("ts_tokenizer", ("encoded/manifest.json",), read_encoded),
    "ids": Reader("ts_tokenizer", ("encoded/train.bin", "encoded/train.idx.npy"), read_encoded, damaged_bytes),
    "model": Reader("ts_models", ("run/model/config.json", "run/model/training.json"), read_model),
    "weights": Reader("ts_models", ("run/model/model.safetensors",), read_model, damaged_bytes),
    "run": Reader("ts_train", ("run/config.json",), read_run),
    "metrics": Reader("ts_train", ("run/metrics.jsonl",), read_run, damaged_lines),
    "checkpoint": Reader("ts_train", ("run/checkpoints/step-00000004/state.json",), read_checkpoint),
    "index": Reader("ts_eval", ("index/index.json",), read_index),
    "ratings": Reader("ts_eval", ("ratings.jsonl", "told.jsonl"), read_ratings, damaged_lines),
    "store": Reader("ts_eval", ("judge.sqlite",), read_store, damaged_bytes),
    "report": Reader("ts_eval", ("report/report.json",), read_report),
    "prompt": Reader("ts_eval", ("prompt.toml",), read_prompt, damaged_toml),
}


@contextlib.contextmanager
def damaged(file: Path, content: bytes) -> Iterator[None]:
    """The file with other bytes, and with its own again afterwards."""
    before = file.read_bytes()
    file.write_bytes(content)
    try:
        yield
    finally:
        file.write_bytes(before)


@pytest.fixture
def place(artefacts: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "artefacts"
    shutil.copytree(artefacts, copy)
    return copy


@pytest.mark.parametrize("name", READERS)
def test_the_undamaged_artefact_opens(name: str, place: Path) -> None:
    READERS[name].read(place)


def attempt(reader: Reader, place: Path) -> None:
    with contextlib.suppress(reader.error):
        reader.read(place)


FUZZ = settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "40")), deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
@FUZZ
@given(data=st.data())
def test_any_bytes(name: str, place: Path, data: st.DataObject) -> None:
    reader = READERS[name]
    file = place / data.draw(st.sampled_from(reader.files))
    with damaged(file, data.draw(damaged_bytes(file.read_bytes()))):
        attempt(reader, place)


@pytest.mark.parametrize("name", [name for name in READERS if READERS[name].structure is not damaged_bytes])
@FUZZ
@given(data=st.data())
def test_any_structure(name: str, place: Path, data: st.DataObject) -> None:
    reader = READERS[name]
    file = place / data.draw(st.sampled_from(reader.files))
    with damaged(file, data.draw(reader.structure(file.read_bytes()))):
        attempt(reader, place)


@FUZZ
@given(data=st.data())
def test_an_index_whose_hashes_were_put_right(place: Path, data: st.DataObject) -> None:
    """Compiled loops run over these arrays: what does not fit must be refused before they do."""
    folder = place / "index"
    file = folder / data.draw(st.sampled_from(["stream.bin", "offsets.npy", "second.npy", "df.npy", "norms.npy", "words.txt"]))
    with damaged(file, data.draw(damaged_bytes(file.read_bytes()))):
        manifest = json.loads((folder / "index.json").read_bytes())
        manifest["files"][file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
        with damaged(folder / "index.json", json.dumps(manifest).encode()):
            attempt(READERS["index"], place)


@FUZZ
@given(data=st.data())
def test_ids_whose_sizes_were_put_right(place: Path, data: st.DataObject) -> None:
    folder = place / "encoded"
    name = data.draw(st.sampled_from(["bin", "idx"]))
    manifest = json.loads((folder / "manifest.json").read_bytes())
    info = manifest["splits"]["train"][name]
    file = folder / info["name"]
    with damaged(file, data.draw(damaged_bytes(file.read_bytes()))):
        info["bytes"] = file.stat().st_size
        with damaged(folder / "manifest.json", json.dumps(manifest).encode()):
            attempt(READERS["ids"], place)


# --- settings: through the commands, which say one line and end with 2 ---------------------------


def packaged(name: str) -> bytes:
    return importlib.resources.files("ts_train").joinpath("recipes", name).read_bytes()


def defaults(module: str, name: str) -> bytes:
    """All fields of a settings model as they are when nobody says anything."""
    values = getattr(importlib.import_module(f"{module}.schemas"), name)().model_dump(mode="json", exclude_none=True)
    return as_toml(values)


# Every command is pointed at data that are not there, so that settings which hold end with 2 as well.
SETTINGS = {
    "ts-data prepare": (lambda: defaults("ts_data", "PrepareConfig"), "ts-data prepare missing.txt --out out --config FILE"),
    "ts-train run": (lambda: packaged("story-1m.toml"), "ts-train run --data missing --out out --config FILE"),
    "ts-train ablate": (lambda: packaged("ablations/heads.toml"), "ts-train ablate FILE --data missing --out out"),
    "ts-train ladder": (lambda: packaged("ladders/story.toml"), "ts-train ladder --config FILE --data missing --out out"),
    "ts-train search": (
        lambda: packaged("searches/learning-rates.toml"),
        "ts-train search --config FILE --data missing --out out",
    ),
    "ts-eval report": (
        lambda: defaults("ts_eval", "EvalConfig"),
        "ts-eval report missing --data missing --out out --config FILE",
    ),
    "ts-eval sweep": (lambda: defaults("ts_eval", "SweepConfig"), "ts-eval sweep missing --data missing --out out --config FILE"),
    "ts-eval judge": (lambda: defaults("ts_eval", "JudgeConfig"), "ts-eval judge missing.jsonl --out out --config FILE"),
}


@pytest.mark.parametrize("name", SETTINGS)
@FUZZ
@given(data=st.data())
def test_any_settings(name: str, tmp_path: Path, data: st.DataObject) -> None:
    make, line = SETTINGS[name]
    content = make()
    file = tmp_path / "settings.toml"
    file.write_bytes(data.draw(st.one_of(damaged_toml(content), damaged_bytes(content))))
    words = line.replace("FILE", str(file)).split()
    main = importlib.import_module(f"{words[0].replace('-', '_')}.cli").main
    errors = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(errors):
        patch.chdir(tmp_path)
        patch.setattr("sys.argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 2, errors.getvalue()
    assert errors.getvalue().startswith("error: ")
    assert not (tmp_path / "out").exists()
