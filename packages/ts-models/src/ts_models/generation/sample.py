"""Greedy choice and sampling: every sequence is a row of its own; a row leaves the batch when it ends."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..schemas import GenerationConfig
from .logits import draw, generators, warp
from .results import Hypothesis, Step
from .task import Task

_AHEAD = 256
"""Random numbers that are drawn at once for a sequence: a story may end long before its limit."""


class Sample:
    """Draw each token from the model's distribution, shaped by temperature and filters."""

    def __init__(self, task: Task) -> None:
        self.task, self.config = task, task.config
        self.per_prompt = self.copies(task.config)
        self.hypotheses = [Hypothesis() for _ in range(len(task.prompts) * self.per_prompt)]
        self.rows = list(range(len(self.hypotheses)))
        self.limits = [limit for limit in task.limits for _ in range(self.per_prompt)]
        repeated = [prompt for prompt in task.prompts for _ in range(self.per_prompt)]
        self.processors = task.processors(repeated)
        self.step = 0
        self.prepare(task.prompts)

    @classmethod
    def copies(cls, config: GenerationConfig) -> int:
        """Rows of a prompt."""
        return config.num_return_sequences

    def prepare(self, prompts: Sequence[Sequence[int]]) -> None:
        """One stream of random numbers per sequence."""
        self.streams = generators(prompts, self.per_prompt, self.config.seed)

    def choose(self, logits: Tensor) -> Tensor:
        """Ids `[rows]` for logits `[rows, vocab]`."""
        place = self.step % _AHEAD
        if place == 0:
            uniforms = np.stack([self.streams[row].random(_AHEAD) for row in self.rows])
            self.uniforms = torch.from_numpy(uniforms).to(self.task.device)
        return draw(warp(logits, self.config), self.uniforms[:, place])

    def advance(self, logits: Tensor) -> tuple[Step, Tensor | None, Tensor | None]:
        """Write one token in every row. Returns the step, the rows that continue (None: all) and their tokens
        (None: all rows have ended).
        """
        task = self.task
        raw = logits.clone() if task.watched else logits
        logits = self.processors(logits, self.step)
        task.check_choice(self.processors.empty, self.step)
        tokens = self.choose(logits)
        ids = tokens.tolist()
        logprobs, alternatives = task.watch(raw, tokens)
        step = Step(list(self.rows), ids, logprobs, alternatives)
        self.step += 1
        keep = [place for place, token in enumerate(ids) if not self._write(place, token, step)]
        if len(keep) == len(ids):
            self.processors.append(tokens)
            return step, None, tokens
        if not keep:
            return step, None, None
        rows = torch.tensor(keep, device=tokens.device)
        self.rows = [self.rows[place] for place in keep]
        self.processors.select(rows)
        self.uniforms = self.uniforms[rows]
        tokens = tokens[rows]
        self.processors.append(tokens)
        return step, rows, tokens

    def _write(self, place: int, token: int, step: Step) -> bool:
        """Add a token to a row's hypothesis; true when that ends it."""
        row = self.rows[place]
        hypothesis = self.hypotheses[row]
        hypothesis.ids.append(token)
        if step.logprobs:
            hypothesis.logprobs.append(step.logprobs[place])
        if step.alternatives:
            hypothesis.alternatives.append(step.alternatives[place])
        finish = self.task.finish(hypothesis.ids, self.limits[row], row // self.per_prompt)
        if finish is not None:
            hypothesis.finish = finish
        return finish is not None

    def results(self) -> list[list[Hypothesis]]:
        """Per prompt, its `num_return_sequences` hypotheses."""
        return [self.hypotheses[start : start + self.per_prompt] for start in range(0, len(self.hypotheses), self.per_prompt)]


class Greedy(Sample):
    """Write the likeliest token. Copies of a prompt would be equal, so each prompt is one row."""

    @classmethod
    def copies(cls, config: GenerationConfig) -> int:
        """Rows of a prompt."""
        return 1

    def prepare(self, prompts: Sequence[Sequence[int]]) -> None:
        """Nothing is random."""
        self.uniforms = torch.empty(len(prompts), 0, device=self.task.device)

    def choose(self, logits: Tensor) -> Tensor:
        """The likeliest id of each row; of equals, the first."""
        if logits.device.type == "cpu":  # numpy's takes a tenth of the time
            return torch.from_numpy(logits.numpy().argmax(axis=-1))
        return logits.argmax(dim=-1)

    def results(self) -> list[list[Hypothesis]]:
        """Per prompt, its one hypothesis `num_return_sequences` times."""
        return [[found] * self.config.num_return_sequences for found in self.hypotheses]
