"""The network of a run: built from a preset, loaded from a model folder, or the caller's own module.

A network maps ids `[batch, time]` to logits `[batch, time, vocab]`. The caller's module is checked on a copy before any file is written.
"""

import copy
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.modules import module as _module
from torch.nn.parameter import UninitializedParameter

import ts_models
from ts_models import StoryModel
from ts_models.architectures.recurrent import Recurrent
from ts_models.architectures.transformer import Transformer
from ts_models.artefact import describe_invalid, sha256_file
from ts_models.layers.linear import Linear
from ts_models.presets import PRESETS, preset
from ts_models.schemas import config_class

from .data.batches import Batches
from .data.dataset import TrainingData
from .errors import ArtefactError, ConfigError, DataError
from .schemas import RunManifest, TrainConfig

VOCABULARY = {"vocab_size", "eos_id", "bos_id", "unk_id", "pad_id"}


def build_model(config: TrainConfig, data: TrainingData, own: nn.Module | None) -> nn.Module:
    """The caller's module, else the model of `init_from`, else the preset with weights drawn from the seed."""
    if own is not None:
        return own
    if config.init_from is not None:
        return _load_start(config, data)
    torch.manual_seed(config.seed)
    return ts_models.build(model_config(config, data.vocab_size))


def model_config(config: TrainConfig, vocab_size: int) -> Any:
    """The model config that the settings name: a preset with changes, or a whole table.

    Raises:
        ConfigError, TsModelsError: a field is invalid.
    """
    fields = {**config.model, "vocab_size": vocab_size}
    if config.preset is not None:
        return preset(config.preset, **fields)
    if "kind" not in fields:
        raise ConfigError("field `preset`: is missing. Name one (story-1m), or give a whole `model` table with its `kind`.")
    try:
        return _config(fields)
    except ValidationError as problem:
        raise ConfigError(f"field `model`: {describe_invalid(problem)}") from None


def _config(fields: dict[str, Any]) -> Any:
    """A whole model config; pydantic's error where that is invalid."""
    return config_class(fields.get("kind")).model_validate(fields)


def _build(fields: dict[str, Any]) -> nn.Module:
    return ts_models.build(_config(fields))


def rebuild_model(manifest: RunManifest) -> nn.Module | None:
    """The network of a run whose weights come from a checkpoint; None for the caller's own model."""
    try:
        return None if manifest.model is None else _build(manifest.model)
    except ValidationError as problem:
        raise ArtefactError(f"the run's config.json, field `model`: {describe_invalid(problem)}") from None


def preset_name(model: nn.Module, asked: str | None) -> str | None:
    """The preset that has this network: `asked` if it has, else the first that does; None without one."""
    if not isinstance(model, StoryModel):
        return None
    free = VOCABULARY | {"max_seq_len", "dropout", "init_std", "zero_init"}  # may differ
    own = model.config.model_dump(exclude=free)
    names = [name for name, known in PRESETS.items() if known.config.model_dump(exclude=free) == own]
    return asked if asked in names else next(iter(names), None)


