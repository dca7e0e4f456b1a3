"""Validation over a whole split: mean loss per token, bits per byte, sampled stories."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from ts_models import NonFiniteError, StoryModel, score_ids
from ts_models.generation.loop import TorchStepper

from .data.batches import Batches, prompt_places
from .data.dataset import TrainingData
from .loss import nll_sum
from .runtime.distributed import World
from .runtime.precision import Precision
from .schemas import RunManifest


@dataclass
class ValidationSet:
    """A split, cut to the context for the loss; stories longer than that also whole, for bits per byte."""

    batches: Batches
    long_stories: list[np.ndarray[Any, Any]]
    long_places: np.ndarray[Any, Any]
    """Indices of the long stories."""
    long_prompts: np.ndarray[Any, Any]
    """Places of the long stories that are in the prompt."""
    info: Any
    """The split's counts in encoded/manifest.json; None if only part of the split is used."""

    @classmethod
    def of(cls, split: Any, *, context: int, pad_id: int, max_tokens: int, max_stories: int | None) -> Self:
        """Over the first `max_stories` stories of an encoded split, in batches of at most `max_tokens` positions."""
        part = split
        if max_stories is not None and max_stories < len(split.offsets) - 1:
            prompts = getattr(split, "prompts", None)
            kept = None if prompts is None else prompts[:max_stories]
            part = SimpleNamespace(ids=split.ids, offsets=split.offsets[: max_stories + 1], prompts=kept)
        batches = Batches(part, context=context, seed=0, pad_id=pad_id, max_tokens=max_tokens, bucket=1)
        full: Any = np.diff(np.asarray(part.offsets, dtype=np.int64))
        places = np.flatnonzero(full - 1 > context)
        long = [np.asarray(part.ids[part.offsets[i] : part.offsets[i + 1]]) for i in places]
        in_prompt = prompt_places(part, full - 1)[places]
        return cls(batches, long, places, in_prompt, getattr(split, "info", None) if part is split else None)

    @classmethod
    def planned(cls, data: TrainingData, manifest: RunManifest) -> Self | None:
        """The validation stories that a run scores; None if the data have none."""
        if data.validation is None:
            return None
        return cls.of(
            data.validation, context=manifest.context, pad_id=data.pad_id,
            max_tokens=max(manifest.micro_batch_tokens, manifest.context), max_stories=manifest.validation_stories,
        )  # fmt: skip

    @property
    def tokens(self) -> int:
        return self.batches.epoch_tokens

    @torch.no_grad()
    def score(
        self, model: nn.Module, precision: Precision, world: World, device: torch.device, *, whole: bool,
        notify: Callable[[int, int], None] | None = None,
    ) -> tuple[float, float | None]:  # fmt: skip
        """(mean nats per token of the cut stories, bits per byte of the whole ones; None if not asked for, known or finite).

        notify: called with the batches done and all batches.
        """
        sums = torch.zeros(3, dtype=torch.float64, device=device)  # nats, nats of stories that are long, of those whole
        was_training = model.training
        model.eval()
        long = set(self.long_places.tolist())
        for number in range(world.rank, self.batches.steps_per_epoch, world.size):
            plan = self.batches.plan(number)
            for batch in self.batches.micro_batches(plan, rank=0, world_size=1, max_tokens=1 << 40):
                with precision.autocast():
                    logits = model(batch.ids.to(device))
                targets = batch.targets.to(device)
                sums[0] += nll_sum(logits, targets)
                if whole and long:
                    rows = [r for r, row in enumerate(plan.rows) if int(row[0]) in long]
                    if rows:
                        sums[1] += nll_sum(logits[rows], targets[rows])
            if notify is not None:
                notify(min(number + world.size, self.batches.steps_per_epoch), self.batches.steps_per_epoch)
        if whole and self.info is not None and self.long_stories:
            sums[2] += self._whole(model, slice(world.rank, None, world.size), device)
        world.all_reduce(sums)
        model.train(was_training)
        nats = float(sums[0])
        loss = nats / self.tokens
        of_whole = nats - float(sums[1]) + float(sums[2])
        if not whole or self.info is None or not math.isfinite(of_whole):
            return loss, None
        from ts_tokenizer import bits_per_byte

        info = self.info
        return loss, float(
            bits_per_byte(
                of_whole, utf8_bytes=info.utf8_bytes, unk_spelling_bits=info.unk_spelling_bits, restore_bits=info.restore_bits
            )
        )

    def _whole(self, model: nn.Module, part: slice, device: torch.device) -> float:
        stories, prompts = self.long_stories[part], self.long_prompts[part].tolist()
        if not stories:
            return 0.0
        try:
            scores = score_ids(_Scored(model, device), stories, context=self.batches.context)  # type: ignore[arg-type]
        except NonFiniteError:  # as the loss, which the trainer looks at
            return math.nan
        return -float(sum(score[skip:].sum(dtype=np.float64) for score, skip in zip(scores, prompts, strict=True)))


def sample_stories(model: nn.Module, data: TrainingData, *, count: int, seed: int, max_new_tokens: int = 120) -> list[str]:
    """Stories at temperature 0.7 (the talk's), after the first validation prompts, which they do not show, or after no prompt.

    An empty list if the model cannot generate or there is no tokenizer.
    """
    generate, tokenizer, split = getattr(model, "generate", None), data.tokenizer, data.validation
    if generate is None or tokenizer is None or count == 0:
        return []
    was_training = model.training
    model.eval()
    prompts = [[tokenizer.bos_id]] * count
    if split is not None and (lengths := getattr(split, "prompts", None)) is not None:
        prompts = [split.ids[at : at + n].tolist() for at, n in zip(split.offsets[:-1], lengths[:count], strict=False)]
    # Without kernels: to compile them takes longer than they save on a few short stories.
    options = {"stepper": TorchStepper(model)} if isinstance(model, StoryModel) else {}
    written = generate(prompts, method="sample", temperature=0.7, max_new_tokens=max_new_tokens, seed=seed, **options)
    model.train(was_training)
    return [tokenizer.decode(ids) for ids in written]


class _Scored(nn.Sequential):
    """Any module as `score_ids` wants it: with a device."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        super().__init__(model)
        self.device = device
        self.train(model.training)
