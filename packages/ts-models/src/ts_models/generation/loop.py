"""The generation loop: drives a stepper (runs the network, keeps its state) and a strategy (chooses the tokens)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, Unpack

import torch
from torch import Tensor

from ..errors import ConfigError
from ..fast.decode import FastStepper
from ..fast.speculate import SpeculativeStepper
from ..fast.weights import fits
from ..registry import METHODS, load_entry
from ..schemas import GenerationConfig
from ..state import pad_right
from .options import make_config
from .results import Hypothesis, Step
from .task import CallOptions, Prompts, Task, check_memory, make_task


class Stepper(Protocol):
    """Runs a network for the generation loop."""

    def start(self, prompts: Sequence[Sequence[int]], room: int, *, per_prompt: int) -> Tensor:
        """Read the prompts; logits `[prompts · per_prompt, vocab]` after each, every prompt repeated `per_prompt` times.

        `room`: most tokens that any row will hold. The caller may change the logits in place.
        """

    def step(self, tokens: Tensor, rows: Tensor | None) -> Tensor:
        """Keep the named rows in that order (None: all as they are), append one token to each; logits `[rows, vocab]`."""


class Strategy(Protocol):
    """A generation method: reads logits `[rows, vocab]`, selects which rows continue and with which tokens."""

    per_prompt: int

    def __init__(self, task: Task) -> None: ...

    @classmethod
    def copies(cls, config: GenerationConfig) -> int: ...

    def advance(self, logits: Tensor) -> tuple[Step, Tensor | None, Tensor | None]: ...

    def results(self) -> list[list[Hypothesis]]: ...


class TorchStepper:
    """Any network, on any device, through its own `forward` and state."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.device = next(network.parameters()).device

    def start(self, prompts: Sequence[Sequence[int]], room: int, *, per_prompt: int) -> Tensor:
        ids, lengths = pad_right(prompts)
        ids, lengths = ids.to(self.device), lengths.to(self.device)
        ragged = len(set(lengths.tolist())) > 1
        self.state = self.network.init_state(len(prompts), room)
        hidden = self.network.hidden(ids, state=self.state, lengths=lengths if ragged else None)
        last = hidden[torch.arange(len(prompts), device=self.device), lengths - 1]
        logits: Tensor = self.network.logits(last).float()
        if per_prompt > 1:
            rows = torch.arange(len(prompts), device=self.device).repeat_interleave(per_prompt)
            self.state.reorder(rows)
            logits = logits[rows]
        return logits

    def step(self, tokens: Tensor, rows: Tensor | None) -> Tensor:
        if rows is not None:
            self.state.reorder(rows)
        logits: Tensor = self.network(tokens[:, None], state=self.state)[:, 0].float()
        return logits


def make_stepper(network: Any, *, precision: str = "float32", draft: Any = None) -> Stepper:
    """The fastest stepper for a network on its device: kernels for a float32 Transformer on the CPU, else its own forward.

    `precision`: float32, or int8 or int4, to which the kernels round the matrices.
    `draft`: a smaller network of the same vocabulary that guesses the next tokens, where the kernels run both.
    """
    traced = "hidden" in vars(network)  # by `trace`, which the kernels know nothing of
    if fits(network) and not traced:
        if draft is not None and fits(draft):
            return SpeculativeStepper(network, draft, precision=precision)
        return FastStepper(network, precision=precision)
    if precision != "float32":
        raise ConfigError(
            f"precision {precision!r} is for float32 Transformers on the CPU with the compiled kernels (the extra ts-models[fast]); "
            "this network is stepped in its own format."
        )
    return TorchStepper(network)


def generate_steps(
    network: Any, prompts: Prompts, config: GenerationConfig, *, stepper: Stepper | None = None, **options: Unpack[CallOptions]
) -> Iterator[Step | list[list[Hypothesis]]]:
    """Run a method step by step: yields a `Step` per token written, and last the hypotheses per prompt.

    `prompts` are ids, `<bos>` included where the model was trained with it; lengths may differ. Generation ends at
    `max_new_tokens`, and where prompt and story together fill the network's `max_seq_len` (finish: `context`).
    """
    task = make_task(network, prompts, config, **options)
    if not task.prompts:
        yield []
        return
    strategy: type[Strategy] = load_entry(METHODS[config.method].target)
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
    network: Any, prompts: Prompts, config: GenerationConfig, *, stepper: Stepper | None = None, **options: Unpack[CallOptions]
) -> list[list[Hypothesis]]:
    """Run a method to the end. Returns per prompt, `num_return_sequences` hypotheses (beam methods: best first)."""
    *_, last = generate_steps(network, prompts, config, stepper=stepper, **options)
    found: list[list[Hypothesis]] = last  # type: ignore[assignment]
    return found


def generate(
    network: Any, ids: Sequence[Sequence[int]] | Tensor, *, stepper: Stepper | None = None, **options: Any
) -> list[list[int]]:
    """New ids of each continuation, `<eos>` included where it was written; `num_return_sequences` of them per prompt.

    `ids` are prompts of any lengths; `options` the fields of GenerationConfig. `stop` needs text: see LanguageModel.
    """
    config = _without_text(make_config(options))
    return [hypothesis.ids for found in generate_ids(network, ids, config, stepper=stepper) for hypothesis in found]


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
