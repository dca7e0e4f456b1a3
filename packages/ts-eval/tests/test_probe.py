"""Minimal pairs: what no adversary can solve, scores by hand, ties, checkpoints, files and the command."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ts_data
import ts_eval
from ts_eval.cli import main
from ts_eval.errors import ArtefactError, ConfigError
from ts_eval.probing.grammar import Pair, draw_pairs, phenomena, tokens
from ts_eval.probing.probe import NGrams, accuracy
from ts_eval.schemas import ProbeReport
from ts_models.errors import TsModelsError

Tables = Callable[[str], dict[str, list[list[str]]]]
ALL = {name: draw_pairs(phenomenon, 200) for name, phenomenon in phenomena().items()}
GOOD = [pair.good for pairs in ALL.values() for pair in pairs]


class Scorer:
    """A model with a log-probability for each sentence."""

    def __init__(self, name: str, score: Any) -> None:
        self.name, self.score = name, score

    def logprobs(self, texts: list[str]) -> list[list[float]]:
        return [[self.score(text)] for text in texts]


def shorter(text: str) -> float:
    """Prefers the shorter sentence."""
    return -float(len(text))


# --- the pairs ---------------------------------------------------------------------------------


def test_there_are_thirty_phenomena_of_200_different_pairs() -> None:
    assert len(ALL) >= 30
    for name, pairs in ALL.items():
        assert len(set(pairs)) == 200, name
        assert all(pair.good != pair.bad and "{" not in pair.good + pair.bad for pair in pairs), name
        assert all(p.good.partition(" ")[0] == p.good.partition(" ")[0].capitalize() or p.good[0] == '"' for p in pairs), name
    assert not {pair.good for pairs in ALL.values() for pair in pairs} & {pair.bad for pairs in ALL.values() for pair in pairs}


def test_pairs_depend_on_the_seed_alone() -> None:
    phenomenon = phenomena()["name_kept"]
    assert draw_pairs(phenomenon, 20, 7) == draw_pairs(phenomenon, 20, 7) != draw_pairs(phenomenon, 20, 8)


def test_each_draw_swaps_targets_between_contexts() -> None:
    for name, pairs in ALL.items():
        for one, two in zip(pairs[::2], pairs[1::2], strict=True):
            assert sorted(tokens(one.good + two.good)) == sorted(tokens(one.bad + two.bad)), name


def test_no_adversary_solves_a_phenomenon_even_with_the_right_sentences_as_training_stories() -> None:
    ngrams = NGrams(GOOD, [text for pairs in ALL.values() for pair in pairs for text in (pair.good, pair.bad)])
    for name, pairs in ALL.items():
        assert accuracy(pairs, shorter).accuracy == 0.5, name
        assert accuracy(pairs, ngrams.unigram).accuracy == 0.5, name
        if phenomena()[name].local:
            assert accuracy(pairs, ngrams.trigram).accuracy > 0.9, f"{name} is labelled local"
        else:
            assert accuracy(pairs, ngrams.trigram).accuracy == 0.5, name
    assert [name for name, p in phenomena().items() if p.local] == ["determiner_a_an", "pronoun_case"]


def test_too_many_pairs_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"pairs: agreement_reflexive gives about .* different pairs, 2000 are wanted"):
        draw_pairs(phenomena()["agreement_reflexive"], 2_000)


def test_the_words_occur_in_real_stories(real_stories: list[str]) -> None:
    known = {word for story in real_stories for word in tokens(story)}
    used = {word for pairs in ALL.values() for pair in pairs for word in tokens(pair.good)}
    assert used - known == set()


def test_a_trigram_by_hand() -> None:
    ngrams = NGrams(["a b a", "a b"], ["a b"])
    # words a, b, other, end: counts a 3, b 2, end 2; after (start, start): a, a
    size, total = 4, 7
    one = {"a": (3 + 1) / (total + size), "b": (2 + 1) / (total + size)}
    # after start: a twice, one kind; after a: b twice, end once, two kinds; after (start, start): a twice, one kind
    first = (2 + 1 * (2 + 1 * one["a"]) / (2 + 1)) / (2 + 1)
    second = (2 + 1 * (2 + 2 * one["b"]) / (3 + 2)) / (2 + 1)
    assert ngrams.unigram("a b") == pytest.approx(math.log(one["a"]) + math.log(one["b"]))
    got = math.fsum(ngrams.logprobs(["a", "b"])[:2])
    assert got == pytest.approx(math.log(first) + math.log(second))


# --- scores ------------------------------------------------------------------------------------


def test_a_tie_is_half_and_the_interval_is_wilsons() -> None:
    from scipy.stats import binomtest

    pairs = [Pair(f"good {i}", f"bad {i}") for i in range(10)]
    likelihood = {**{f"good {i}": 0.0 for i in range(10)}, **{f"bad {i}": -1.0 if i < 6 else 1.0 for i in range(10)}}
    found = accuracy(pairs, likelihood.__getitem__)
    expected = binomtest(6, 10).proportion_ci(method="wilson")
    assert (found.accuracy, found.ties) == (0.6, 0)
    assert (found.low, found.high) == (round(expected.low, 4), round(expected.high, 4))
    for i in (0, 1, 8):
        likelihood[f"bad {i}"] = 1e-12
    tied = accuracy(pairs, likelihood.__getitem__)
    assert (tied.accuracy, tied.ties) == ((4 + 1.5) / 10, 3)


def test_models_of_known_knowledge() -> None:
    good = set(GOOD)
    knows, inverted = Scorer("knows", lambda t: float(t in good) - 2), Scorer("inverted", lambda t: -float(t in good) - 2)
    blind = Scorer("blind", lambda t: -1.0)
    report = ts_eval.probe([knows, inverted, blind], pairs=20)
    assert [m.accuracy for m in report.models] == [1.0, 0.0, 0.5]
    assert [m.name for m in report.models] == ["knows", "inverted", "blind"]
    assert {s.ties for s in report.models[2].scores.values()} == {20}
    assert report.models[0].groups == dict.fromkeys(report.models[0].groups, 1.0)
    assert {p.adversaries["length"] for p in report.phenomena} == {0.5}


def test_only_some_phenomena() -> None:
    report = ts_eval.probe(Scorer("m", shorter), pairs=4, only=["names", "cause_need"])
    assert [p.name for p in report.phenomena] == ["name_kept", "name_pet", "cause_need"]
    with pytest.raises(ConfigError, match="there is no phenomenon 'nmaes'"):
        ts_eval.probe(Scorer("m", shorter), only=["nmaes"])


def test_a_model_without_log_probabilities_is_refused(tmp_path: Path) -> None:
    (tmp_path / "told.txt").write_text("Once there was a cat.", encoding="utf-8")
    with pytest.raises(ConfigError, match="told: gives no log-probabilities"):
        ts_eval.probe(tmp_path / "told.txt", pairs=2)


# --- a folder's model --------------------------------------------------------------------------


def test_the_scores_are_the_models_log_probabilities_and_equal_ids_tie(model_folder: Path) -> None:
    import ts_models

    report = ts_eval.probe(model_folder, pairs=10, only=["cause_need", "agreement_have", "name_kept"])
    lm = ts_models.load(model_folder)
    for phenomenon in report.phenomena:
        pairs = draw_pairs(phenomena()[phenomenon.name], 10)
        score = {t: float(lm.logprobs([t])[0].sum(dtype="f8")) for pair in pairs for t in (pair.good, pair.bad)}
        equal = [p for p in pairs if lm.encode_story(p.good) == lm.encode_story(p.bad)]
        right = sum(score[p.good] > score[p.bad] for p in pairs if p not in equal)
        found = report.models[0].scores[phenomenon.name]
        assert found.accuracy == (right + len(equal) / 2) / 10
        assert found.ties == len(equal)
    assert report.models[0].scores["cause_need"].ties > 0, "80 words do not distinguish hungry and thirsty"


def test_adversaries_of_training_stories(splits: Path) -> None:
    report = ts_eval.probe(Scorer("m", shorter), data=splits, pairs=8)
    assert report.train_stories == len(ts_data.read(splits, "train"))
    for p in report.phenomena:
        assert list(p.adversaries) == ["length", "unigram", "trigram"]
        assert p.local or set(p.adversaries.values()) == {0.5}


@pytest.fixture
def run_folder(model_folder: Path, tmp_path: Path) -> Path:
    """A run with two checkpoints as ts_train writes them: one of random weights, one of the model's own."""
    import torch
    from safetensors.torch import load_file, save_file

    run = tmp_path / "run"
    shutil.copytree(model_folder, run / "model")
    weights = load_file(run / "model" / "model.safetensors")
    torch.manual_seed(5)
    for step, change in ((10, 0.5), (20, 0.0)):
        folder = run / "checkpoints" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        noisy = {f"model.{k}": v + change * torch.randn_like(v) for k, v in weights.items()}
        save_file({**noisy, "optimizer.0.exp_avg": torch.zeros(2)}, folder / "tensors.safetensors")
        (folder / "state.json").write_text(json.dumps({"step": step, "tokens": 100 * step}), encoding="utf-8")
    return run


