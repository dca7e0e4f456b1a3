"""model/ on disk: round trip, what is refused and how, the Hub by a stand-in."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import ts_models
from ts_models.errors import ArtefactError, ConfigError, TokenizerError, WeightsError
from ts_models.generation import generate
from ts_models.io import model_folder, tokenizers
from ts_models.schemas import CurvePoint, TrainingSummary

SIZES: dict[str, Any] = {
    "vocab_size": 20,
    "d_model": 8,
    "n_heads": 2,
    "head_dim": 4,
    "n_layers": 2,
    "d_ff": 12,
    "max_seq_len": 16,
}
IDS = torch.randint(0, 20, (2, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    return ts_models.save(ts_models.build("story-1m", **SIZES), tmp_path / "model")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are UTF-8")
def test_a_folder_whose_name_is_not_utf8_is_refused_and_not_called_damaged(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """safetensors writes such a file but does not open it. Below such a folder, relative names do."""
    odd = tmp_path / "caf\udce9"
    with pytest.raises(ArtefactError, match="is not UTF-8"):
        ts_models.save(ts_models.load(folder).model, odd)
    assert list(tmp_path.iterdir()) == [folder]
    folder.rename(odd)
    with pytest.raises(ArtefactError, match="is not UTF-8"):
        ts_models.load(odd)
    monkeypatch.chdir(odd)
    ts_models.save(ts_models.build("story-1m", **SIZES), "model")
    assert r"# caf\udce9" in Path("model/README.md").read_text()
    ts_models.load("model")


@torch.no_grad()
@pytest.mark.parametrize("name", ["story-1m", "talk-10m", "talk-5m-gru"])
def test_round_trip(tmp_path: Path, name: str) -> None:
    sizes = SIZES if name != "talk-5m-gru" else {"vocab_size": 20, "d_model": 8, "d_hidden": 6, "max_seq_len": 16}
    model = ts_models.build(name, **sizes).eval()
    summary = TrainingSummary(parameters=3, steps=2, tokens=9, seconds=1.5, curve=[CurvePoint(step=1, tokens=4, seconds=1)])
    lm = ts_models.load(ts_models.save(model, tmp_path / "m", training=summary))
    assert torch.equal(lm.model(IDS), model(IDS))
    assert lm.config == model.config
    assert lm.training == summary
    assert "library_name: ts-models" in (tmp_path / "m" / "README.md").read_text(encoding="utf-8")


def test_the_card_tells_data_evaluation_stories_hardware_and_how_to_load_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = TrainingSummary(
        parameters=3, steps=2, tokens=9, seconds=1.5, best_validation_loss=1.25, validation_bits_per_byte=0.5,
        splits_fingerprint="dbd3", hardware="a CPU, 2 threads", samples=["Once upon a time.\nThe end."],
    )  # fmt: skip
    model = ts_models.build("talk-1m", **SIZES)
    folder = ts_models.save(model, tmp_path / "run" / "model", training=training, train_stories=np.arange(2600, dtype=np.uint64))
    card = (folder / "README.md").read_text(encoding="utf-8")
    for part in (
        "# run\n", "- {type: loss, value: 1.2500}", "- hardware a CPU, 2 threads", "2,600 different stories", "`dbd3`",
        "## Evaluation\n\n- validation loss 1.2500 nats per token", "> Once upon a time. The end.",
    ):  # fmt: skip
        assert part in card
    monkeypatch.chdir(folder)
    (code,) = re.findall(r"```python\n(.*?)^print", card, re.MULTILINE | re.DOTALL)
    exec(code, found := {})  # type: ignore[var-annotated]
    assert found["lm"].config == model.config


def test_tied_weights_are_stored_once_and_names_are_clean(tmp_path: Path) -> None:
    model = ts_models.build("story-1m", **SIZES)
    compiled = torch.compile(model)
    tensors = load_file(ts_models.save(compiled, tmp_path / "m") / "model.safetensors")
    assert set(tensors) == set(model.state_dict())
    assert "head.weight" not in tensors
    assert not [name for name in tensors if "_orig_mod" in name]


@pytest.mark.parametrize(
    ("name", "content"), [("notes.txt", "mine"), ("config.json", '{"format": "ts-train/run"}'), ("config.json", "{")]
)
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / name).write_text(content)
    with pytest.raises(ArtefactError, match="it is left alone"):
        ts_models.save(ts_models.build("story-1m", vocab_size=64), tmp_path / "own")
    assert [(file.name, file.read_text()) for file in (tmp_path / "own").iterdir()] == [(name, content)]


@torch.no_grad()
def test_half_precision_storage(tmp_path: Path) -> None:
    model = ts_models.build("talk-10m", **SIZES).eval()
    lm = ts_models.load(ts_models.save(model, tmp_path / "m", dtype=torch.float16))
    assert lm.model.dtype == torch.float32
    assert (lm.model(IDS) - model(IDS)).abs().max() < 0.02


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    model = ts_models.build("story-1m", **SIZES)
    ts_models.save(model, tmp_path / "m")
    first = {file.name: file.read_bytes() for file in (tmp_path / "m").iterdir()}
    ts_models.save(model, tmp_path / "m")
    assert first == {file.name: file.read_bytes() for file in (tmp_path / "m").iterdir()}
    assert [item.name for item in tmp_path.iterdir()] == ["m"]


def test_saving_many_times_gives_the_same_bytes(tmp_path: Path) -> None:
    """safetensors writes two entries of metadata in either order."""
    model = ts_models.build("story-1m", **SIZES)
    for number in range(12):
        ts_models.save(model, tmp_path / str(number), dtype=torch.float16)
    assert len({(tmp_path / str(number) / "model.safetensors").read_bytes() for number in range(12)}) == 1
    assert len(load_file(tmp_path / "0" / "model.safetensors")) == len(list(model.parameters()))


def _change(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_config_of_other_sizes_names_the_first_tensor(folder: Path) -> None:
    _change(folder, d_ff=13)
    with pytest.raises(
        WeightsError, match=r"`blocks.0.feed_forward.up.weight` has shape \[24, 8\], but config.json makes it \[26, 8\]"
    ):
        ts_models.load(folder)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_layers": 3}, "`blocks.2.attention.qkv.weight` is missing"),
        ({"n_layers": 1}, "`blocks.1.*` has no place"),
        ({"schema_version": 2}, "pip install -U ts-models"),
        ({"format": "ts-data/manifest"}, "another kind of file"),
        ({"colour": "blue"}, "`colour`.*not a known field"),
        ({"d_model": -1}, "`d_model`"),
    ],
)
def test_other_configs_are_refused(folder: Path, fields: dict[str, Any], message: str) -> None:
    _change(folder, **fields)
    with pytest.raises(ArtefactError, match=message):
        ts_models.load(folder)


@pytest.mark.parametrize("fields", [{"n_layers": 10**9}, {"d_model": 2**40}, {"vocab_size": 2**40}])
def test_a_config_far_larger_than_its_weights_is_refused_before_it_is_built(folder: Path, fields: dict[str, Any]) -> None:
    _change(folder, **fields)
    with pytest.raises(WeightsError, match="holds too few bytes for the"):
        ts_models.load(folder)


def test_a_network_that_no_machine_holds_is_refused(folder: Path) -> None:
    _change(folder, positions="sinusoidal", max_seq_len=2**50)
    with pytest.raises(WeightsError, match="no network of these sizes can be built"):
        ts_models.load(folder)


@pytest.mark.parametrize("keep", [0, 5, 100, -3])
def test_damaged_weights_are_refused(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArtefactError, match="not a whole safetensors file"):
        ts_models.load(folder)


def test_a_run_in_place_of_its_model_is_told(folder: Path) -> None:
    with pytest.raises(ArtefactError, match=r"Did you mean .*/model\?"):
        ts_models.load(folder.parent)


def test_missing_things_are_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ArtefactError, match="no such folder"):
        ts_models.load(tmp_path / "nowhere" / "at" / "all")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ArtefactError, match=r"model\.safetensors: no such file"):
        ts_models.load(folder)


@torch.no_grad()
def test_int8_tensors_are_read(folder: Path) -> None:
    from ts_models.export.to_int8 import quantise_rows

    before = ts_models.load(folder).model(IDS)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = "blocks.0.feed_forward.down.weight"
    tensors[name] = torch.randn(tensors[name].shape)
    whole = tensors[name].clone()
    tensors[name], tensors[f"{name}.scale"] = quantise_rows(whole)
    save_file(tensors, path)
    lm = ts_models.load(folder)
    step = tensors[f"{name}.scale"][:, None]
    assert ((lm.model.state_dict()[name] - whole).abs() <= step / 2 + 1e-6).all()
    assert not torch.equal(lm.model(IDS), before)


# --- tokenizers ----------------------------------------------------------------------------------


def _tokenizer_file(path: Path, size: int, kind: str = "somebody/words") -> Path:
    path.write_text(json.dumps({"format": kind, "vocab": [f"w{i}" for i in range(size)]}))
    return path


def test_a_tokenizer_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds 19 tokens, but the model's vocab_size is 20"):
        ts_models.save(ts_models.build("story-1m", **SIZES), tmp_path / "m", tokenizer=_tokenizer_file(tmp_path / "t.json", 19))
    assert not (tmp_path / "m").exists()


def test_text_without_a_reader_says_what_to_install(tmp_path: Path) -> None:
    model = ts_models.build("story-1m", **SIZES)
    lm = ts_models.load(ts_models.save(model, tmp_path / "m", tokenizer=_tokenizer_file(tmp_path / "t.json", 20)))
    assert lm.tokenizer is None
    assert len(lm.model.generate([[1, 2]], method="greedy", max_new_tokens=3)[0]) <= 3
    with pytest.raises(TokenizerError, match=r'pip install "ts-models\[text\]"'):
        lm.generate("Once")


class Words:
    """A stranger's tokenizer."""

    def __init__(self, path: Path) -> None:
        self.vocab = json.loads(path.read_text())["vocab"]
        self.vocab_size = len(self.vocab)
        self.eos_id, self.bos_id, self.unk_id, self.pad_id = range(self.vocab_size - 4, self.vocab_size)

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        return [self.vocab.index(word) if word in self.vocab else self.unk_id for word in text.split()]

    def decode(self, ids: list[int], *, skip_special_tokens: bool = True) -> str:
        return " ".join(self.vocab[i] for i in ids if i < self.eos_id or not skip_special_tokens)


