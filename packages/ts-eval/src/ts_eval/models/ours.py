"""A ts-models folder, or a LanguageModel in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._checked import need_finite_weights
from ._lost import price
from .base import Scored, Subject, TrainedOn

if TYPE_CHECKING:
    from ts_models import LanguageModel, TrainingSummary

__all__ = ["Ours", "open_ours", "trained_on"]

SHORTENED = "prompts of more than half its context were shortened from the left"
BATCH = 100
"""Prompts written at once: bounds the key-value cache."""


def open_ours(spec: str) -> Subject:
    """Load a folder (or a name that ts_models knows)."""
    import ts_models

    return Ours(ts_models.load(spec))


def trained_on(path: Path | None, training: TrainingSummary | None) -> TrainedOn:
    """What a model folder, or the summary of a model in memory, records of its training stories."""
    from ts_models import read_train_stories

    stories = None if path is None or not path.is_dir() else read_train_stories(path)
    known = stories if stories is not None and len(stories) else None  # an empty list: what came before is not known
    return TrainedOn(None if training is None else training.splits_fingerprint, known)


class Ours(Subject):
    """A LanguageModel as a subject."""

    def __init__(self, lm: LanguageModel) -> None:
        from ts_models import count_parameters

        path = lm.path
        name = lm.name if lm.name != "model" or path is None else path.resolve().parent.name
        super().__init__(name, "ts-models", str(path or ""), count_parameters(lm.config), lm.training)
        need_finite_weights(str(path or name), lm.model)
        self.lm = lm
        self.trained_on = trained_on(path, lm.training)
        tokenizer: Any = lm.text_tokenizer()
        self.encoder = tokenizer if hasattr(tokenizer, "encode_batch") else None

    def generate(self, prompts: Sequence[str], **options: Any) -> list[str]:
        """Completions, in batches of prompts; the seed moves on with each batch."""
        written: list[str] = []
        seed = options.pop("seed", 0)
        prompts = [self._fitting(prompt) for prompt in prompts]
        for at in range(0, len(prompts), BATCH):
            batch = list(prompts[at : at + BATCH])
            written += self.lm.generate(batch, return_full_text=False, seed=seed + at, **options)
        return written

    def _fitting(self, prompt: str) -> str:
        """The prompt, or the last words of it that leave half of a Transformer's context for the answer."""
        room = self.lm.config.max_seq_len // 2 if self.lm.config.kind == "transformer" else None
        words = prompt.split(" ")
        shortened = False
        while room is not None and len(words) > 1 and (over := len(self.lm.encode_prompt(" ".join(words))) - room) > 0:
            words, shortened = words[max(1, over // 2) :], True
        if shortened and SHORTENED not in self.notes:
            self.notes.append(SHORTENED)
        return " ".join(words)

    def score(self, texts: Sequence[str]) -> Scored:
        """Whole stories in windows of the context; what `<unk>`, case and blanks cost from the tokenizer."""
        import numpy as np

        from ts_models import score_ids

        tokenizer: Any = self.lm.text_tokenizer()
        ids = [np.asarray(self.lm.encode_story(text)) for text in texts]
        logprobs = score_ids(self.lm.model, ids)
        if hasattr(tokenizer, "extra_bits"):
            return Scored(list(logprobs), np.asarray(tokenizer.extra_bits(list(texts)), float), ids)
        bits, note = price(texts, [tokenizer.decode(tokenizer.encode(text)) for text in texts])
        return Scored(list(logprobs), bits, ids, note)

    def neighbours(self, word: str, k: int = 8) -> list[tuple[str, float]] | None:
        """Nearest tokens by cosine of the input embeddings."""
        from ts_models.errors import ConfigError

        try:
            return self.lm.neighbours(word, k=k)
        except ConfigError:
            return None