def test_acquisition_over_checkpoints(run_folder: Path, tmp_path: Path, saved_tables: Tables) -> None:
    only = ["agreement", "names"]
    report = ts_eval.probe(run_folder / "model", checkpoints=run_folder, pairs=10, only=only, out=tmp_path / "probe")
    first, last = report.acquisition
    assert [(c.step, c.tokens) for c in report.acquisition] == [(10, 1000), (20, 2000)]
    assert last.scores == report.models[0].scores
    assert first.scores != last.scores
    text = (tmp_path / "probe" / "probe.html").read_text(encoding="utf-8")
    assert text.count('class="curve"') == 2
    head, *rows = saved_tables(text)["acquisition.csv"]
    assert head == ["step", "tokens", "mean", "agreement", "names"]
    assert rows[0] == [
        "10",
        "1000",
        *(f"{100 * x:.1f}" for x in (first.accuracy, first.groups["agreement"], first.groups["names"])),
    ]
    assert rows[1][:2] == ["20", "2000"]
    shutil.rmtree(run_folder / "checkpoints" / "step-00000020")
    (run_folder / "checkpoints" / "step-00000010" / "tensors.safetensors").write_bytes(b"damaged")
    with pytest.raises(ArtefactError, match=r"tensors.safetensors: cannot be read"):
        ts_eval.probe(run_folder / "model", checkpoints=run_folder, pairs=2, only=only)
    with pytest.raises(ArtefactError, match=r"has no checkpoints\. Train with --checkpoint-every"):
        ts_eval.probe(run_folder / "model", checkpoints=run_folder / "model", pairs=2, only=only)


