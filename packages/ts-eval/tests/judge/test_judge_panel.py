"""A panel of judges: agreement by hand, pooled ratings with equal weights, stories that not all rated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ts_eval.calibration import panel
from ts_eval.cli import main
from ts_eval.errors import ConfigError
from ts_eval.judge import judge_stories, read_ratings
from ts_eval.schemas import JudgeConfig, PanelReport, Rating, Scores

NAMES = ("grammar", "spelling", "consistency", "story", "creativity", "style")


def ratings_file(path: Path, judge: str, rows: dict[str, list[list[float]]], flags: tuple[str, ...] = ()) -> Path:
    """A ratings.jsonl: text → the six scores of each repeat."""
    lines = [
        Rating(story=i, text=text, source="m", repeat=r, mode="sampled", scores=Scores(**dict(zip(NAMES, scores, strict=True))),
               judge=judge, prompt="p", key=f"{i}-{r}", flags=flags if text == "flagged" else ())
        for i, (text, repeats) in enumerate(rows.items()) for r, scores in enumerate(repeats)
    ]  # fmt: skip
    path.write_text("".join(line.model_dump_json() + "\n" for line in lines), encoding="utf-8")
    return path


def test_pooled_ratings_give_each_judge_the_same_weight(tmp_path: Path) -> None:
    one = ratings_file(
        tmp_path / "a.jsonl", "a", {"x": [[2.0] * 6], "y": [[4.0] * 6], "only a": [[1.0] * 6], "flagged": [[1.0] * 6]}
    )
    two = ratings_file(
        tmp_path / "b.jsonl", "b", {"y": [[6.0] * 6, [8.0] * 6], "x": [[8.0] * 6, [8.0] * 6, [8.0] * 6], "flagged": [[9.0] * 6]}, ("rating",)
    )  # fmt: skip
    report = panel([one, two], out=tmp_path / "pooled.jsonl")
    assert report.judges == ("a (a.jsonl)", "b (b.jsonl)")
    assert (report.stories, report.left_out) == (2, 2)
    pooled = {r.text: r.scores.story for r in read_ratings(tmp_path / "pooled.jsonl") if r.scores}
    assert pooled == {"x": 5.0, "y": 5.5}
    assert report.means["b (b.jsonl)"]["style"] == 7.5
    assert report.pairs["a (a.jsonl) and b (b.jsonl)"]["story"]["mae"].value == (6 + 3) / 2
    assert "2 stories" in str(report.alpha["story"].refused)
    assert {r.judge for r in read_ratings(tmp_path / "pooled.jsonl")} == {"panel of 2"}


def test_alpha_is_krippendorffs(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    true = draw.integers(3, 9, (30, 6)).astype(float)
    files = []
    for name in ("a", "b", "c"):
        scores = np.clip(true + draw.integers(-1, 2, true.shape), 1, 10)
        files.append(ratings_file(tmp_path / f"{name}.jsonl", name, {f"s{i}": [row.tolist()] for i, row in enumerate(scores)}))
    report = panel(files)
    table = np.array([[r.scores.story for r in read_ratings(f) if r.scores] for f in files]).T
    within = np.mean([((row[:, None] - row[None, :]) ** 2).sum() / (3 * 2) for row in table])
    values = table.ravel()
    among = ((values[:, None] - values[None, :]) ** 2).sum() / (len(values) * (len(values) - 1))
    assert report.alpha["story"].value == pytest.approx(1 - within / among, abs=1e-4)
    assert len(report.pairs) == 3


def test_one_judge_and_different_stories_are_refused(tmp_path: Path) -> None:
    one = ratings_file(tmp_path / "a.jsonl", "a", {"x": [[2.0] * 6]})
    with pytest.raises(ConfigError, match="at least two judges"):
        panel([one])
    with pytest.raises(ConfigError, match="no story is rated by all judges"):
        panel([one, ratings_file(tmp_path / "b.jsonl", "b", {"y": [[2.0] * 6]})])
    with pytest.raises(ConfigError, match="is an input as well, which would be overwritten"):
        panel([one, one], out=one)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"Once there was a cat with {n} friends." for n in range(25)]
    for seed in (1, 2):
        judge_stories(
            texts,
            JudgeConfig(backend="fake", anchors=False, probe="off", seed=seed),
            out=tmp_path / f"{seed}.jsonl",
            store=tmp_path / "s.sqlite",
        )
    words = ["panel", str(tmp_path / "1.jsonl"), str(tmp_path / "2.jsonl"), "--out", str(tmp_path / "pooled.jsonl")]
    for more in ([], ["--json"]):
        monkeypatch.setattr("sys.argv", ["ts-eval", *words, *more])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        out = capsys.readouterr().out
        if more:
            assert PanelReport.model_validate(json.loads(out)).stories == 25
        else:
            assert "Krippendorff's alpha" in out
    assert len(read_ratings(tmp_path / "pooled.jsonl")) == 25


def test_raters_of_one_file_are_judges(tmp_path: Path) -> None:
    rows = [(rater, text, [dict.fromkeys(NAMES, score)]) for rater, scores in (("ada", (2, 4)), ("bob", (6, 9))) for text, score in zip("xy", scores, strict=True)]  # fmt: skip
    rows += [("bob", "y", []), ("bob", "y", [dict.fromkeys(NAMES, 8)]), ("ada", "z", [dict.fromkeys(NAMES, 5)])]
    path = tmp_path / "human.jsonl"
    path.write_text("".join(json.dumps({"story": t, "source": "m", "ratings": r, "rater": who}) + "\n" for who, t, r in rows))
    report = panel([path], out=tmp_path / "pooled.jsonl")
    assert report.judges == ("ada (human.jsonl)", "bob (human.jsonl)")
    assert (report.stories, report.left_out) == (2, 1)
    assert {r.text: r.scores.style for r in read_ratings(tmp_path / "pooled.jsonl") if r.scores} == {"x": 4.0, "y": 6.0}
    judge = ratings_file(tmp_path / "judge.jsonl", "j", {"x": [[4.0] * 6], "y": [[6.0] * 6]})
    assert panel([path, judge]).judges == ("ada (human.jsonl)", "bob (human.jsonl)", "j (judge.jsonl)")


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
    rows = {f"s{i}": [[2.0 + i % 5] * 6] for i in range(20)}
    one = ratings_file(tmp_path / "a" / "r.jsonl", "gpt", rows)
    two = ratings_file(tmp_path / "b" / "r.jsonl", "gpt", {text: [[9.0] * 6] for text in rows})
    report = panel([one, two])
    assert list(report.means) == list(report.judges) == [f"gpt ({one})", f"gpt ({two})"]
    with pytest.raises(ConfigError, match="named twice"):
        panel([one, tmp_path / "b" / ".." / "a" / "r.jsonl"])