def _load_start(config: TrainConfig, data: TrainingData) -> nn.Module:
    """The network of a model/ folder, with its embeddings in the order of the data's vocabulary."""
    loaded = ts_models.load(str(config.init_from))
    own = Path(str(loaded.path)) / "word_tokenizer.json"
    theirs = data.tokenizer_file
    other_words = theirs is not None and own.exists() and sha256_file(own) != sha256_file(theirs)
    if loaded.config.vocab_size != data.vocab_size and not other_words:
        raise DataError(
            f"{config.init_from}: its vocabulary has {loaded.config.vocab_size} entries, the data's {data.vocab_size}. Encode the data with the model's own tokenizer."
        )
    if other_words and loaded.tokenizer is None:
        raise DataError(
            f"{config.init_from}: its word_tokenizer.json is not the one that the data were encoded with, so the same id would "
            f"mean another word. Encode again: ts-tokenizer encode splits/ --tokenizer {own} --out encoded/"
        )
    found = preset_name(loaded.model, config.preset)
    if config.preset is not None and found != config.preset:
        raise ConfigError(
            f"field `preset`: is {config.preset}, but {config.init_from} holds {found or 'a network of no preset'} "
            f"({sum(p.numel() for p in loaded.model.parameters()):,} parameters). Leave the preset out, or name the right one."
        )
    if not config.model and not other_words:
        return loaded.model
    torch.manual_seed(config.seed)
    fields = loaded.config.model_dump(exclude=VOCABULARY)
    # `model` may change, say, the dropout.
    network = _build({**fields, **config.model, "vocab_size": data.vocab_size})
    weights = loaded.model.state_dict()
    if other_words:
        weights = _translate(weights, network, loaded.vocabulary(), data.tokenizer.vocab)
    there, here = ({name: list(tensor.shape) for name, tensor in w.items()} for w in (weights, network.state_dict()))
    other = next((name for name in {**there, **here} if there.get(name) != here.get(name)), None)
    if other is not None:
        raise ConfigError(
            f"field `model`: changes the shape of the weights of {config.init_from}: `{other}` is {there.get(other, 'not')} there, "
            f"{here.get(other, 'not')} here. Leave those fields out, or start without --init-from."
        )
    network.load_state_dict(weights)
    return network


def _translate(weights: dict[str, Any], network: nn.Module, old: Sequence[str], new: Sequence[str]) -> dict[str, Any]:
    """Weights with the rows of embedding and output layer in the order of `new`; words that `old` lacks keep those of `network`."""
    places = {word: number for number, word in enumerate(old)}
    here = [number for number, word in enumerate(new) if word in places]
    there = [places[new[number]] for number in here]
    found = dict(weights)
    for name, tensor in network.state_dict().items():
        if name.split(".")[0] in ("embedding", "head") and name in weights and len(tensor) == len(new):
            found[name] = tensor.clone()
            found[name][here] = weights[name][there]
    return found


def model_dict(model: nn.Module) -> dict[str, Any] | None:
    """The config of a model of the zoo; None for any other module."""
    return model.config.model_dump(mode="json") if isinstance(model, StoryModel) else None


def choose_context(config: TrainConfig, model: Any) -> int:
    """Maximum positions of a row: as configured, else those of `model` (a config, or None if it has none), else 256."""
    own = getattr(model, "max_seq_len", None)
    wanted = config.batch.context or own or 256
    if own is not None and wanted > own:
        raise ConfigError(f"field `batch.context`: {wanted} is more than the model's max_seq_len of {own}")
    return int(wanted)


def named_tensors(model: nn.Module) -> list[tuple[str, Any]]:
    """Parameters (tied ones once) and persistent buffers."""
    kept = set(model.state_dict())
    return [*model.named_parameters(), *((name, b) for name, b in model.named_buffers() if name in kept)]


def check_network(model: Any, batches: Batches, *, vocab_size: int) -> None:
    """Try the caller's module on two rows: a short one and the longest of the data.

    Raises:
        TypeError: `model` is no module.
        ConfigError: it has nothing to train, or does not turn these ids into logits that can be trained.
    """
    if not isinstance(model, nn.Module):
        hint = " Give an instance of the class." if isinstance(model, type) else ""
        hint = " Give its `.model`." if isinstance(getattr(model, "model", None), nn.Module) else hint
        raise TypeError(f"`model` is a {_type_name(model)}, a torch.nn.Module was expected.{hint}")
    name, parameters = f"`model` ({_type_name(model)})", list(model.parameters())
    if any(isinstance(p, UninitializedParameter) or p.is_meta for p in parameters):
        raise ConfigError(f"{name}: has parameters without values. Call it once, or load its weights, before training.")
    if not any(p.requires_grad for p in parameters):
        what = "no parameters" if not parameters else "no parameter that requires a gradient (all are frozen)"
        raise ConfigError(f"{name}: has {what}, so there is nothing to train.")
    if batches.packed and not _takes_segments(model):
        raise ConfigError(
            f"field `batch.arrangement`: packed rows need forward(ids, segments=…), which {_type_name(model)} does not take. "
            "Choose bucketed or shuffled."
        )
    if isinstance(model, StoryModel) and model.config.vocab_size != vocab_size:
        raise ConfigError(
            f"{name}: has a vocabulary of {model.config.vocab_size:,} entries, the data's has {vocab_size:,}. "
            f"Build it with vocab_size={vocab_size}."
        )
    trial, gradients = _trial_copy(model)
    longest = batches.context if batches.packed else int(batches.lengths.max())
    _check_logits(trial, name, 2, vocab_size, gradients, f"ids below {vocab_size:,}, the size of the data's vocabulary")
    what = f"rows of {longest:,} tokens; --set batch.context=… makes them shorter"
    _check_logits(trial, name, longest, vocab_size, gradients, what, packed=batches.packed)


