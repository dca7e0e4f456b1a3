"""The page of `ts-models look`: its numbers against the network's own, the file, the command."""

from __future__ import annotations

import base64
import json
import re
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import ts_models
from ts_models import ConfigError, LanguageModel, trace
from ts_models.cli import app
from ts_models.errors import ContextError

TEXT = "w1 w2 w3 w1 w2 w4 w1"
IDS = [61, 1, 2, 3, 1, 2, 4, 1]


@pytest.fixture
def numbers(lm, tmp_path):
    return ts_models.look(lm, TEXT, tmp_path / "look.html")


def test_surprise_is_the_networks_own(lm, numbers):
    scores = ts_models.score_ids(lm.model, [IDS])[0]
    assert [item["p"] for item in numbers["surprise"]] == pytest.approx(np.exp(scores).tolist(), rel=1e-4)
    assert [item["bits"] for item in numbers["surprise"]] == pytest.approx((-scores / np.log(2)).tolist(), abs=2e-3)
    assert numbers["words"] == ["<bos>", *TEXT.split()]
    assert numbers["surprise"][0]["likely"][0][1] == max(chance for _, chance in numbers["surprise"][0]["likely"])


def test_attention_is_the_traced_pattern_in_bytes(lm, numbers):
    with torch.no_grad(), trace(lm, "blocks.*.attention.pattern") as t:
        lm.model(torch.tensor([IDS]))
    for layer, text in enumerate(numbers["attention"]):
        stored = np.frombuffer(base64.b64decode(text), np.uint8).reshape(4, 8, 8) / 255
        np.testing.assert_allclose(stored, t[f"blocks.{layer}.attention.pattern"][0].numpy(), atol=1 / 255)


@pytest.mark.parametrize(
    ("reads", "label", "share", "distance"),
    [
        (lambda i: max(i - 1, 0), "previous token", "previous", 1.0),
        (lambda i: 0, "first token", "first", 4.0),
        (lambda i: i, "itself", "itself", 0.0),
        (lambda i: {1: 0, 3: 2, 4: 1, 5: 2, 7: 4}.get(i, i), "same word", "same", 11 / 7),
    ],
)
def test_heads_are_described_by_what_they_read(lm, tmp_path, monkeypatch, reads, label, share, distance):
    """A head whose pattern is known, because it is put there: previous token, first token, the token itself, the same word before."""
    pattern = torch.zeros(8, 8)
    for i in range(8):
        pattern[i, reads(i)] = 1

    @contextmanager
    def known(model, *patterns):
        with trace(model, *patterns) as t:
            t.replace("blocks.1.attention.pattern", pattern, index=np.s_[:, 2])
            yield t

    monkeypatch.setattr("ts_models.inspection.analysis.trace", known)
    head = ts_models.look(lm, TEXT, tmp_path / "look.html")["heads"][4 + 2]
    assert (head["layer"], head["head"]) == (1, 2)
    assert head["label"] == label
    assert head["distance"] == pytest.approx(distance, abs=1e-3)
    assert head[share] == max(head[name] for name in ("previous", "itself", "first", "same"))
    assert head["entropy"] == 0


def test_the_last_row_of_the_lens_is_the_answer(lm, numbers):
    with torch.no_grad():
        chances = lm.model(torch.tensor([IDS]))[0].softmax(-1)
    assert len(numbers["lens"]) == 2
    for place, cell in enumerate(numbers["lens"][-1]):
        assert cell["top"][0][0] == lm.vocabulary()[int(chances[place].argmax())]
        assert cell["top"][0][1] == pytest.approx(float(chances[place].max()), abs=1e-3)
        if place < 7:
            assert cell["next"] == pytest.approx(numbers["surprise"][place]["p"], abs=1e-3)


def test_neurons_are_the_strongest_and_promote_what_their_column_writes(lm, numbers):
    with torch.no_grad(), trace(lm, "blocks.*.feed_forward.post") as t:
        lm.model(torch.tensor([IDS]))
    for layer in range(2):
        down = lm.model.blocks[layer].feed_forward.down.weight
        activations = t[f"blocks.{layer}.feed_forward.post"][0]
        strength = activations.abs().amax(0) * down.norm(dim=0)
        found = [neuron for neuron in numbers["neurons"] if neuron["layer"] == layer]
        assert [neuron["neuron"] for neuron in found] == strength.topk(len(found)).indices.tolist()
        first = found[0]
        assert first["values"] == pytest.approx(activations[:, first["neuron"]].tolist(), abs=1e-3)
        sign = 1 if first["peak"] >= 0 else -1
        effect = (sign * down[:, first["neuron"]] * lm.model.norm.weight) @ lm.model.embedding.weight.T
        effect[[61, 62, 63]] = -torch.inf
        assert first["promotes"] == [lm.vocabulary()[i] for i in effect.topk(6).indices.tolist()]


