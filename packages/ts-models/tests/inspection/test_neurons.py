"""`ts-models neurons`: passages against a pass over each story by hand, the page, the table, the command."""

from __future__ import annotations

import base64
import json
import os
import re
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ts_models import ConfigError, LanguageModel, neurons, trace
from ts_models.artefact import lock
from ts_models.cli import app
from ts_models.inspection.neurons import BEFORE, find_passages
from ts_models.inspection.tracing import points_of
from ts_models.scoring import windows_of

pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
SPECIAL = {60, 61, 62, 63}  # eos, bos, unk, pad


@pytest.fixture(scope="module")
def stories():
    random = np.random.default_rng(3)
    return [[61, *random.integers(0, 60, size).tolist(), 60] for size in (9, 30, 4, 100, 17)]


def windows_by_hand(network, stories):
    """Story, place and activations [neurons] of every token that counts, window by window and layer by layer."""
    for number, story in enumerate(stories):
        for _, start, first, end in windows_of(number, len(story), network.config.max_seq_len):
            with torch.no_grad(), trace(network, points_of(network).neurons) as t:
                network(torch.tensor([story[start:end]]))
            places = [i for i in range(start, end) if (i >= first or start == 0) and story[i] not in SPECIAL]
            yield number, places, [t[name][0, [i - start for i in places]].numpy() for name in t]


def test_passages_are_the_strongest_of_the_whole_corpus(network, lm, stories):
    found = find_passages(LanguageModel(network, lm.tokenizer), iter(stories), passages=3, exact=True)
    windows = list(windows_by_hand(network, stories))
    for layer, kept in enumerate(found):
        every = np.concatenate([values[layer] for _, _, values in windows])
        np.testing.assert_allclose(kept.mean, np.abs(every).mean(0), rtol=1e-3, atol=1e-6)
        for neuron in range(every.shape[1]):
            best = []
            for number, places, values in windows:
                here = values[layer][:, neuron]
                peak = int(np.abs(here).argmax())
                best.append((here[peak], number, places[peak]))
            best = sorted(best, key=lambda item: -abs(item[0]))[:3]
            np.testing.assert_allclose(kept.activation[neuron], [value for value, _, _ in best], rtol=1e-3, atol=1e-5)
            clear = abs(abs(best[0][0]) - abs(best[1][0])) > 1e-4
            if clear:
                assert (kept.story[neuron, 0], kept.token[neuron, 0]) == best[0][1:]


def test_a_passage_is_the_story_around_its_peak(lm, stories):
    kept = find_passages(lm, stories, passages=2, exact=True)[0]
    with torch.no_grad(), trace(lm, "blocks.0.feed_forward.post") as t:
        lm.model(torch.tensor([stories[1]]))
    neuron, rank = next((n, k) for n, k in np.argwhere(kept.story == 1))
    place = kept.token[neuron, rank]
    around = np.arange(place - BEFORE, place + 9)
    inside = (around >= 0) & (around < len(stories[1]))
    assert (kept.ids[neuron, rank] == -1).tolist() == (~inside).tolist()
    assert kept.ids[neuron, rank][inside].tolist() == [stories[1][i] for i in around[inside]]
    values = t["blocks.0.feed_forward.post"][0, around[inside], neuron]
    np.testing.assert_allclose(kept.values[neuron, rank][inside], values, atol=1e-4)


def test_words_are_what_the_output_weights_raise_and_lower(lm, stories):
    kept = find_passages(lm, stories, passages=1)[1]
    effects = (lm.model.blocks[1].feed_forward.down.weight.T * lm.model.norm.weight) @ lm.model.embedding.weight.T
    effects = effects[:, :61].detach()  # bos, unk and pad are never written
    best, worst = effects.topk(8), (-effects).topk(8)
    assert kept.raised.tolist() == best.indices.tolist()
    assert kept.lowered.tolist() == worst.indices.tolist()
    np.testing.assert_allclose(kept.raised_by, best.values, atol=1e-4)
    np.testing.assert_allclose(kept.lowered_by, -worst.values, atol=1e-4)


