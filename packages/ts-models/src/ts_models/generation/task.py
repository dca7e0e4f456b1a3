"""One generation call: its prompts, limits, end conditions and what it records; checks of prompts and memory before it runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, ContextError
from ..schemas import GenerationConfig
from .logits import Processors
from .results import Finish

StopCheck = Callable[[int, Sequence[int]], bool]
"""Called with a prompt's index and the new ids of one of its sequences; returns whether the sequence ends."""


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
        return Processors(self.config, prompts, self.room, banned=self.banned, ends=sorted(self.ends), device=self.device)

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


def check_prompts(prompts: Any, vocab_size: int) -> list[list[int]]:
    """Prompts as lists of ids. Raises TypeError for what are no ids, ConfigError for ids outside of the vocabulary."""
    if isinstance(prompts, str | bytes):
        raise TypeError("the prompts are text, but a network takes ids: [[1, 2, 3], …]. For text use ts_models.load(…).generate.")
    if isinstance(prompts, Tensor | np.ndarray):
        prompts = prompts.tolist()
    if not isinstance(prompts, Sequence):
        raise TypeError(f"the prompts are a {type(prompts).__name__}; give a list of lists of ids, or a tensor [prompts, time].")
    return [_check_prompt(number, prompt, vocab_size) for number, prompt in enumerate(prompts)]


def _check_prompt(number: int, prompt: Any, vocab_size: int) -> list[int]:
    if isinstance(prompt, Tensor | np.ndarray):
        prompt = prompt.tolist()
    if isinstance(prompt, str | bytes):
        raise TypeError(f"prompt {number} is text, but a network takes ids. For text use ts_models.load(…).generate.")
    if not isinstance(prompt, Sequence):
        raise TypeError(f"prompt {number} is {prompt!r}, not a list of ids; one prompt is given as [[1, 2, 3]].")
    for token in prompt:
        if isinstance(token, bool | np.bool_) or not isinstance(token, int | np.integer):
            raise TypeError(f"prompt {number} holds {token!r}, a {type(token).__name__}; ids are whole numbers.")
        if not 0 <= token < vocab_size:
            raise ConfigError(f"prompt {number}: id {token} is outside of the vocabulary of {vocab_size}.")
    return [int(token) for token in prompt]


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
    state = (
        config.n_layers
        * 4
        * getattr(config, "d_hidden", 2 * task.room * getattr(config, "kv_heads", 1) * getattr(config, "head_size", 1))
    )
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
