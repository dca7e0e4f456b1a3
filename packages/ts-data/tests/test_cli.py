"""The console script: whole outputs, exit codes, one-line errors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ts_data import PrepareConfig, prepare

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def splits(raw: Path, tmp_path: Path) -> Path:
    prepare(raw, tmp_path / "splits", PrepareConfig(validation=20), workers=1)
    return tmp_path / "splits"


def test_sample_prepare_stats(run: Run, tmp_path: Path) -> None:
    raw, out = tmp_path / "my raw.txt", tmp_path / "splits"
    assert run("sample", "--stories", 50, "--out", raw)[:2] == (
        0,
        f"wrote 50 stories ({raw.stat().st_size:,} bytes) to {raw}\nNext: ts-data prepare '{raw}' --out splits/\n",
    )
    code, text, err = run("prepare", raw, "--out", out, "--validation", 3, "--workers", 1)
    assert code == 0
    assert text.startswith("step ")
    assert text.endswith(f"wrote {out}: 50 stories in, 50 kept\nNext: ts-tokenizer train {out} --out word_tokenizer.json\n")
    assert "clean: " in err
    code, text, err = run(
        "prepare", raw, "--out", out, "--set", "min_characters=600", "--force", "--quiet", "--json", "--workers", 1
    )
    manifest = json.loads(text)
    assert manifest["removed"]["short"] > 0
    assert err == ""
    code, text, _ = run("stats", out)
    assert "train: words per story" in text
    assert "█" in text
    assert json.loads(run("stats", out, "--json")[1])["train"]["stories"] == manifest["splits"]["train"]["stories"]


def test_config_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('validation = 2\nsteps = ["stars", "whitespace"]\n[near]\nngram = 3\n')
    run("sample", "--stories", 30, "--out", tmp_path / "raw.txt")
    _code, text, _ = run(
        "prepare",
        tmp_path / "raw.txt",
        "--out",
        tmp_path / "s",
        "--config",
        tmp_path / "c.toml",
        "--set",
        "near.ngram=4",
        "--json",
        "-q",
    )
    config = json.loads(text)["config"]
    assert (config["validation"], config["steps"], config["near"]["ngram"]) == (2, ["stars", "whitespace"], 4)


def test_show(run: Run, splits: Path) -> None:
    code, text, _ = run("show", splits, "--n", 2, "--start", 3)
    assert code == 0
    assert text.startswith("[train 3]\n")
    assert text.endswith("(continue with --start 5)\n")
    assert "duplicate of story" in run("show", splits, "--split", "removed", "--reason", "duplicate", "--n", 1)[1]
    assert "[-*-]" in run("show", splits, "--changed", "stars", "--n", 1)[1]
    rows = json.loads(run("show", splits, "--split", "removed", "--json", "--n", 3)[1])["stories"]
    assert len(rows) == 3
    assert {"reason", "text", "twin"} <= set(rows[0])
    assert run("show", splits, "--start", 10_000)[1] == "(no more stories)\n"


def test_changes_are_told_apart_without_colors(run: Run, splits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in run("show", splits, "--changed", "stars", "--n", 1)[1]
    monkeypatch.setenv("NO_COLOR", "1")
    plain = run("show", splits, "--changed", "stars", "--n", 1)[1]
    assert "[-*-]" in plain
    assert "\x1b[" not in plain


def test_leakage(run: Run, splits: Path) -> None:
    code, text, _ = run("leakage", splits, "--threshold", 0.3, "--show", 1, "-q")
    assert code == 0
    assert text.startswith("split ")
    assert "nearly (≥ 0.3)" in text
    assert json.loads(run("leakage", splits, "--json", "-q")[1])["format"] == "ts-data/leakage"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prepare", "none.txt", "--out", "s"), "none.txt: no such file."),
        (("prepare", "none.txt", "--out", "s", "--set", "sed=1"), "field `sed`: is not a known field"),
        (("prepare", "none.txt", "--out", "s", "--set", 'steps=["star"]'), "Did you mean 'stars'?"),
        (("prepare", "none.txt", "--out", "s", "--validation", "-1"), "`validation`: should be a whole number"),
        (("prepare", "none.txt", "--out", "s", "--validation", "1.5"), "a share between 0 and 1"),
        (("prepare", "none.txt", "--out", "s", "--validation", "few"), "`validation`: should be a whole number"),
        (("prepare", "*.none", "--out", "s"), "*.none: matches no file."),
        (("prepare", "tales.zip", "--out", "s"), "tales.zip: no such file."),
        (("sample", "--out", "none/../x.txt", "--stories", "-1"), "at least one is needed"),
        (("stats", "none"), "no such file"),
        (("show", "none"), "no such file"),
        (("download", "tinystories-v3", "--out", "raw"), "there are: tinystories-v1, tinystories-v2"),
        (("sample", "--out", "x.txt", "--stories", "0"), "at least one"),
        (("sample", "--out", "x.txt", "--stories", str(10**15)), "x.txt: the file needs about 600,000,000,000 MB, but only"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    run: Run, arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["sample", "download", "prepare", "stats", "show", "leakage", "instruct"])
def test_every_verb_has_help_with_an_example(verb: str, run: Run) -> None:
    code, text, _ = run(verb, "--help")
    assert code == 0
    assert f"Example: ts-data {verb}" in text
    assert f" {verb} " in run("--help")[1]


def test_help_and_import_load_nothing_heavy() -> None:
    code = "import sys, ts_data, ts_data.cli; print(sorted({'pyarrow', 'numpy', 'pydantic', 'ftfy', 'datasets', 'huggingface_hub'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
