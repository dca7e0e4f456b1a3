"""The packages as somebody else's project would put them together: own data, own loop, own model, metrics on plain strings."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")


def own_stories(count: int) -> list[str]:
    """Stories of a data set that is none of ours, all different."""
    names, places = ["Mia", "Ben", "Zoe", "Tom"], ["park", "house", "forest", "shop", "garden"]
    told = '{n} went to the {p}. "I see {k} birds," said {n}. The birds were happy and sang a song. {n} liked the {p} very much. '
    end = "At night {n} went home, and the moon was big and round over the {p} number {k}."
    return [(told + end).format(n=names[i % 4], p=places[i % 5], k=i) for i in range(count)]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """splits/, word_tokenizer.json and encoded/ from a custom data set."""
    import ts_data
    import ts_tokenizer

    folder = tmp_path_factory.mktemp("line")
    (folder / "raw.txt").write_text("".join(f"{story}\n<|endoftext|>\n" for story in own_stories(300)), encoding="utf-8")
    ts_data.prepare(folder / "raw.txt", folder / "splits", ts_data.PrepareConfig(validation=20))
    tokenizer = ts_tokenizer.WordTokenizer.train(ts_data.read(folder / "splits", "train"), vocab_size=256)
    tokenizer.save(folder / "word_tokenizer.json")
    ts_tokenizer.encode_splits(folder / "splits", folder / "word_tokenizer.json", folder / "encoded")
    return folder


def test_an_own_loop_around_build_learns_and_saves_what_load_opens(line: Path) -> None:
    import ts_models
    import ts_tokenizer

    encoded = ts_tokenizer.open_encoded(line / "encoded")
    torch.manual_seed(0)
    model = ts_models.build("story-1m", vocab_size=encoded.vocab_size, n_layers=1, d_model=32, n_heads=2, d_ff=64, head_dim=16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for step in range(40):
        batch = [torch.from_numpy(encoded["train"][i].astype(np.int64)) for i in range(step * 4 % 200, step * 4 % 200 + 4)]
        ids = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=model.config.pad_id)[:, :256]
        logits = model(ids[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=model.config.pad_id)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(encoded.vocab_size), abs=1.0)
    assert losses[-1] < losses[0] - 2

    ts_models.save(model, line / "own-model", tokenizer=line / "word_tokenizer.json")
    loaded = ts_models.load(line / "own-model")
    told = loaded.generate("Mia went to", method="greedy", max_new_tokens=20)
    assert told.startswith("Mia went to")
    assert len(told) > len("Mia went to")
    ids = model.eval().generate([encoded["train"][0][:4].tolist()], method="greedy", max_new_tokens=5)
    assert ids[0] == loaded.model.generate([encoded["train"][0][:4].tolist()], method="greedy", max_new_tokens=5)[0]


def test_the_trainer_takes_a_module_that_it_does_not_know(line: Path) -> None:
    import ts_train

    class Bigram(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(256, 256)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.table(ids)

    config = ts_train.TrainConfig.model_validate({"max_steps": 5, "optimizer": {"name": "adamw"}})
    run = ts_train.train(config, line / "encoded", line / "bigram-run", model=Bigram())
    assert isinstance(run.model, Bigram)
    assert run.path == line / "bigram-run"


def test_metrics_take_plain_strings() -> None:
    import ts_eval

    stories = own_stories(60)
    index = ts_eval.StoryIndex.build(stories)
    match = index.closest([stories[7]], k=3)[0]
    assert match[0].index == 7
    assert match[0].score == pytest.approx(1.0, abs=1e-6)
    assert match[0].text == stories[7]
    scores = ts_eval.rouge(["the cat sat"], ["the cat sat down"])[0]
    assert scores["rouge1"].precision == 1.0
    assert scores["rouge1"].recall == pytest.approx(3 / 4)
    assert scores["rougeL"].fmeasure == pytest.approx(6 / 7)


def test_the_encoded_folder_opens_with_three_lines_of_numpy(line: Path) -> None:
    ids = np.memmap(line / "encoded" / "train.bin", dtype="<u2", mode="r")
    offsets = np.load(line / "encoded" / "train.idx.npy")
    first = ids[offsets[0] : offsets[1]]
    manifest = json.loads((line / "encoded" / "manifest.json").read_text(encoding="utf-8"))
    assert first[0] == manifest["bos_id"]
    assert first[-1] == manifest["eos_id"]
    assert offsets[-1] == len(ids) == manifest["splits"]["train"]["tokens"]


def test_the_splits_open_with_pyarrow_alone(line: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(min((line / "splits").glob("train*.parquet")))
    assert table.column("text")[0].as_py().endswith(".")


def test_a_tokenizer_of_somebody_else_serves_a_model(line: Path) -> None:
    """Anything with the protocol's methods will do: no class of ours is asked for."""
    import ts_tokenizer
    from ts_models.protocols import Tokenizer

    assert isinstance(ts_tokenizer.load(line / "word_tokenizer.json"), Tokenizer)
