"""The generation loop: drives a stepper (state and logits) and a strategy (which tokens to write)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import ConfigError
from ..schemas import GenerationConfig
from .beam import Beam, BeamSample
from .options import make_config
from .results import Hypothesis, Step
from .sample import Greedy, Sample
from .steppers import Stepper, make_stepper
from .task import StopCheck, Task, check_memory, check_prompts, cut_prompt

METHODS: dict[str, Any] = {"greedy": Greedy, "sample": Sample, "beam": Beam, "beam-sample": BeamSample}


class Strategy(Protocol):
    """A generation method: reads logits `[rows, vocab]`, selects which rows continue and with which tokens."""

    per_prompt: int

    @classmethod
    def copies(cls, config: GenerationConfig) -> int: ...

    def advance(self, logits: Tensor) -> tuple[Step, Tensor | None, Tensor | None]: ...

    def results(self) -> list[list[Hypothesis]]: ...


def generate_steps(
    network: Any,
    prompts: Sequence[Sequence[int] | Tensor] | Tensor,
    config: GenerationConfig,
    *,
    logprobs: bool = False,
    alternatives: int = 0,
    stop: StopCheck | None = None,
    stepper: Stepper | None = None,
) -> Iterator[Step | list[list[Hypothesis]]]:
    """Run a method step by step: yields a `Step` per token written, and last the hypotheses per prompt.

    `prompts` are ids, `<bos>` included where the model was trained with it; lengths may differ. Generation ends at
    `max_new_tokens`, and where prompt and story together fill the network's `max_seq_len` (finish: `context`).
    """
    task = make_task(network, prompts, config, logprobs=logprobs, alternatives=alternatives, stop=stop)
    if not task.prompts:
        yield []
        return
    strategy = METHODS[config.method]
    check_memory(network, task, strategy.copies(config))
    method: Strategy = strategy(task)
    stepper = stepper or make_stepper(network)
    with evaluating(network):
        logits = stepper.start(task.prompts, task.room, per_prompt=method.per_prompt)
    while True:
        with torch.inference_mode():
            step, rows, tokens = method.advance(logits)
        yield step
        if tokens is None:
            break
        with evaluating(network):
            logits = stepper.step(tokens, rows)
    yield method.results()


@contextmanager
def evaluating(network: Any) -> Iterator[None]:
    """Evaluation mode without gradients while the network runs; restores training mode afterwards."""
    training = network.training
    if training:
        network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if training:
            network.train()


def generate_ids(
    network: Any,
    prompts: Sequence[Sequence[int] | Tensor] | Tensor,
    config: GenerationConfig,
    *,
    logprobs: bool = False,
    alternatives: int = 0,
    stop: StopCheck | None = None,
    stepper: Stepper | None = None,
) -> list[list[Hypothesis]]:
    """Run a method to the end. Returns per prompt, `num_return_sequences` hypotheses (beam methods: best first)."""
    *_, last = generate_steps(network, prompts, config, logprobs=logprobs, alternatives=alternatives, stop=stop, stepper=stepper)
    found: list[list[Hypothesis]] = last  # type: ignore[assignment]
    return found


def make_task(
    network: Any,
    prompts: Sequence[Sequence[int] | Tensor] | Tensor,
    config: GenerationConfig,
    *,
    logprobs: bool = False,
    alternatives: int = 0,
    stop: StopCheck | None = None,
) -> Task:
    """Check the prompts against the network and collect the inputs of the methods."""
    shape = network.config
    rows = check_prompts(prompts, shape.vocab_size)
    for token in config.stop_ids:
        if not 0 <= token < shape.vocab_size:
            raise ConfigError(f"generation: stop_ids holds {token}, which is outside of the vocabulary of {shape.vocab_size}.")
    context = shape.context_limit
    if config.truncate_prompt:
        limit = shape.max_seq_len
        rows = [cut_prompt(row, context=limit, wanted=config.max_new_tokens, bos_id=shape.bos_id) for row in rows]
    ends = {*config.stop_ids, shape.eos_id} - {-1}
    return Task(
        prompts=rows,
        config=config,
        context=context,
        banned=tuple(token for token in shape.banned_ids if token not in config.stop_ids),
        ends=frozenset(ends),
        eos_id=shape.eos_id,
        device=next(network.parameters()).device,
        logprobs=logprobs,
        alternatives=alternatives,
        stop=stop,
    )


def generate(network: Any, ids: Sequence[Sequence[int]] | Tensor, **options: Any) -> list[list[int]]:
    """New ids of each continuation, `<eos>` included where it was written; `num_return_sequences` of them per prompt.

    `ids` are prompts of any lengths; `options` the fields of GenerationConfig. `stop` needs text: see LanguageModel.
    """
    config = _without_text(make_config(options))
    return [hypothesis.ids for found in generate_ids(network, ids, config) for hypothesis in found]


def stream(network: Any, ids: Sequence[int] | Tensor, **options: Any) -> Iterator[int]:
    """New ids of one continuation as they are settled (beam methods: once every beam that can win agrees)."""
    config = _without_text(make_config({**options, "num_return_sequences": 1}))
    for step in generate_steps(network, [ids], config):
        if isinstance(step, Step):
            yield from step.ids


def _without_text(config: GenerationConfig) -> GenerationConfig:
    if config.stop or config.require:
        raise ConfigError(
            "generation: `stop` and `require` hold texts, which a network does not know; use LanguageModel, or stop_ids."
        )
    return config
