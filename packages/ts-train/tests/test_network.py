"""Modules of the caller's own: right numbers, or one sentence before anything is written."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ts_models
from ts_train import TrainConfig, train
from ts_train.errors import ConfigError, TsTrainError
from ts_train.network import owns_logits
from ts_train.testing import FakeEncoded, TinyNetwork

Make = Callable[..., TrainConfig]
VOCAB = 32


class View(nn.Module):
    """Position-dependent logits that are a view of the only parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(16, VOCAB))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table[: ids.shape[1]][None].expand(len(ids), -1, -1)


class OneRow(View):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table[0].expand(*ids.shape, VOCAB)


class Whole(View):
    """One story of the widest row: logits and parameter are the same memory, without expand."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table[: ids.shape[1]].view(1, ids.shape[1], VOCAB) if len(ids) == 1 else super().forward(ids)


class LogSoftmax(TinyNetwork):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return super().forward(ids).log_softmax(-1)


class Tanh(TinyNetwork):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return 15 * torch.tanh(super().forward(ids) / 15)


class TanhLast(TinyNetwork):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.tanh(super().forward(ids))


class Kept(TinyNetwork):
    """Remembers its logits, as a callback that draws them would."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        self.last = super().forward(ids)
        return self.last


class _Exp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        y = x.sigmoid()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> torch.Tensor:
        (y,) = ctx.saved_tensors
        return upstream * y * (1 - y)


class Custom(TinyNetwork):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return _Exp.apply(super().forward(ids))  # type: ignore[no-any-return,no-untyped-call]


class Unsaved(TinyNetwork):
    """Adds a buffer that needs no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("prior", torch.linspace(-1, 1, VOCAB))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return super().forward(ids) + self.prior


class Double(TinyNetwork):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return super().forward(ids).double()


class Half(TinyNetwork):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return super().forward(ids).bfloat16()


class Transposed(TinyNetwork):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return super().forward(ids).transpose(1, 2).contiguous().transpose(1, 2)


class Partly(TinyNetwork):
    def __init__(self) -> None:
        super().__init__()
        self.embedding.weight.requires_grad_(False)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, VOCAB)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.embedding(ids)  # type: ignore[no-any-return]


def reference(model: nn.Module, config: TrainConfig, data: FakeEncoded) -> list[torch.Tensor]:
    """The same steps with torch's own loss, as anybody would write them."""
    from ts_train.data.batches import Batches
    from ts_train.optimizers import build_optimizers
    from ts_train.schedules import factor

    batches = Batches(data["train"], context=16, seed=config.seed, pad_id=data.pad_id, max_tokens=config.batch.tokens_per_step)
    optimizers = build_optimizers(model, config.optimizer, vocab_size=VOCAB)
    model.train()
    for step in range(config.max_steps or 0):
        plan = batches.plan(step)
        optimizers.set_factor(factor(config.schedule, step, config.max_steps or 0))
        for batch in batches.micro_batches(plan, rank=0, world_size=1, max_tokens=40):
            logits = model(batch.ids).float()
            loss = F.cross_entropy(logits.reshape(-1, VOCAB), batch.targets.reshape(-1), ignore_index=-100, reduction="sum")
            (loss / plan.tokens).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizers.step()
        model.zero_grad()
    return [p.detach() for p in model.parameters()]