def _register(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    found = [EntryPoint("somebody/words", value, tokenizers.GROUP) for value in values]
    monkeypatch.setattr(tokenizers, "entry_points", lambda group: found)


def test_a_registered_tokenizer_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EntryPoint, "load", lambda self: Words)
    _register(monkeypatch, "somewhere:Words")
    model = ts_models.build("story-1m", **SIZES)
    lm = ts_models.load(ts_models.save(model, tmp_path / "m", tokenizer=_tokenizer_file(tmp_path / "t.json", 20)))
    assert isinstance(lm.tokenizer, Words)
    assert lm.encode_story("w1 w5 what") == [17, 1, 5, 18, 16]
    (scores,) = lm.logprobs(["w1 w5"])
    assert scores.shape == (3,)
    assert (scores < 0).all()
    _register(monkeypatch, "somewhere:Words", "elsewhere:Words")
    with pytest.raises(TokenizerError, match="several packages"):
        tokenizers.load_tokenizer(tmp_path / "t.json")


# --- the Hub -------------------------------------------------------------------------------------


def test_a_hub_id_is_fetched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[tuple[str, Any]] = []

    def fetch(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision))
        assert not [pattern for pattern in allow_patterns if pattern.endswith((".bin", ".pt", ".py", "*"))]
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert ts_models.load("somebody/model", revision="v1").config.vocab_size == 20
    assert asked == [("somebody/model", "v1")]