def owns_logits(model: nn.Module) -> bool:
    """Whether nothing but the loss reads the logits, so that their memory can be reused: true for an unmodified network of the zoo.

    Its output layer is a matrix product, whose backward pass needs the inputs only. A hook, a replaced method or another output layer
    could read the logits earlier.
    """
    if type(model) not in (Transformer, Recurrent):
        return False
    head = getattr(model, "head", None)
    if type(head) not in (Linear, nn.Linear, type(None)):
        return False
    if _module._global_forward_hooks or _module._global_backward_hooks:
        return False
    parts = [part for part in (model, head) if part is not None]
    replaceable = {"forward", "logits", "hidden", "_call_impl"}
    return not any(part._forward_hooks or part._backward_hooks or replaceable & vars(part).keys() for part in parts)


def _takes_segments(model: nn.Module) -> bool:
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return True  # unknown: the first step shows
    return any(p.name == "segments" or p.kind is p.VAR_KEYWORD for p in parameters)


def _trial_copy(model: nn.Module) -> tuple[nn.Module, bool]:
    """(a copy to call in training mode, True), or (the module itself, False) where it cannot be copied."""
    try:
        return copy.deepcopy(model).train(), True
    except Exception:  # a module may refuse to be copied; it is then called without gradients
        return model, False


def _check_logits(
    trial: nn.Module, name: str, time: int, vocab_size: int, gradients: bool, what: str, *, packed: bool = False
) -> None:
    where = next(trial.parameters()).device
    ids = torch.arange(vocab_size - time, vocab_size).clamp_min(0)[None].to(where)
    options = {"segments": torch.ones_like(ids)} if packed else {}
    training = trial.training
    trial.train(gradients)
    try:
        with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []), torch.set_grad_enabled(gradients):
            logits: Any = trial(ids, **options)
    except IndexError as problem:
        raise ConfigError(f"{name}: fails on {what} ({problem}).") from None
    finally:
        trial.train(training)
    expected = f"a tensor of logits [batch, time, vocab] was expected, here [1, {time}, {vocab_size}]"
    if not isinstance(logits, torch.Tensor):
        raise ConfigError(f"{name}: returns a {_type_name(logits)}; {expected}. Return the logits alone.")
    if logits.ndim != 3 or logits.shape[:2] != ids.shape:
        raise ConfigError(f"{name}: returns a tensor of shape {list(logits.shape)}; {expected}.")
    if logits.shape[2] < vocab_size:
        raise ConfigError(f"{name}: its logits have {logits.shape[2]:,} entries, the data's vocabulary {vocab_size:,}.")
    if not logits.is_floating_point():
        raise ConfigError(f"{name}: its logits are {logits.dtype}, a floating point type was expected.")
    if gradients and not logits.requires_grad:
        raise ConfigError(
            f"{name}: no gradient flows from its logits to its parameters. Look for torch.no_grad(), detach() or argmax in its forward."
        )


def _type_name(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__
