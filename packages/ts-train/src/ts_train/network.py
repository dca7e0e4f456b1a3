"""What training asks of a network: ids `[batch, time]` in, logits `[batch, time, vocab]` out, something to train.

A module of the caller's own is tried on a copy before anything is written, so that a wrong one costs one sentence.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as _module
from torch.nn.parameter import UninitializedParameter

from .data.batches import Batches
from .errors import ConfigError

__all__ = ["check_network", "owns_logits"]


def check_network(model: Any, batches: Batches, *, vocab_size: int) -> None:
    """Try a module of the caller's own on two rows, one short and one as long as training needs.

    Raises:
        TypeError: `model` is no module.
        ConfigError: it has nothing to train, or does not turn these ids into logits that can be trained.
    """
    if not isinstance(model, nn.Module):
        hint = " Give an instance of the class." if isinstance(model, type) else ""
        hint = " Give its `.model`." if isinstance(getattr(model, "model", None), nn.Module) else hint
        raise TypeError(f"`model` is a {_type_name(model)}, a torch.nn.Module was expected.{hint}")
    parameters = list(model.parameters())
    if any(isinstance(p, UninitializedParameter) or p.is_meta for p in parameters):
        raise ConfigError(
            f"`model` ({_type_name(model)}): has parameters without values. Call it once, or load its weights, before training."
        )
    if not any(p.requires_grad for p in parameters):
        what = "no parameters" if not parameters else "no parameter that requires a gradient (all are frozen)"
        raise ConfigError(f"`model` ({_type_name(model)}): has {what}, so there is nothing to train.")
    if batches.packed and not _takes_segments(model):
        raise ConfigError(
            f"field `batch.arrangement`: packed rows need forward(ids, segments=…), which {_type_name(model)} does not take. "
            "Choose bucketed or shuffled."
        )
    from ts_models import StoryModel

    if isinstance(model, StoryModel) and model.config.vocab_size != vocab_size:
        raise ConfigError(
            f"`model` ({_type_name(model)}): has a vocabulary of {model.config.vocab_size:,} entries, the data's has {vocab_size:,}. "
            f"Build it with vocab_size={vocab_size}."
        )
    trial, gradients = _trial_copy(model)
    longest = batches.context if batches.packed else int(batches.lengths.max())
    _check_logits(trial, model, 2, vocab_size, gradients, f"ids below {vocab_size:,}, the size of the data's vocabulary")
    what = f"rows of {longest:,} tokens; --set batch.context=… makes them shorter"
    _check_logits(trial, model, longest, vocab_size, gradients, what, packed=batches.packed)


def owns_logits(model: nn.Module) -> bool:
    """Whether the logits of this network are a fresh tensor that nothing else reads: those of an unchanged network of the zoo.

    Its output layer is one matrix product, whose backward pass needs the inputs only. Anything that could hand out the
    logits before the loss reads them (a hook, a replaced method, another output layer) makes the answer no.
    """
    from ts_models.architectures.recurrent import Recurrent
    from ts_models.architectures.transformer import Transformer
    from ts_models.layers.linear import Linear

    if type(model) not in (Transformer, Recurrent):
        return False
    head = getattr(model, "head", None)
    if type(head) not in (Linear, nn.Linear, type(None)):
        return False
    if _module._global_forward_hooks or _module._global_backward_hooks:
        return False
    parts = [part for part in (model, head) if part is not None]
    return not any(part._forward_hooks or part._backward_hooks or _replaced(part) for part in parts)


def _replaced(module: nn.Module) -> bool:
    return not {"forward", "logits", "hidden", "_call_impl"}.isdisjoint(vars(module))


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
    trial: nn.Module, model: nn.Module, time: int, vocab_size: int, gradients: bool, what: str, *, packed: bool = False
) -> None:
    where = next(model.parameters()).device
    ids = torch.arange(vocab_size - time, vocab_size).clamp_min(0)[None].to(where)
    options = {"segments": torch.ones_like(ids)} if packed else {}
    training = trial.training
    trial.train(gradients)
    try:
        with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []), torch.set_grad_enabled(gradients):
            logits: Any = trial(ids, **options)
    except IndexError as problem:
        raise ConfigError(f"`model` ({_type_name(model)}): fails on {what} ({problem}).") from None
    finally:
        trial.train(training)
    expected = f"a tensor of logits [batch, time, vocab] was expected, here [1, {time}, {vocab_size}]"
    if not isinstance(logits, torch.Tensor):
        raise ConfigError(f"`model` ({_type_name(model)}): returns a {_type_name(logits)}; {expected}. Return the logits alone.")
    if logits.ndim != 3 or logits.shape[:2] != ids.shape:
        raise ConfigError(f"`model` ({_type_name(model)}): returns a tensor of shape {list(logits.shape)}; {expected}.")
    if logits.shape[2] < vocab_size:
        raise ConfigError(
            f"`model` ({_type_name(model)}): its logits have {logits.shape[2]:,} entries, the data's vocabulary {vocab_size:,}."
        )
    if not logits.is_floating_point():
        raise ConfigError(f"`model` ({_type_name(model)}): its logits are {logits.dtype}, a floating point type was expected.")
    if gradients and not logits.requires_grad:
        raise ConfigError(
            f"`model` ({_type_name(model)}): no gradient flows from its logits to its parameters. "
            "Look for torch.no_grad(), detach() or argmax in its forward."
        )


def _type_name(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__
