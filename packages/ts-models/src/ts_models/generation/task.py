"""One generation call: its prompts, limits, end conditions and what it records; the check of memory before it runs."""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor

from ..checks import check_prompts
from ..errors import ConfigError, ContextError
from ..schemas import GenerationConfig
from .logits import Processors
from .results import Finish

Prompts = Sequence[Sequence[int] | Tensor] | Tensor
"""Ids of each prompt; lengths may differ."""
StopCheck = Callable[[int, Sequence[int]], bool]
"""Called with a prompt's index and the new ids of one of its sequences; returns whether the sequence ends."""


class CallOptions(TypedDict, total=False):
    """What a caller can ask of a call beside its config."""

    logprobs: bool
    """Record the natural log-probability of each new token, by the model itself."""
    alternatives: int
    """How many of the likeliest (id, log-probability) pairs to record at each new token."""
    stop: StopCheck | None
    """Ends a sequence beside the ids that end it."""


@dataclass(frozen=True)
class Task:
    """The prompts and the rules of one call."""

    prompts: list[list[int]]
    config: GenerationConfig
    context: int | None
    """Most tokens, prompt included, that the network takes; None: no limit (recurrent networks)."""
    banned: tuple[int, ...]
    """Ids never written (bos, unk, pad)."""
    ends: frozenset[int]
    """Ids that end a sequence (eos, stop_ids)."""
    eos_id: int
    device: torch.device
    logprobs: bool = False
    alternatives: int = 0
    stop: StopCheck | None = None

    def __post_init__(self) -> None:
        for number, prompt in enumerate(self.prompts):
            name = "the prompt" if len(self.prompts) == 1 else f"prompt {number}"
            if not prompt:
                raise ConfigError(f"{name} is empty: it needs at least one id, such as bos_id.")
            if self.context is not None and len(prompt) >= self.context:
                raise ContextError(
                    f"{name} has {len(prompt)} tokens, but the model's context (max_seq_len) is {self.context}: "
                    "nothing can follow it. Shorten the prompt, or set truncate_prompt=True."
                )

    @property
    def limits(self) -> list[int]:
        """Most new tokens of each prompt: max_new_tokens, or what the context leaves."""
        most = self.config.max_new_tokens
        return [most if self.context is None else min(most, self.context - len(prompt)) for prompt in self.prompts]

    @property
    def room(self) -> int:
        """Most tokens that any row will hold, prompt included."""
        return max(len(prompt) + limit for prompt, limit in zip(self.prompts, self.limits, strict=True))

    @property
    def watched(self) -> bool:
        """Whether log-probabilities of the model itself are recorded."""
        return self.logprobs or self.alternatives > 0

    def processors(self, prompts: Sequence[Sequence[int]]) -> Processors:
        """The rules of this configuration for the given rows."""
        return Processors(self.config, prompts, banned=self.banned, ends=sorted(self.ends), device=self.device)

    def finish(self, ids: Sequence[int], limit: int, prompt: int) -> Finish | None:
        """The reason why a sequence with these new ids ends, or None if it continues."""
        if ids[-1] in self.ends:
            return "eos" if ids[-1] == self.eos_id else "stop"
        if self.stop is not None and self.stop(prompt, ids):
            return "stop"
        if len(ids) >= limit:
            return "length" if limit == self.config.max_new_tokens else "context"
        return None

    def check_choice(self, empty: bool, step: int) -> None:
        """Raise ConfigError where the rules leave no token to choose from."""
        if empty:
            raise ConfigError(
                f"generation: no token may be written at step {step + 1}: min_new_tokens, no_repeat_ngram_size and the special ids "
                "ban the whole vocabulary. Loosen one of them."
            )

    def watch(self, logits: Tensor, tokens: Tensor) -> tuple[list[float], list[list[tuple[int, float]]]]:
        """Log-probabilities of the chosen tokens and of the likeliest ones, where requested."""
        if not self.watched:
            return [], []
        scores = logits.log_softmax(dim=-1)
        chosen: list[float] = scores.gather(1, tokens[:, None])[:, 0].tolist()
        if not self.alternatives:
            return chosen, []
        best = scores.topk(min(self.alternatives, scores.shape[1]), dim=-1)
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return chosen, [list(zip(ids, values, strict=True)) for ids, values in pairs]


def make_task(network: Any, prompts: Prompts, config: GenerationConfig, **options: Unpack[CallOptions]) -> Task:
    """Check the prompts against the network and collect the inputs of the methods."""
    shape = network.config
    rows = check_prompts(prompts, shape.vocab_size)
    for token in config.stop_ids:
        if not 0 <= token < shape.vocab_size:
            raise ConfigError(f"generation: stop_ids holds {token}, which is outside of the vocabulary of {shape.vocab_size}.")
    if config.truncate_prompt:
        limit = shape.max_seq_len
        rows = [cut_prompt(row, context=limit, wanted=config.max_new_tokens, bos_id=shape.bos_id) for row in rows]
    return Task(
        prompts=rows,
        config=config,
        context=shape.context_limit,
        banned=tuple(token for token in shape.banned_ids if token not in config.stop_ids),
        ends=frozenset({*config.stop_ids, shape.eos_id} - {-1}),
        eos_id=shape.eos_id,
        device=next(network.parameters()).device,
        **options,
    )


def cut_prompt(prompt: list[int], *, context: int, wanted: int, bos_id: int) -> list[int]:
    """The end of a prompt that leaves room for `wanted` new ids, or for half the context where more is wanted; bos stays first."""
    most = max(context - min(wanted, context // 2), 1)
    if len(prompt) <= most:
        return prompt
    if prompt[0] == bos_id and most > 1:
        return [bos_id, *prompt[-(most - 1) :]]
    return prompt[-most:]


def check_memory(network: Any, task: Task, copies: int) -> None:
    """Raise ConfigError where `copies` rows for each prompt need more memory than the machine has."""
    config = network.config
    rows = len(task.prompts) * copies
    if network.device.type != "cpu" or rows * config.vocab_size < 1 << 26:
        return
    keys = task.room * getattr(config, "kv_heads", 1) * getattr(config, "head_size", 1)
    state = 4 * config.n_layers * getattr(config, "d_hidden", 2 * keys)
    needed, there = rows * (12 * config.vocab_size + state), machine_memory()
    if there is not None and needed > there:
        raise ConfigError(
            f"generation: {rows:,} rows ({len(task.prompts):,} prompts × {copies:,}) need about {needed / 1e9:,.0f} GB, but this machine "
            f"has {there / 1e9:,.0f} GB. Lower num_beams or num_return_sequences, or give fewer prompts at once."
        )


def machine_memory() -> int | None:
    """Bytes of memory of the machine, or of the container where that has a limit; None where neither is known."""
    known: list[int] = []
    with contextlib.suppress(AttributeError, ValueError, OSError):
        known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            known.append(int(Path(name).read_text(encoding="ascii")))
    return min(known, default=None)
