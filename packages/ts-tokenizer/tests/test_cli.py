"""The commands, from splits to reports, as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ts_data
from ts_data.console import run
from ts_tokenizer.cli import app


def _call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        run(app, [str(word) for word in words])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli")
    (path / "raw.txt").write_text("\n<|endoftext|>\n".join(ts_data.sample(200, seed=2)), encoding="utf-8")
    ts_data.prepare(path / "raw.txt", path / "splits")
    return path


def test_the_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, encoded, splits = folder / "word_tokenizer.json", folder / "encoded", folder / "splits"
    code, out, _ = _call(capsys, "train", splits, "--out", file, "--vocab-size", 200, "--json", "--quiet")
    assert (code, json.loads(out)["vocab_size"]) == (0, 200)
    code, out, _ = _call(capsys, "encode", splits, "--tokenizer", file, "--out", encoded)
    assert code == 0
    assert "train" in out
    code, out, _ = _call(capsys, "check", file, splits, "--split", "test", "--json")
    assert (code, json.loads(out)["stories"]) == (0, len(ts_data.read(splits, "test")))
    shown = _call(capsys, "check", file, splits, "--split", "test")[1].splitlines()
    assert ("times  written  decoded" in " ".join(shown)) != (shown[-1] == "no errors")
    assert set(shown[-1]) != {"-", " "}, "a table without rows"
    code, out, _ = _call(capsys, "stats", encoded)
    assert code == 0
    assert "mean length" in out
    assert "█" in out
    code, out, _ = _call(capsys, "coverage", splits, "--vocab-size", 200)
    assert code == 0
    assert "<- this size" in out
    assert "<unk> hides" in out
    out = _call(capsys, "coverage", splits, "--vocab-size", 20_000)[1]
    assert "(once)" in out
    assert "(1 times)" not in out
    code, out, _ = _call(capsys, "compare", file, file, splits, "--json")
    assert code == 0
    assert [row["name"] for row in json.loads(out)["tokenizers"]] == [str(file), "basic_english"]


def test_every_command_takes_json_and_quiet() -> None:
    from typer.main import get_command

    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert set(commands) == {"train", "encode", "check", "stats", "coverage", "compare"}
    for name, command in commands.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "--quiet"} <= options, name


def test_errors_are_one_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = _call(capsys, "train", folder / "splits", "--vocab-size", 3, "--out", tmp_path / "x.json")
    assert (code, out) == (2, "")
    assert err.startswith("error: vocab_size: 3 is out of range")
    code, _, err = _call(capsys, "stats", tmp_path / "nowhere")
    assert code == 2
    assert "no such file" in err


def test_a_vocabulary_of_all_words_says_so(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _call(capsys, "train", folder / "splits", "--out", tmp_path / "t.json", "--vocab-size", 9_000)
    assert code == 0
    assert "distinct, all of them kept: fewer than the 9,000 asked for)" in out


def test_importing_loads_nothing_heavy() -> None:
    heavy = "{'spacy', 'numba', 'torch', 'pyarrow', 'numpy', 'pydantic'}"
    code = f"import sys, ts_tokenizer, ts_tokenizer.cli; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_names_resolve_twice_alike() -> None:
    import ts_tokenizer

    for name in ts_tokenizer.__all__:
        assert getattr(ts_tokenizer, name) is getattr(ts_tokenizer, name)
    with pytest.raises(AttributeError, match="nothing"):
        _ = ts_tokenizer.nothing