@pytest.mark.parametrize(
    "kind", [View, OneRow, Whole, LogSoftmax, Tanh, TanhLast, Kept, Custom, Unsaved, Double, Half, Transposed, Partly, Tied]
)
def test_any_module_trains_as_with_torchs_own_loss(
    tmp_path: Path, data: FakeEncoded, config: Make, kind: Callable[[], nn.Module]
) -> None:
    torch.manual_seed(3)
    model = kind()
    settings = config(model={}, validation={"every": 8}, batch={"tokens_per_step": 96, "context": 16})
    expected = reference(copy.deepcopy(model), settings, data)
    run = train(settings, data, tmp_path / "run", model=model)
    assert run.state.best_step == 8
    for ours, theirs in zip(run.model.parameters(), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


class Tuple(TinyNetwork):
    def forward(self, ids: torch.Tensor) -> Any:
        return super().forward(ids), None


class Detached(TinyNetwork):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return super().forward(ids)


class Argmax(TinyNetwork):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return super().forward(ids).argmax(-1)


class Counted(TinyNetwork):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return super().forward(ids).long()


class Flat(TinyNetwork):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return super().forward(ids).flatten(0, 1)


class Swapped(TinyNetwork):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return super().forward(ids).transpose(1, 2)


class Short(TinyNetwork):
    """Learned positions for fewer tokens than the rows have."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Embedding(4, 16)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        self.positions(torch.arange(ids.shape[1]))
        return super().forward(ids)


class Dictionary(TinyNetwork):
    def forward(self, ids: torch.Tensor) -> Any:
        return {"logits": super().forward(ids)}


def frozen() -> nn.Module:
    return TinyNetwork().requires_grad_(False)


def narrow() -> nn.Module:
    return TinyNetwork(vocab_size=20)


def narrow_head() -> nn.Module:
    model = TinyNetwork()
    model.head = nn.Linear(32, 20)
    return model


def lazy() -> nn.Module:
    model = TinyNetwork()
    model.head = nn.LazyLinear(VOCAB)  # type: ignore[assignment]
    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Tuple, r"returns a tuple.*logits alone"), (Dictionary, "returns a dict"), (Detached, r"no gradient flows.*no_grad"),
        (Argmax, r"shape \[1, 2\]"), (Counted, r"torch\.int64"), (Flat, r"shape \[2, 32\]"), (Swapped, r"shape \[1, 32, 2\]"),
        (frozen, "all are frozen"), (nn.Identity, "no parameters"), (narrow, "fails on ids below 32"),
        (narrow_head, "have 20 entries, the data's vocabulary 32"), (Short, r"rows of 16 tokens.*batch\.context"),
        (lazy, "without values"),
    ],
)  # fmt: skip
def test_a_wrong_module_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, data: FakeEncoded, config: Make, model: Callable[[], nn.Module], words: str
) -> None:
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match=words) as caught:
        train(config(model={}, batch={"tokens_per_step": 96, "context": 16}), data, out, model=model())
    assert "\n" not in str(caught.value)
    assert not (out / "config.json").exists()
    assert not list(out.rglob("*.safetensors"))
    train(config(model={}, max_steps=1), data, out, model=TinyNetwork())  # the folder is free


@pytest.mark.parametrize("model", [TinyNetwork, "story-1m", 3])
def test_what_is_no_module_is_a_type_error(tmp_path: Path, data: FakeEncoded, config: Make, model: Any) -> None:
    with pytest.raises(TypeError, match=r"torch\.nn\.Module was expected"):
        train(config(), data, tmp_path / "run", model=model)


def test_a_network_of_the_zoo_needs_the_vocabulary_of_the_data(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    for entries in (16, 40):
        network = ts_models.build("talk-1m", vocab_size=entries, max_seq_len=16, n_layers=1)
        with pytest.raises(ConfigError, match=rf"vocabulary of {entries} entries, the data's has 32.*vocab_size=32"):
            train(config(model={}), data, tmp_path / "run", model=network)
    ts_models.save(ts_models.build("talk-1m", vocab_size=32, max_seq_len=16, n_layers=1), tmp_path / "model")
    with pytest.raises(TypeError, match=r"is a LanguageModel.*Give its `\.model`"):
        train(config(model={}), data, tmp_path / "run", model=ts_models.load(tmp_path / "model"))  # type: ignore[arg-type]


def test_packed_rows_need_segments(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    settings = config(model={}, batch={"batch_size": 4, "arrangement": "packed"})
    with pytest.raises(ConfigError, match="segments"):
        train(settings, data, tmp_path / "run", model=TinyNetwork())


def test_a_module_that_cannot_be_copied_is_checked_as_it_is(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    class Stubborn(TinyNetwork):
        def __deepcopy__(self, memo: Any) -> Any:
            raise RuntimeError("no copies")

    class StubbornTuple(Stubborn):
        def forward(self, ids: torch.Tensor) -> Any:
            return super().forward(ids), 1

    with pytest.raises(TsTrainError, match="returns a tuple"):
        train(config(model={}), data, tmp_path / "a", model=StubbornTuple())
    assert train(config(model={}, max_steps=2), data, tmp_path / "b", model=Stubborn()).state.step == 2


# --- whose logits they are ---------------------------------------------------------------------


def zoo(**fields: Any) -> Any:
    return ts_models.build(
        "talk-1m", vocab_size=VOCAB, d_model=16, n_heads=2, n_layers=1, d_ff=24, max_seq_len=16, **fields
    )  # fmt: skip


@pytest.fixture
def networks() -> dict[str, nn.Module]:
    class Own(type(zoo())):  # type: ignore[misc]
        pass

    hooked, wrapped, replaced, patched = zoo(), zoo(), zoo(), zoo()
    hooked.head.register_forward_hook(lambda module, inputs, out: out.tanh())
    wrapped.register_forward_hook(lambda module, inputs, out: None)
    replaced.head = nn.Sequential(replaced.head, nn.Tanh())
    patched.forward = lambda ids, **options: torch.tanh(type(patched).forward(patched, ids, **options))
    return {
        "transformer": zoo(), "own": Own(zoo().config), "hooked": hooked, "wrapped": wrapped, "replaced": replaced,
        "patched": patched, "stranger": TinyNetwork(),
    }  # fmt: skip


def test_only_an_unchanged_network_of_the_zoo_owns_its_logits(networks: dict[str, nn.Module]) -> None:
    assert {name for name, network in networks.items() if owns_logits(network)} == {"transformer"}


@pytest.mark.parametrize("name", ["own", "hooked", "replaced", "patched"])
def test_a_changed_network_of_the_zoo_trains_without_an_error(
    tmp_path: Path, data: FakeEncoded, config: Make, networks: dict[str, nn.Module], name: str
) -> None:
    assert train(config(model={}, max_steps=2), data, tmp_path / "run", model=networks[name]).state.skipped == 0