def test_neighbours_are_those_of_the_language_model(lm, numbers):
    assert list(numbers["map"]["near"]) == [point["word"] for point in numbers["map"]["points"]]
    for word, near in numbers["map"]["near"].items():
        assert near == [[token, round(cosine, 3)] for token, cosine in lm.neighbours(word, k=6)]
    assert {point["word"] for point in numbers["map"]["points"] if point["own"]} == {"w1", "w2", "w3", "w4"}


def test_every_kind_of_network_has_a_page(network, lm, tmp_path):
    found = ts_models.look(LanguageModel(network, lm.tokenizer), TEXT, tmp_path / "look.html", max_new_tokens=3)
    assert len(found["words"]) == len(found["surprise"]) + 1 > 8
    assert bool(found["attention"]) == (network.config.kind == "transformer")
    assert len(found["lens"]) == network.config.n_layers
    assert found["neurons"]


def test_words_that_are_all_unknown_have_no_map(lm, tmp_path):
    found = ts_models.look(lm, "zyzzyva zyzzyvas", tmp_path / "look.html")
    assert found["unknown"] == ["zyzzyva", "zyzzyvas"]
    assert found["map"]["points"] == []
    assert len(found["surprise"]) == 2


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_is_one_file_that_asks_for_nothing(lm, numbers, tmp_path):
    page = (tmp_path / "look.html").read_text(encoding="utf-8")
    assert data_of(page) == numbers
    assert "default-src 'none'" in page
    assert not re.findall(r"(?:src|href)=|url\(|@import|fetch\(|/\*(?:style|script|data)\*/", page)


def test_no_word_ends_the_script(lm, tmp_path):
    lm.tokenizer.vocab = ("</script><script>alert(1)</script>", *lm.tokenizer.vocab[1:])
    found = ts_models.look(lm, "</script><script>alert(1)</script> w1", tmp_path / "look.html")
    page = (tmp_path / "look.html").read_text(encoding="utf-8")
    assert "alert(1)</script>" not in page
    assert data_of(page)["words"][1] == found["words"][1] == "</script><script>alert(1)</script>"


def test_what_cannot_be_shown_is_refused(lm, tmp_path):
    with pytest.raises(ContextError, match="the text has 61 tokens; from 2 to 48"):
        ts_models.look(lm, "w1 " * 60, tmp_path / "look.html")
    with pytest.raises(ContextError, match="the text has 1 tokens"):
        ts_models.look(lm, "", tmp_path / "look.html")
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(ConfigError, match="left alone"):
        ts_models.look(lm, TEXT, tmp_path / "mine.html")
    assert (tmp_path / "mine.html").read_text() == "mine"
    for _ in range(2):  # its own page may be replaced
        ts_models.look(lm, TEXT, tmp_path / "look.html")


def test_the_command(lm, tmp_path, monkeypatch):
    monkeypatch.setattr("ts_models.inspection.page.load", lambda name: lm)
    done = CliRunner().invoke(app, ["look", "m", TEXT + " qwertz", "--out", str(tmp_path / "look.html")])
    assert done.exit_code == 0, done.output
    assert "the vocabulary lacks 'qwertz'" in done.output
    assert re.search(r"^ *1\.3 ", done.output, re.MULTILINE)
    bits = -ts_models.score_ids(lm.model, [[*IDS, 62]])[0].mean() / np.log(2)
    assert done.stdout.endswith(f"8 tokens, {bits:.2f} bits each\nNext: open {tmp_path / 'look.html'} in a browser\n")
    done = CliRunner().invoke(app, ["look", "m", TEXT, "--out", str(tmp_path / "look.html"), "--quiet"])
    assert re.fullmatch(rf"wrote {tmp_path}/look.html: 7 tokens, .* bits each\n", done.output), "no table"
    done = CliRunner().invoke(app, ["look", "m", TEXT, "--out", str(tmp_path / "look.html"), "--json", "--quiet"])
    assert '"model":"transformer: transformer, 18,112 parameters' in (tmp_path / "look.html").read_text(encoding="utf-8")
    found = json.loads(done.stdout)
    assert (found["tokens"], len(found["heads"]), len(found["surprise"])) == (8, 8, 7)
