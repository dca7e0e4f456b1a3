"""Extraction: models that are known to remember, canaries and controls, files, page and command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import ts_data
import ts_eval
from ts_eval.cli import main
from ts_eval.errors import ConfigError
from ts_eval.schemas import ExtractionModel, ExtractionReport

LENGTHS, WORDS = (4, 12), 10
BEGINNING, STEPS = 32, 200
"""Ids of a story that the overfitted model learns, and its optimizer steps."""


class Parrot:
    """Continues a beginning of a story that it knows with that story, and others with `no`, if the prompt has enough words."""

    def __init__(self, name: str, stories: list[str], needs: int = 1) -> None:
        self.name, self.stories, self.needs = name, stories, needs

    def generate(self, prompts: list[str], **options: object) -> list[str]:
        assert options["method"] == "greedy"
        return [self._continued(prompt) for prompt in prompts]

    def _continued(self, prompt: str) -> str:
        known = [s for s in self.stories if s.startswith(prompt)] if len(prompt.split()) >= self.needs else []
        return known[0][len(prompt) :].upper() if known else " no no no"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory, stories: list[str]) -> Path:
    """Splits of 250 different stories, of which two stand three times in train, with two canaries for each number of copies."""
    folder = tmp_path_factory.mktemp("planted")
    texts = [*stories[:250], *stories[:2] * 2]
    (folder / "raw.txt").write_text("\n<|endoftext|>\n".join(texts), encoding="utf-8")
    config = ts_data.PrepareConfig(validation=10, test=40, canaries=2, deduplicate="none")
    ts_data.prepare(folder / "raw.txt", folder / "splits", config)
    return folder / "splits"


def shares(model: ExtractionModel, length: int) -> dict[tuple[str, int], float]:
    return {(p.group, p.times): p.share for p in model.points if p.prompt_words == length}


def test_canaries_of_a_model_that_remembers_what_it_saw_16_times(planted: Path) -> None:
    canaries = ts_data.read_canaries(planted)
    often = Parrot("often", [c.text for c in canaries if c.times >= 16])
    report = ts_eval.extraction(often, planted, lengths=LENGTHS, words=WORDS)
    found = shares(report.models[0], 12)
    assert {key: value for key, value in found.items() if key[0] in {"canaries", "controls"}} == {
        ("controls", 0): 0.0, ("canaries", 1): 0.0, ("canaries", 4): 0.0, ("canaries", 16): 1.0, ("canaries", 64): 1.0,
    }  # fmt: skip
    assert found["train", 1] == found["held-out", 0] == 0.0
    controls = next(p for p in report.models[0].points if p.group == "controls")
    assert (controls.stories, controls.extracted) == (8, 0)
    assert report.notes == ()


@pytest.fixture(scope="module")
def canaries_splits(tmp_path_factory: pytest.TempPathFactory, stories: list[str]) -> Path:
    """Splits of 150 stories with five canaries for each number of copies, and 20 controls."""
    folder = tmp_path_factory.mktemp("canaries")
    (folder / "raw.txt").write_text("\n<|endoftext|>\n".join(stories[:150]), encoding="utf-8")
    ts_data.prepare(folder / "raw.txt", folder / "splits", ts_data.PrepareConfig(validation=10, test=40, canaries=5))
    return folder / "splits"


@pytest.fixture(scope="module")
def overfitted(canaries_splits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Transformer trained on the beginnings of the training stories until it knows those it saw often."""
    import torch

    import ts_models
    import ts_tokenizer

    folder = tmp_path_factory.mktemp("overfitted")
    train = list(ts_data.read(canaries_splits, "train"))
    tokenizer = ts_tokenizer.WordTokenizer.train(train, vocab_size=2048)
    tokenizer.save(folder / "word_tokenizer.json")
    ids = [torch.tensor(story[:BEGINNING].astype("int64")) for story in tokenizer.encode_batch(train, add_special_tokens=True)]
    ids = torch.stack([story for story in ids if len(story) == BEGINNING])
    torch.manual_seed(1)
    config = ts_models.TransformerConfig(
        vocab_size=tokenizer.vocab_size, max_seq_len=128, d_model=64, n_heads=2, n_layers=2, d_ff=128
    )
    network = ts_models.build(config).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(STEPS):
        batch = ids[torch.randint(len(ids), (16,))]
        loss = torch.nn.functional.cross_entropy(network(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ts_models.save(network.eval(), folder / "overfitted", tokenizer=folder / "word_tokenizer.json")
    return folder / "overfitted"


def test_an_overfitted_model_gives_its_canaries_away_and_no_control(overfitted: Path, canaries_splits: Path) -> None:
    report = ts_eval.extraction(overfitted, canaries_splits, lengths=[12], words=WORDS, stories=20)
    found = {(p.group, p.times): p for p in report.models[0].points}
    assert found["canaries", 64].share >= 0.9
    assert (found["controls", 0].stories, found["controls", 0].extracted) == (20, 0)
    shares = [found["canaries", times].share for times in (1, 4, 16, 64)]
    assert shares == sorted(shares)
    assert shares[0] < 0.5


def test_a_curve_by_prompt_length_and_by_copies_in_train(planted: Path) -> None:
    train = list(ts_data.read(planted, "train"))
    canaries = {c.text for c in ts_data.read_canaries(planted)}
    once = [s for s in dict.fromkeys(train) if train.count(s) == 1 and s not in canaries]
    thrice = [s for s in dict.fromkeys(train) if train.count(s) == 3 and s not in canaries]
    report = ts_eval.extraction(
        [Parrot("half", once[::2], needs=10), Parrot("copies", thrice)], planted, lengths=LENGTHS, words=WORDS, stories=1000
    )
    half, copies = report.models
    point = next(p for p in half.points if (p.group, p.times, p.prompt_words) == ("train", 1, 12))
    long_enough = [s for s in once if len(s.split()) >= 30]
    assert point.stories >= len(long_enough)
    assert point.low < point.extracted / point.stories < point.high
    assert point.share == pytest.approx(0.5, abs=0.1)
    assert shares(half, 4)["train", 1] == 0.0, "it needs ten words"
    assert (shares(copies, 12).get(("train", 3)), shares(copies, 12)["train", 1]) == (1.0, 0.0)


def test_too_short_stories_and_models_that_cannot_write_are_refused(planted: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no story has 5,?0\d\d words"):
        ts_eval.extraction(Parrot("p", []), planted, lengths=[5000])
    (tmp_path / "told.txt").write_text("Once there was a cat.", encoding="utf-8")
    with pytest.raises(ConfigError, match="told: cannot generate"):
        ts_eval.extraction(tmp_path / "told.txt", planted, lengths=LENGTHS, words=WORDS)


def test_files_page_and_command(
    planted: Path,
    model_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    saved_tables: Callable[[str], dict[str, list[list[str]]]],
) -> None:
    words = [
        "extraction",
        model_folder,
        model_folder,
        "--data",
        planted,
        "--length",
        4,
        "--length",
        8,
        "--words",
        6,
        "--stories",
        3,
        "--name",
        "small",
        "--name",
        "other",
    ]
    monkeypatch.setattr("sys.argv", ["ts-eval", *map(str, words), "--out", str(tmp_path / "e"), "-q", "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    report = ExtractionReport.model_validate(json.loads(capsys.readouterr().out))
    assert report == ExtractionReport.model_validate_json((tmp_path / "e" / "extraction.json").read_bytes())
    assert report.models[0].points == report.models[1].points
    beyond = "3 of 3 stories (controls) cannot be extracted: the vocabulary lacks one of the 6 words after a prompt of 8"
    assert beyond in report.models[0].notes, "canaries have words that the model's 80 lack"
    assert not any("(train" in note for note in report.models[0].notes)
    page = (tmp_path / "e" / "extraction.html").read_text(encoding="utf-8")
    assert page.count('class="curve"') >= 4
    assert "held-out" in page
    assert beyond in page
    assert not any(mark in page for mark in ("http://", "https://", "<script", "src="))
    head, *rows = saved_tables(page)["extraction.csv"]
    assert head == ["Stories", "copies in train", "prompt, words", "small", "other"]
    assert len(rows) == len(report.models[0].points)
    first = report.models[1].points[0]
    assert rows[0][:3] == [f"{first.group} {first.stories} stories", str(first.times), "4"]
    assert rows[0][4].startswith(f"{100 * first.share:.1f} % {100 * first.low:.1f} – ")
    monkeypatch.setattr("sys.argv", ["ts-eval", *map(str, words), "-q"])
    with pytest.raises(SystemExit):
        main()
    out = capsys.readouterr().out
    assert "controls" in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_a_chart_of_shares_of_zero_has_no_negative_axis(splits: Path, tmp_path: Path) -> None:
    ts_eval.extraction(Parrot("p", []), splits, lengths=[4, 8], words=5, stories=2, out=tmp_path)
    page = (tmp_path / "extraction.html").read_text(encoding="utf-8")
    assert ">0</text>" in page
    assert ">-" not in page


def test_splits_without_canaries_say_so_and_do_not_warn(
    model_folder: Path, splits: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = ts_eval.extraction(Parrot("p", []), splits, lengths=[4], words=5, stories=2)
    assert report.notes == ("the splits have no canaries: `ts-data prepare --canaries` plants them",)
    words = ["extraction", model_folder, "--data", splits, "--length", 4, "--words", 5, "--stories", 2]
    monkeypatch.setattr("sys.argv", ["ts-eval", *map(str, words)])
    with pytest.raises(SystemExit):
        main()
    shown = capsys.readouterr()
    assert report.notes[0] in shown.out
    assert "canaries" not in shown.err


def test_a_story_counts_by_the_words_that_follow_its_prompt(tmp_path: Path) -> None:
    """A story of few blanks has words enough in all, and hardly any after the prompt: a model that ends there has extracted nothing."""
    joined = [
        " ".join(f"{a}-{b}-cat-dog-hat-mat-rat-bat" for b in "abcdefghijkl") + f" end{a}." for a in "abcdefghijklmnopqrstuvwxyz"
    ]
    (tmp_path / "raw.txt").write_text("".join(f"{text}\n<|endoftext|>\n" for text in joined), encoding="utf-8")
    ts_data.prepare(tmp_path / "raw.txt", tmp_path / "splits", ts_data.PrepareConfig(validation=2, test=4, deduplicate="none"))
    with pytest.raises(ConfigError, match="no story has"):
        ts_eval.extraction(Parrot("p", joined), tmp_path / "splits", lengths=[12], words=5)