def test_bfloat16_changes_activations_by_little(lm, stories, monkeypatch):
    exact = find_passages(lm, stories, passages=1, exact=True)
    monkeypatch.setattr("ts_models.inspection.neurons._has_bfloat16", lambda network: True)
    near = find_passages(lm, stories, passages=1)
    for one, other in zip(exact, near, strict=True):
        assert 0 < np.abs(one.mean - other.mean).max() < 0.02 * one.mean.max()
    assert lm.model.blocks[0].feed_forward.up.weight.dtype == torch.float32


def test_page_and_table(lm, stories, tmp_path):
    layers = neurons(lm, stories, tmp_path / "n.html", passages=3)
    page = (tmp_path / "n.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=|url\(|@import|fetch\(|/\*(?:style|script|data)\*/", page)
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
    first = data["layers"][0]
    ids = np.frombuffer(base64.b64decode(first["ids"]), "<u2").reshape(len(first["neurons"]), 3, -1)
    expected = layers[0].ids[first["neurons"]]
    assert (ids == np.where(expected < 0, 65535, expected)).all()
    rows = pq.read_table(tmp_path / "n.parquet").to_pylist()
    assert len(rows) == 2 * 40 * 3
    row, kept = rows[3 * 40 + 3 * 7 + 1], layers[1]
    assert (row["layer"], row["neuron"], row["rank"]) == (1, 7, 1)
    assert row["activation"] == pytest.approx(kept.activation[7, 1])
    assert row["word"] == f"w{kept.ids[7, 1, BEFORE]}" == lm.vocabulary()[stories[row["story"]][row["token"]]]
    assert row["word"] in row["words"]
    assert len(row["words"]) == len(row["values"])
    assert row["raises"] == [lm.vocabulary()[i] for i in kept.raised[7]]


def test_what_stands_there_is_left_alone(lm, stories, tmp_path):
    for name in ("n.html", "n.parquet"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(ConfigError, match="left alone"):
            neurons(lm, stories, tmp_path / "n.html")
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"file/n\.html"):
        neurons(lm, None, tmp_path / "file" / "n.html")  # before a story is read
    with lock(tmp_path / "n.html"), pytest.raises(ConfigError, match="another writer is writing here"):
        neurons(lm, None, tmp_path / "n.html")
    for _ in range(2):  # its own files may be replaced
        neurons(lm, stories[:1], tmp_path / "n.html", passages=1)
    with pytest.raises(ConfigError, match="no story to read"):
        neurons(lm, [], tmp_path / "n.html")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are no UTF-8")
def test_a_name_that_is_no_utf_8(lm, stories, tmp_path):
    out = tmp_path / os.fsdecode(b"n\xe9.html")
    neurons(lm, stories[:1], out, passages=1)
    assert sorted(tmp_path.iterdir()) == [out, out.with_suffix(".parquet")]


class Encoded(dict):
    def __init__(self, tokenizer, **splits):
        super().__init__(splits)
        self.tokenizer = tokenizer


def test_the_command(lm, stories, tmp_path, monkeypatch):
    # Importing `neurons` above has bound `load` everywhere: a module that is first imported now would keep the replacement.
    monkeypatch.setattr("ts_models.io.loading.load", lambda name: lm)
    monkeypatch.setattr("ts_models.registry.load_entry", lambda entry: lambda path: Encoded(lm.tokenizer, train=stories))
    command = ["neurons", "m", "--data", "encoded", "--out", str(tmp_path / "n.html"), "--quiet"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "80 neurons over 5 stories" in done.output
    found = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert (found["neurons"], found["stories"], len(found["strongest"])) == (80, 5, 6)
    assert found["table"] == str(tmp_path / "n.parquet")
    refused = CliRunner().invoke(app, [*command, "--split", "test"])
    assert isinstance(refused.exception, ConfigError)
    assert "has no split 'test'. It has train" in str(refused.exception)
    other = Encoded(type(lm.tokenizer)(62), train=stories)
    monkeypatch.setattr("ts_models.registry.load_entry", lambda entry: lambda path: other)
    assert "another tokenizer" in str(CliRunner().invoke(app, command).exception)
