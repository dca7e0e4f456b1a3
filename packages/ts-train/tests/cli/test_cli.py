"""The commands as a user runs them: on real files, in a process of their own where signals and output matter."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

MODEL = ["--set", "preset=story-1m", "--set", "model.n_layers=1", "--set", "model.d_ff=16", "--set", "model.max_seq_len=16"]
TINY = [*MODEL, "--set", "threads=1", "--set", "precision=fp32", "--set", "validation.samples=0", "--set", 'sinks=["jsonl"]']


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "ts_train", *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )


class Here(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Here]:
    """The command in this process, for torch takes seconds to load."""
    from ts_train.cli import main

    def call(*arguments: str | Path) -> Here:
        monkeypatch.setattr(sys, "argv", ["ts-train", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return Here(int(stop.value.code or 0), *capsys.readouterr())

    return call


@pytest.mark.slow
def test_run_resume_plot(encoded: Path, tmp_path: Path, here: Callable[..., Here]) -> None:
    run = tmp_path / "run"
    done = call("run", "--data", encoded, "--out", run, "--max-steps", "4", "--json", *TINY)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["steps"] == 4
    assert told["bits_per_byte"] > 0
    assert "step 4/4" in done.stderr
    assert "tok/s" in done.stderr
    again = here("resume", run, "--quiet")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith(f"wrote {run / 'model'}: 4 steps, ")
    assert again.stdout.count("\n") == 1
    drawn = here("plot", run, "--out", tmp_path / "loss.png", "--json")
    assert json.loads(drawn.stdout)["plot"].endswith("loss.png")
    assert (tmp_path / "loss.png").stat().st_size > 5000


def test_a_folder_of_another_kind_is_left_alone(encoded: Path, here: Callable[..., Here]) -> None:
    before = sorted(path.name for path in encoded.iterdir())
    done = here("run", "--data", encoded, "--out", encoded, "--max-steps", "1", *TINY)
    assert done.returncode == 2
    assert "is an input as well" in done.stderr
    assert sorted(path.name for path in encoded.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "stroy-1m"], "Did you mean 'story-1m'?"),
        (["--set", "optimizer.lrr=1"], "Did you mean optimizer.lr?"),
        (["--set", "max_steps=-1"], "max_steps"),
        (["--set", "batch.batch_size=4", "--max-tokens-per-batch", "64"], "not both"),
        (
            ["--set", 'sinks=["smoke"]', "--set", "validation.samples=0", "--max-steps", "1"],
            "there are jsonl, tensorboard, wandb",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    encoded: Path, tmp_path: Path, here: Callable[..., Here], arguments: list[str], message: str
) -> None:
    done = here("run", "--data", encoded, "--out", tmp_path / "run", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_truncated_bin_is_refused(encoded: Path, tmp_path: Path, here: Callable[..., Here]) -> None:
    copy = tmp_path / "encoded"
    shutil.copytree(encoded, copy)
    (copy / "train.bin").write_bytes((copy / "train.bin").read_bytes()[:-10])
    done = here("run", "--data", copy, "--out", tmp_path / "run", "--max-steps", "1", *TINY)
    assert done.returncode == 2
    assert "train.bin" in done.stderr
    assert not (tmp_path / "run" / "model").exists()


def test_a_model_of_another_tokenizer_is_refused(encoded: Path, tmp_path: Path, here: Callable[..., Here]) -> None:
    for name in ("one", "other"):
        shutil.copytree(encoded, tmp_path / name)
        (tmp_path / name / "word_tokenizer.json").write_text(json.dumps({"format": "made-up", "name": name}))
    first = here("run", "--data", tmp_path / "one", "--out", tmp_path / "run", "--max-steps", "1", *TINY)
    assert first.returncode == 0, first.stderr
    start = ["run", "--init-from", tmp_path / "run" / "model", "--max-steps", "1", "--set", "validation.samples=0"]
    again = here(*start, "--data", tmp_path / "one", "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    refused = here(*start, "--data", tmp_path / "other", "--out", tmp_path / "refused")
    assert refused.returncode == 2
    assert "the same id would mean another word" in refused.stderr.replace("\n", " ")


def test_help_is_quick_and_names_the_commands() -> None:
    done = call("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("run", "resume", "plot"))


# --- studies -----------------------------------------------------------------------------------


@pytest.fixture
def study(encoded: Path, tmp_path: Path, here: Callable[..., Here]) -> Callable[..., Here]:
    """`study(command, settings, *options)`: a study whose config is `settings`."""

    def call(command: str, settings: dict[str, Any], *options: str) -> Here:
        lines = [f"{key} = {_toml(value)}" for key, value in settings.items()]
        (tmp_path / "study.toml").write_text("\n".join(lines), encoding="utf-8")
        given = [tmp_path / "study.toml"] if command == "ablate" else ["--config", tmp_path / "study.toml"]
        return here(command, *given, "--data", encoded, "--out", tmp_path / "out", *options)

    return call


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_toml(item)}' for key, item in value.items()) + "}"
    return json.dumps(value)


def test_ablate_prints_its_table_and_where_it_lies(study: Any, base: dict[str, Any], tmp_path: Path) -> None:
    settings = {"question": "Width?", "seeds": [1], "base": base, "variants": {"narrow": {}, "wide": {"model": {"d_ff": 40}}}}
    code, out, _ = study("ablate", settings, "--max-steps", "2", "--seeds", "2")
    assert code == 0
    assert out.startswith("Width?\n\nvariant ")
    assert "2 of 2" in out
    assert f"{tmp_path / 'out' / 'results.json'}, {tmp_path / 'out' / 'plot.png'}\nNext: " in out
    code, out, err = study("ablate", settings, "--max-steps", "2", "--seeds", "2", "--json", "--quiet")
    assert (code, err) == (0, "")
    assert [row["name"] for row in json.loads(out)["rows"]] == ["narrow", "wide"]


def test_search_prints_its_trials_and_the_best(study: Any, base: dict[str, Any]) -> None:
    pytest.importorskip("optuna", reason="the extra `search` is not installed")
    settings = {"base": base, "space": {"optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True}}, "trials": 9}
    code, out, _ = study("search", settings, "--trials", "1")
    assert code == 0
    assert out.startswith("trial ")
    assert "optimizer.lr" in out
    assert "best: trial 0" in out
    more = call(*sys.argv[1:-1], "2", "--quiet")  # goes on, in a process of its own: Optuna's warnings are for its developers
    assert (more.returncode, more.stderr) == (0, "")
    assert more.stdout.startswith("wrote ")


def test_ladder_says_why_there_is_no_fit(study: Any, base: dict[str, Any]) -> None:
    base = {key: value for key, value in base.items() if key != "max_steps"}
    settings = {
        "base": base,
        "sizes": {"a": {}, "b": {"model": {"d_ff": 8}}, "c": {"model": {"d_ff": 48}}},
        "tokens": [100, 200, 300],
    }
    code, out, _ = study("ladder", settings)
    assert code == 0
    assert out.startswith("run ")
    assert "no fit: " in out


@pytest.mark.parametrize("command", ["ablate", "search", "ladder"])
def test_a_study_names_the_field_that_is_wrong(study: Any, command: str, tmp_path: Path) -> None:
    code, out, err = study(command, {"bsae": {}})
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "field `bsae`" in err
    assert not (tmp_path / "out").exists()
