"""What goes wrong in odd places, streams and siblings is one sentence with exit code 2, and leaves nothing behind."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ..commands import call, tree

PACKAGES = ("ts_data", "ts_tokenizer", "ts_models", "ts_train", "ts_eval")
LONG = "a" * 300


@pytest.mark.parametrize("package", PACKAGES)
def test_every_error_of_every_package_says_that_it_is_expected(package: str) -> None:
    """`console.run` asks the error, so that no command keeps a list of its siblings' errors."""
    errors = importlib.import_module(f"{package}.errors")
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert kinds
    assert all(kind.is_expected for kind in kinds)


@pytest.fixture
def place(artefacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(artefacts, tmp_path / "p")
    monkeypatch.chdir(tmp_path / "p")
    return tmp_path / "p"


def spoil(change: str) -> None:
    """A word_tokenizer.json that its package refuses, wherever one lies."""
    for file in Path().rglob("word_tokenizer.json"):
        content = json.loads(file.read_bytes())
        content = {**content, "schema_version": 99} if change == "newer" else {**content, "vocab": 5}
        file.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("change", ["newer", "invalid"])
@pytest.mark.parametrize(
    "line",
    [
        "ts-models generate run/model",
        "ts-models neighbours run/model dog",
        "ts-models prompts run/model",
        "ts-models play run/model --port 0",
        "ts-models export run/model --format transformers --out new",
        "ts-tokenizer check encoded/word_tokenizer.json splits",
        "ts-eval report run/model --data splits --out new",
        "ts-eval perplexity run/model --data splits",
        "ts-eval sweep run/model --data splits",
        "ts-train run --data encoded --out new --max-steps 1",
    ],
)
def test_an_error_of_a_sibling_is_a_sentence(line: str, change: str, place: Path) -> None:
    if "play" in line:
        pytest.importorskip("starlette", reason="the page needs an extra")
    spoil(change)
    done = call(line)
    assert (done.code, done.lines) == (2, 1), done.stderr
    assert "tokenizer" in done.stderr
    assert not [file for file in Path("new").rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    "line",
    [
        "ts-data prepare raw.txt --out /",
        f"ts-data prepare raw.txt --out {LONG}",
        f"ts-data prepare {LONG} --out new",
        "ts-data prepare raw.txt --out told.jsonl/new",
        "ts-data prepare deep.jsonl --out new",
        "ts-data prepare double.parquet --out new",
        "ts-data sample --stories 3 --out /",
        f"ts-data sample --stories 3 --out {LONG}",
        "ts-data sample --stories 3 --out /dev/null",
        "ts-data sample --stories 3 --out raw.txt/new",
        "ts-tokenizer train splits --out /dev/null",
        f"ts-tokenizer encode splits -t lower.json --out {LONG}",
        "ts-models export run/model --format int8 --out /",
        f"ts-models show {LONG}",
        f"ts-train run --data encoded --out {LONG} --max-steps 1",
        "ts-train run --data encoded --out / --max-steps 1",
        "ts-train run --data encoded --out new --max-steps 1 --set device=gpu",
        "ts-train run --data encoded --out new --max-steps 1 --set device=cuda:77",
        "ts-train plot run --out /dev/null",
        f"ts-eval report run/model --data splits --out {LONG}",
        f"ts-eval report run/model --data {LONG} --out new",
        f"ts-eval judge told.jsonl --backend fake --out {LONG}",
        "ts-eval judge told.jsonl --backend fake --out /dev/null",
        "ts-eval report deep --data splits --out new",
    ],
)
def test_an_odd_place_is_a_sentence(line: str, place: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = importlib.import_module("pyarrow")
    parquet.write_table(arrow.table([arrow.array(["a"]), arrow.array(["b"])], names=["text", "text"]), "double.parquet")
    Path("deep.jsonl").write_text('{"text": ' + "[" * 100_000 + "]" * 100_000 + "}\n", encoding="utf-8")
    shutil.copytree("run/model", "deep")
    Path("deep/config.json").write_text("[" * 100_000, encoding="utf-8")
    before = tree(place)
    done = call(line)
    assert (done.code, done.lines) == (2, 1), done.stderr
    assert done.stderr.startswith("error: ")
    assert tree(place) == before


@pytest.mark.skipif(os.name != "posix", reason="a shell")
@pytest.mark.parametrize(
    ("script", "code"),
    [
        ('"$0" -m ts_data prepare <(cat raw.txt) --out new -q --validation 20 >/dev/null', 0),
        ('cat raw.txt | "$0" -m ts_data prepare /dev/stdin --out new -q --validation 20 >/dev/null', 0),
        ('"$0" -m ts_data prepare - --out new -q <&-', 2),
        ("\"$0\" -m ts_data prepare $'caf\\xe9.txt' --out new -q", 2),
        ("cp raw.txt $'caf\\xe9.txt'; \"$0\" -m ts_data prepare $'caf\\xe9.txt' --out new -q", 2),
        ('"$0" -c "from ts_models.cli import main; main()" generate demo -q --prompt $\'caf\\xe9\'', 2),
        ('"$0" -m ts_data stats splits > /dev/full', 2),
        ('"$0" -m ts_data prepare raw.txt --out new --validation 20 >/dev/null 2>/dev/full', 0),
        ('"$0" -m ts_data prepare raw.txt --out new --validation 20 2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}', 0),
        ('PYTHONIOENCODING=ascii "$0" -m ts_data show splits >/dev/null', 0),
    ],
)
def test_streams_of_a_shell(script: str, code: int, place: Path) -> None:
    done = subprocess.run(["/bin/bash", "-c", script, sys.executable], capture_output=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    assert done.stderr.count(b"\n") == (code != 0), done.stderr
    assert not [path for path in Path().rglob(".*") if ".ts-" in path.name]


PRESS = """
import importlib.abc, os, signal, sys
class Press(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *_):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Press())
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's child would be deaf
from PACKAGE.__main__ import main
main()
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_an_error_keeps_its_exit_code_where_stderr_takes_nothing() -> None:
    for redirection in ("2>/dev/full", "2>&-", ">/dev/full 2>/dev/full"):
        script = f'"$0" -m ts_data stats nothing-here {redirection}'
        done = subprocess.run(["/bin/bash", "-c", script, sys.executable], capture_output=True, check=False)
        assert (redirection, done.returncode, done.stderr) == (redirection, 2, b"")


@pytest.mark.skipif(os.name != "posix", reason="SIGINT")
@pytest.mark.parametrize("package", PACKAGES)
def test_ctrl_c_while_a_command_loads_is_no_traceback(package: str) -> None:
    script = tomllib.loads(
        Path(__file__).parents[2].joinpath(f"packages/{package}/pyproject.toml".replace("_", "-")).read_text("utf-8")
    )
    assert set(script["project"]["scripts"].values()) == {f"{package}.__main__:main"}
    done = subprocess.run([sys.executable, "-c", PRESS.replace("PACKAGE", package), "--help"], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")