def test_a_checkpoint_that_does_not_hold_is_named(run_folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = run_folder / "checkpoints" / "step-00000010" / "state.json"
    file = state.with_name("tensors.safetensors")
    tensors = load_file(file)
    first = next(name for name in tensors if name.startswith("model."))
    damaged = [{**tensors, first: tensors[first].flatten()[:1]}, {k: v for k, v in tensors.items() if k != first}]
    for weights in damaged:
        save_file(weights, file)
        with pytest.raises(TsModelsError, match=r"tensors\.safetensors: tensor "):
            ts_eval.probe(run_folder / "model", checkpoints=run_folder, pairs=2, only=["names"])
    for content in ("{}", '{"step": "x", "tokens": 1}', '{"step": 1, "tokens": 1e999}'):
        state.write_text(content, encoding="utf-8")
        with pytest.raises(ArtefactError, match=r"state\.json: `step` and `tokens` are no whole numbers"):
            ts_eval.probe(run_folder / "model", checkpoints=run_folder, pairs=2, only=["names"])


# --- files and the command ---------------------------------------------------------------------


def test_the_artefact_and_the_page(tmp_path: Path, saved_tables: Tables) -> None:
    report = ts_eval.probe([Scorer("<b>one</b>", shorter), Scorer("two", lambda t: -1.0)], pairs=4, out=tmp_path / "p")
    assert ProbeReport.model_validate_json((tmp_path / "p" / "probe.json").read_bytes()) == report
    page = (tmp_path / "p" / "probe.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;one&lt;/b&gt;" in page
    assert "<b>one</b>" not in page
    assert page.count('class="score"') == 2 * len(ALL)
    head, mean, *rows = saved_tables(page)["probe.csv"]
    assert head == ["phenomenon", "group", "<b>one</b>", "two", "length"]
    assert mean == ["mean", "", "50.0", "50.0", ""]
    assert [row[0] for row in rows] == list(ALL)
    score = report.models[1].scores[rows[0][0]]
    assert rows[0][3:] == [f"50.0 [{100 * score.low:.1f}, {100 * score.high:.1f}]", "50.0"]
    assert not any(mark in page for mark in ("http://", "https://", "<script", "src="))


def test_foreign_files_are_left_alone(tmp_path: Path, model_folder: Path) -> None:
    (tmp_path / "probe.html").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"probe.html: is there and is no earlier probe"):
        ts_eval.probe(Scorer("m", shorter), pairs=2, out=tmp_path)
    (tmp_path / "probe.json").write_text('{"format": "other"}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"probe.json: is there and is not an earlier ts-eval/probe file"):
        ts_eval.probe(Scorer("m", shorter), pairs=2, out=tmp_path)
    with pytest.raises(ConfigError):
        ts_eval.probe(str(model_folder), pairs=2, out=model_folder)
    assert (tmp_path / "probe.html").read_text(encoding="utf-8") == "mine"


def command(*words: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["ts-eval", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0), *capsys.readouterr()


def test_the_command(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("probe", model_folder, "--pairs", 4, "--only", "names", "--only", "determiner_a_an")
    code, out, err = command(*words, "--out", tmp_path / "p", capsys=capsys, monkeypatch=monkeypatch)
    assert code == 0
    assert "determiner_a_an (local)" in out
    assert f"wrote {tmp_path / 'p' / 'probe.html'}" in out
    assert "\nlocal: a trigram sees what decides\n" in out
    assert "warning" not in err
    assert all(len(line) <= 80 for line in out.splitlines() if str(tmp_path) not in line)
    code, out, _ = command(*words, "--json", "--name", "mine", capsys=capsys, monkeypatch=monkeypatch)
    assert (code, json.loads(out)["format"]) == (0, "ts-eval/probe")
    assert [m["name"] for m in json.loads(out)["models"]] == ["mine"]
    code, _, err = command(*words, "--name", "a", "--name", "b", capsys=capsys, monkeypatch=monkeypatch)
    assert code == 2
    assert "2 names for 1 models; give one name for each model, in their order." in err
    code, _, err = command("probe", tmp_path / "nothing", capsys=capsys, monkeypatch=monkeypatch)
    assert (code, err.count("\n")) == (2, 1)
