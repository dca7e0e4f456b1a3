"""A new architecture, position encoding, decoding method and export format: a module and a table line take each through the whole line."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any, Literal, get_type_hints

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import ts_models
from ts_models.cli import app  # before anything is registered: its help names what is, when it is first imported
from ts_models.export import FORMATS, Format
from ts_models.generation.sample import Greedy
from ts_models.layers.positions import PositionEncoding
from ts_models.registry import ARCHITECTURES, METHODS, POSITIONS, Method
from ts_models.schemas import NetworkConfig


class BagConfig(NetworkConfig):
    kind: Literal["bag"] = "bag"
    d_model: int = 8

    @property
    def context_limit(self) -> None:
        return


class BagState:
    def __init__(self, batch: int, d_model: int) -> None:
        self.sum, self.lengths = torch.zeros(batch, d_model), torch.zeros(batch, dtype=torch.int64)

    def reorder(self, rows: Tensor) -> None:
        self.sum, self.lengths = self.sum[rows], self.lengths[rows]


class Bag(ts_models.StoryModel):
    """Logits of the sum of all embeddings so far."""

    config_class = BagConfig

    def __init__(self, config: Any, *, torchtune: bool = True) -> None:
        super().__init__(config, torchtune=torchtune)
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.head = nn.Linear(config.d_model, config.vocab_size)

    def hidden(self, ids: Tensor, *, state: Any = None, segments: Any = None, lengths: Any = None) -> Tensor:
        sums = self.embedding(ids).cumsum(1) + (0 if state is None else state.sum[:, None])
        if state is not None:
            last = torch.full((len(ids),), ids.shape[1]) if lengths is None else lengths
            state.sum, state.lengths = sums[torch.arange(len(ids)), last - 1], state.lengths + last
        return sums

    def logits(self, x: Tensor) -> Tensor:
        return self.head(x)

    def forward(self, ids: Tensor, *, state: Any = None, segments: Any = None, lengths: Any = None) -> Tensor:
        return self.logits(self.hidden(ids, state=state, segments=segments, lengths=lengths))

    def init_state(self, batch: int, max_length: int) -> BagState:
        return BagState(batch, self.config.d_model)


class Ramp(PositionEncoding):
    """Adds a learned vector times the position."""

    has_limit = False

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(config.d_model) / 10)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + positions[..., None] * self.slope


class Second(Greedy):
    """Writes the second likeliest token."""

    def choose(self, logits: Tensor) -> Tensor:
        return logits.topk(2).indices[:, 1]


def help_of(module_name: str, command: str, option: str) -> str:
    """An option's help as the command shows it in a process that registers before: by a copy of the command's module."""
    spec = importlib.util.find_spec(f"ts_models.cli.{module_name}")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    hints = get_type_hints(getattr(module, command), include_extras=True)
    return str(hints[option].__metadata__[0].help)


def write_sizes(lm: Any, out: Path, *, stories: Any, progress: Any) -> dict[str, Any]:
    out.write_text(json.dumps({name: list(tensor.shape) for name, tensor in lm.model.state_dict().items()}))
    return {"tensors": len(lm.model.state_dict())}


def show(folder: Path) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["show", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_an_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "bag", f"{__name__}:Bag")
    model = ts_models.build(BagConfig(vocab_size=32, max_seq_len=6))
    folder = ts_models.save(model, tmp_path / "bag")
    again = ts_models.load(folder)
    assert isinstance(again.model, Bag)
    assert again.config == model.config
    assert (
        len(again.model.generate([[1, 2], [3]], method="greedy", max_new_tokens=9, min_new_tokens=9)[0]) == 9
    )  # past max_seq_len: it has no limit
    assert len(ts_models.score_ids(again.model, [[1, 2, 3, 4]])[0]) == 3
    assert show(folder)["parts"] == {"embedding": 32 * 8, "head": 8 * 32 + 32}
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "d_modell": 1}))
    with pytest.raises(ts_models.ArtefactError, match="d_modell"):
        ts_models.load(folder)


def test_a_position_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ts_models.ConfigError, match="there is no 'ramp'"):
        ts_models.build("story-1m", positions="ramp")
    monkeypatch.setitem(POSITIONS, "ramp", f"{__name__}:Ramp")
    model = ts_models.build("story-1m", vocab_size=32, n_layers=1, positions="ramp")
    folder = ts_models.save(model, tmp_path / "ramp")
    again = ts_models.load(folder)
    assert isinstance(again.model.positions, Ramp)
    ids = torch.arange(20)[None]
    assert torch.equal(again.model(ids), model.eval()(ids))
    assert len(again.model.generate([[1, 2], [3]], method="greedy", max_new_tokens=5, min_new_tokens=5)[1]) == 5
    assert show(folder)["parts"]["positions"] == model.config.d_model


def test_a_decoding_method(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ts_models.build("story-1m", vocab_size=32, n_layers=1)
    with pytest.raises(ts_models.ConfigError, match="there is no 'second'; there are greedy, sample, beam, beam-sample"):
        model.generate([[1, 2]], method="second")
    monkeypatch.setitem(METHODS, "second", Method(f"{__name__}:Second"))
    with pytest.warns(UserWarning, match="top_k=3 has no effect with method 'second'; it needs 'beam-sample' or 'sample'"):
        (found,) = model.generate([[1, 2]], method="second", max_new_tokens=3, min_new_tokens=3, top_k=3)
    ids = torch.tensor([[1, 2, *found]])
    logits = model.eval()(ids)[0, 1:-1]
    logits[:, [*model.config.banned_ids, model.config.eos_id]] = -torch.inf
    assert found == logits.topk(2).indices[:, 1].tolist()
    assert " or second" in help_of("writing", "generate", "method")


def test_an_export_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "sizes", Format(f"{__name__}:write_sizes", lambda start: start.startswith(b"{")))
    model = ts_models.build("story-1m", vocab_size=32, n_layers=1)
    lm = ts_models.LanguageModel(model)
    for _ in range(2):  # its own file may be replaced
        found = ts_models.export.export(lm, tmp_path / "m.json", format="sizes")
        assert found["tensors"] == len(json.loads((tmp_path / "m.json").read_text()))
    (tmp_path / "other").write_text("mine")
    with pytest.raises(ts_models.ConfigError):
        ts_models.export.export(lm, tmp_path / "other", format="sizes")
    assert (tmp_path / "other").read_text() == "mine"
    assert " or sizes" in help_of("models", "export", "format_")