def test_push_sends_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    calls: list[tuple[str, dict[str, Any]]] = []

    class Api:
        def __init__(self, token: str | None = None) -> None: ...

        def create_repo(self, repo_id: str, **options: Any) -> None:
            calls.append(("create", {"repo_id": repo_id, **options}))

        def upload_folder(self, **options: Any) -> str:
            calls.append(("upload", options))
            return "https://hub/somebody/model"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert model_folder.push_to_hub(folder, "somebody/model", private=True) == "https://hub/somebody/model"
    assert [name for name, _ in calls] == ["create", "upload"]
    assert calls[0][1]["private"] is True
    assert calls[1][1]["folder_path"] == str(folder)
    with pytest.raises(ArtefactError):
        model_folder.push_to_hub(folder / "nothing", "somebody/model")


def test_the_demo_comes_with_the_package_and_needs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    lm = ts_models.load("demo")
    assert lm.training is not None
    assert sum(file.stat().st_size for file in model_folder.DEMO.iterdir()) < 6_000_000
    assert {"recipe.json", "README.md", "training.json", "word_tokenizer.json"} <= {
        file.name for file in model_folder.DEMO.iterdir()
    }
    begin = [lm.config.bos_id]
    told = generate(lm.model, [begin], method="greedy", max_new_tokens=40)[0]
    assert told == generate(lm.model, [begin], method="greedy", max_new_tokens=40)[0]
    assert len(set(told)) > 15  # sentences, not one word again and again
