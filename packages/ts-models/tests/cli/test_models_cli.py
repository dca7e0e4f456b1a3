"""`list`, `show` and `export`: their words, their JSON, their errors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import ts_models
from ts_models.cli import app
from ts_models.console import run
from ts_models.export import FORMATS
from ts_models.presets import PRESETS


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        run(app, list(arguments))
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def test_list_names_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "list")
    assert code == 0
    assert "talk-35m        35,690,496" in out
    code, out, _ = _run(capsys, "list", "--json", "--batch", "16")
    content = json.loads(out)
    assert [row["preset"] for row in content["presets"]] == list(PRESETS)
    first = content["presets"][0]
    assert first["training_bytes"] > first["inference_bytes"] > 4 * first["parameters"]
    assert first["flops_per_token"] > first["parameters"]


def test_show_knows_the_nearest_preset(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, told = _run(capsys, "show", "stroy-1m")
    assert code == 2
    assert "Did you mean 'story-1m'?" in told


def test_show_a_preset_and_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, out, _ = _run(capsys, "show", "talk-5m", "--json")
    shown = json.loads(out)
    assert sum(shown["parts"].values()) == 5_009_684
    assert list(shown["parts"]) == ["embedding", "attention", "feed_forward", "norms", "unembedding"]
    model = ts_models.build("story-1m", vocab_size=20, d_model=8, n_heads=2, head_dim=4, n_layers=1, d_ff=12)
    summary = ts_models.TrainingSummary(parameters=3, steps=7, tokens=9, seconds=1.5, optimizer="muon", samples=["A cat sat."])
    ts_models.save(model, tmp_path / "mine", training=summary)
    code, out, _ = _run(capsys, "show", str(tmp_path / "mine"))
    assert code == 0
    assert "optimizer = muon" in out
    assert "# mine" in out
    assert out.count("A cat sat.") == 1
    assert "library_name" not in out
    assert f"{sum(p.numel() for p in model.parameters()):,}" in out


def test_errors_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = _run(capsys, "show", "talk-7m")
    assert (code, out) == (2, "")
    assert err.startswith("error: no preset named 'talk-7m'. Did you mean 'talk-5m'?")
    assert err.count("\n") == 1
    ts_models.save(
        ts_models.build("story-1m", vocab_size=20, d_model=8, n_heads=2, head_dim=4, n_layers=1, d_ff=12), tmp_path / "m"
    )
    code, _, err = _run(capsys, "export", str(tmp_path / "m"), "--format", "pdf", "--out", str(tmp_path / "x"))
    assert code == 2
    assert f"There are: {', '.join(FORMATS)}" in err


def test_export_prints_one_json_object(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="needs the extra gguf")
    ts_models.save(
        ts_models.build("story-1m", vocab_size=20, d_model=8, n_heads=2, head_dim=4, n_layers=1, d_ff=12), tmp_path / "m"
    )
    out = tmp_path / "m.gguf"
    code, text, _ = _run(capsys, "export", str(tmp_path / "m"), "--format", "gguf", "--out", str(out), "--json", "--quiet")
    assert code == 0
    assert json.loads(text)["bytes"] == out.stat().st_size


def test_a_quiet_export_prints_where_it_wrote(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = ts_models.build("story-1m", vocab_size=20, d_model=8, n_heads=2, head_dim=4, n_layers=1, d_ff=12)
    given, out = ts_models.save(model, tmp_path / "m"), tmp_path / "small"
    code, text, _ = _run(capsys, "export", str(given), "--format", "transformers", "--out", str(out), "--quiet")
    assert (code, text) == (0, f"wrote {out}\n")


def test_an_export_prints_five_digits_of_what_it_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = ts_models.build("story-1m", vocab_size=20, d_model=8, n_heads=2, head_dim=4, n_layers=1, d_ff=12)
    code, text, _ = _run(
        capsys, "export", str(ts_models.save(model, tmp_path / "m")), "--format", "int8", "--out", str(tmp_path / "small")
    )
    assert code == 0
    assert re.search(r"^loss_before: \d\.\d{1,4}$", text, re.MULTILINE), text
    assert "{" not in text


def test_export_spares_what_is_no_export_and_names_bad_stories(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "diary.txt").write_text("dear diary", encoding="utf-8")
    for out in (mine, mine / "diary.txt"):
        code, _, err = _run(capsys, "export", "demo", "--format", "int8", "--out", str(out))
        assert code == 2
        assert "left alone" in err
    assert (mine / "diary.txt").read_text(encoding="utf-8") == "dear diary"
    code, _, err = _run(capsys, "export", "demo", "--format", "gguf", "--out", str(mine))
    assert code == 2
    assert "model.gguf" in err
    for content, words in ((b"\xff\xfe\x00", "not UTF-8"), (b" \n", "no story")):
        (tmp_path / "stories.txt").write_bytes(content)
        code, _, err = _run(
            capsys, "export", "demo", "--format", "int8", "--out", str(tmp_path / "new"), "--text", str(tmp_path / "stories.txt")
        )
        assert code == 2
        assert words in err
        assert not (tmp_path / "new").exists()


def test_a_preset_is_no_model_yet(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = _run(capsys, "generate", "talk-1m")
    assert code == 2
    assert "ts-train run --preset talk-1m" in err


def test_list_fits_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = _run(capsys, "list")
    assert max(map(len, out.splitlines())) <= 80
