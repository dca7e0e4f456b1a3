"""Beam search and beam search with multinomial sampling: `num_beams` rows per prompt that compete.

A finished hypothesis scores sum of log-probabilities / length ** length_penalty (length: new tokens, `<eos>` included).
A prompt ends when no running beam can beat its worst kept hypothesis any more, so stopping early loses nothing.
"""

import os
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError
from ..schemas import GenerationConfig
from .logits import generators, gumbel, warp
from .results import Hypothesis, Step
from .task import Task


def _log_softmax(logits: Tensor) -> Tensor:
    """Log-probabilities over the last dimension; -inf in a row where every token is banned, so that its beam ends there."""
    return logits.log_softmax(dim=-1).masked_fill_((logits == -torch.inf).all(dim=-1, keepdim=True), -torch.inf)


@dataclass
class _Prompt:
    """The competition of one prompt."""

    index: int
    limit: int
    beams: list[Hypothesis] = field(default_factory=list)
    sums: list[float] = field(default_factory=list)
    kept: list[Hypothesis] = field(default_factory=list)
    settled: int = 0


class Beam:
    """Keep the `num_beams` likeliest continuations at each step."""

    def __init__(self, task: Task) -> None:
        self.task, self.config = task, task.config
        self.per_prompt = self.copies(task.config)
        self.step = 0
        self.processors = task.processors([prompt for prompt in task.prompts for _ in range(self.per_prompt)])
        self.active = [_Prompt(index, limit) for index, limit in enumerate(task.limits)]
        self.all = list(self.active)
        for prompt in self.active:
            prompt.beams = [Hypothesis() for _ in range(self.per_prompt)]
            prompt.sums = [0.0] + [-np.inf] * (self.per_prompt - 1)  # all beams start alike: only the first may grow
        self.prepare()

    @classmethod
    def copies(cls, config: GenerationConfig) -> int:
        """Rows of a prompt."""
        return config.num_beams

    def prepare(self) -> None:
        """Nothing is random."""

    def candidates(self, scores: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """The 2 × per_prompt best continuations of each prompt, best first: sums `[prompts, 2·per_prompt]`, flat places.

        Twice the per_prompt, so that enough are left when every beam wants to end (Wu et al. 2016).
        """
        total = (sums[:, :, None] + scores).flatten(1)
        best = total.topk(min(2 * self.per_prompt, total.shape[1]), dim=-1)
        return best.values, best.indices

    def advance(self, logits: Tensor) -> tuple[Step, Tensor | None, Tensor | None]:
        """Grow every prompt by one token. Returns what is settled, each new row's parent row, and the new tokens."""
        vocabulary, count = logits.shape[1], len(self.active)
        raw = logits.log_softmax(dim=-1) if self.task.watched else logits
        scores = _log_softmax(self.processors(logits.float(), self.step))
        scores = scores.view(count, self.per_prompt, vocabulary).double()
        sums = torch.tensor([prompt.sums for prompt in self.active], dtype=torch.float64, device=logits.device)
        values, places = self.candidates(scores, sums)
        self.step += 1
        parents: list[int] = []
        tokens: list[int] = []
        going: list[_Prompt] = []
        for number, (prompt, value, place) in enumerate(zip(self.active, values.tolist(), places.tolist(), strict=True)):
            chosen = self._grow(prompt, value, place, vocabulary, raw[number * self.per_prompt : (number + 1) * self.per_prompt])
            if not self._ended(prompt):
                going.append(prompt)
                parents += [number * self.per_prompt + parent for parent, _ in chosen]
                tokens += [token for _, token in chosen]
        step = self._settle()
        self.active = going
        if not going:
            return step, None, None
        rows = torch.tensor(parents, device=logits.device)
        ids = torch.tensor(tokens, device=logits.device)
        self.processors.select(rows)
        self.processors.append(ids)
        return step, rows, ids

    def _grow(
        self, prompt: _Prompt, values: list[float], places: list[int], vocabulary: int, raw: Tensor
    ) -> list[tuple[int, int]]:
        """Replace a prompt's beams by its best continuations; those that end are kept apart."""
        beams: list[Hypothesis] = []
        sums: list[float] = []
        chosen: list[tuple[int, int]] = []
        for rank, (value, place) in enumerate(zip(values, places, strict=True)):
            if value == -np.inf or len(beams) == self.per_prompt:
                break
            parent, token = divmod(place, vocabulary)
            if token in self.task.ends and rank >= self.per_prompt:
                continue
            grown = self._extend(prompt.beams[parent], token, raw[parent])
            finish = self.task.finish(grown.ids, prompt.limit, prompt.index)
            if finish is not None:
                self._keep(prompt, grown, value)
                grown.finish = finish
            if finish is None or finish in {"length", "context"}:
                beams.append(grown)
                sums.append(value)
                chosen.append((parent, token))
        self.task.check_choice(not beams and not prompt.kept, self.step - 1)
        missing = self.per_prompt - len(beams)
        prompt.beams = beams + [Hypothesis() for _ in range(missing)]
        prompt.sums = sums + [-np.inf] * missing
        return chosen + [(0, 0)] * missing

    def _extend(self, beam: Hypothesis, token: int, raw: Tensor) -> Hypothesis:
        grown = Hypothesis([*beam.ids, token], list(beam.logprobs), list(beam.alternatives))
        if self.task.watched:
            logprobs, alternatives = self.task.watch(raw[None], torch.tensor([token], device=raw.device))
            grown.logprobs += logprobs
            grown.alternatives += alternatives
        return grown

    def _keep(self, prompt: _Prompt, found: Hypothesis, value: float) -> None:
        found.score = value / len(found.ids) ** self.config.length_penalty
        prompt.kept.append(found)
        prompt.kept.sort(key=lambda hypothesis: -hypothesis.score)
        del prompt.kept[self.per_prompt :]

    def _ended(self, prompt: _Prompt) -> bool:
        """Whether a prompt is done: full length, no beam left, or no beam that can still enter the kept ones."""
        best = max(prompt.sums)
        if self.step >= prompt.limit or best == -np.inf:
            return True
        if len(prompt.kept) < self.per_prompt:
            return False
        penalty = self.config.length_penalty
        # A sum only falls; divided by a longer length it may rise: take the length that flatters it most.
        reach = prompt.limit if penalty > 0 else self.step + 1
        return bool(best / reach**penalty <= prompt.kept[-1].score)

    def _settle(self) -> Step:
        """Tokens that every hypothesis which may still win agrees on: they are never taken back."""
        step = Step([], [], [], [])
        if self.config.num_return_sequences != 1:
            return step
        for prompt in self.active:
            running = [beam for beam, value in zip(prompt.beams, prompt.sums, strict=True) if value > -np.inf]
            alive = prompt.kept[:1] + ([] if self._ended(prompt) else running)
            agreed = len(os.path.commonprefix([found.ids for found in alive]))  # noqa: RUF071 - of lists
            new = slice(prompt.settled, agreed)
            step.sequences.extend([prompt.index] * (agreed - prompt.settled))
            step.ids.extend(alive[0].ids[new])
            step.logprobs.extend(alive[0].logprobs[new])
            step.alternatives.extend(alive[0].alternatives[new])
            prompt.settled = agreed
        return step

    def results(self) -> list[list[Hypothesis]]:
        """Per prompt, its `num_return_sequences` best hypotheses, best first. Raises ConfigError where there are fewer."""
        wanted = self.config.num_return_sequences
        for prompt in self.all:
            if len(prompt.kept) < wanted:
                raise ConfigError(
                    f"generation: prompt {prompt.index} has {len(prompt.kept)} different continuations of at most {prompt.limit} tokens; "
                    f"num_return_sequences is {wanted}. Lower it, or raise max_new_tokens."
                )
        return [prompt.kept[:wanted] for prompt in self.all]


class BeamSample(Beam):
    """Draw the continuations without replacement from the beams' joint distribution, shaped by temperature and filters."""

    def prepare(self) -> None:
        """One stream of random numbers per prompt."""
        self.streams = generators(self.task.prompts, 1, self.config.seed)

    def candidates(self, scores: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Such a draw by the largest of log-probability + noise."""
        warped = _log_softmax(warp(scores.flatten(0, 1), self.config)).view_as(scores)
        total = (sums[:, :, None] + warped).flatten(1)
        noise = gumbel([self.streams[prompt.index] for prompt in self.active], total.shape[1]).to(total.device)
        drawn = (total + noise).topk(min(2 * self.per_prompt, total.shape[1]), dim=-1).indices
        values, order = total.gather(1, drawn).sort(dim=-1, descending=True, stable=True)
        return values, drawn.gather(1, order)
