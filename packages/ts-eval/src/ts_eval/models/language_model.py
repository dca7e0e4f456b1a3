"""Adapter for a ts-models folder, or a LanguageModel in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..schemas import LossPoint
from ..schemas.report import LARGEST
from .adapter import ModelAdapter, Scored, TrainedOn
from .checked import need_finite_weights
from .restoration import price

if TYPE_CHECKING:
    from ts_models import LanguageModel, TrainingSummary

SHORTENED = "prompts of more than half its context were shortened from the left"
UNASKED = "was trained to write stories behind prompts, and gets none here; `ts-eval instruct` asks it"
BATCH = 100
"""Prompts per batch: bounds the key-value cache."""


def open_language_model(spec: str) -> ModelAdapter:
    """Load a folder (or a name that ts_models knows)."""
    import ts_models

    return LanguageModelAdapter(ts_models.load(spec))


def trained_on(path: Path | None, training: TrainingSummary | None) -> TrainedOn:
    """The training record of a model folder, or of the summary of a model in memory."""
    from ts_models import read_train_stories

    stories = None if path is None or not path.is_dir() else read_train_stories(path)
    known = stories if stories is not None and len(stories) else None  # empty: unknown, e.g. trained on from other weights
    return TrainedOn(None if training is None else training.splits_fingerprint, known)


def _curve(path: Path | None, training: TrainingSummary | None) -> tuple[LossPoint, ...]:
    """Every point of metrics.jsonl beside the model folder, as `ts-train run` writes it; otherwise those of training.json."""
    file = None if path is None else path.resolve().parent / "metrics.jsonl"
    try:
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file is not None else []
        found = [
            LossPoint(step=row["step"], tokens=row["tokens"], train_loss=_finite(row.get("loss")))
            if row["kind"] == "step"
            else LossPoint(step=row["step"], tokens=row["tokens"], validation_loss=_finite(row.get("validation_loss")))
            for row in rows
            if row.get("kind") in {"step", "validation"} and not row.get("skipped")
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        found = []  # absent, or of another program
    if found or training is None:
        return tuple(found)
    return tuple(
        LossPoint(step=p.step, tokens=p.tokens, train_loss=_finite(p.train_loss), validation_loss=_finite(p.validation_loss))
        for p in training.curve
    )


def _finite(value: object) -> float | None:
    """The number; None for NaN, what is too large to be drawn, and what is no number."""
    return float(value) if isinstance(value, (int, float)) and abs(value) < LARGEST else None


class LanguageModelAdapter(ModelAdapter):
    """A LanguageModel: generates, scores, and knows its training record and embeddings."""

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
        self.whole_words = hasattr(tokenizer, "extra_bits")
        self.curve = _curve(path, lm.training)
        if lm.training is not None and lm.training.prompts is not None:
            self.notes.append(UNASKED)

    def generate(self, prompts: Sequence[str], **options: Any) -> list[str]:
        """Completions in batches of prompts; each batch has its own seed."""
        written: list[str] = []
        seed = options.pop("seed", 0)
        prompts = [self._fitting(prompt) for prompt in prompts]
        for at in range(0, len(prompts), BATCH):
            batch = list(prompts[at : at + BATCH])
            written += self.lm.generate(batch, return_full_text=False, seed=seed + at, **options)
        return written

    def _fitting(self, prompt: str) -> str:
        """The prompt, cut from the left to at most half of the context, which leaves the other half for the completion."""
        limit = self.lm.config.context_limit
        room = None if limit is None else limit // 2
        words = prompt.split(" ")
        shortened = False
        while room is not None and len(words) > 1 and (over := len(self.lm.encode_prompt(" ".join(words))) - room) > 0:
            words, shortened = words[max(1, over // 2) :], True
        if shortened and SHORTENED not in self.notes:
            self.notes.append(SHORTENED)
        return " ".join(words)

    def score(self, texts: Sequence[str]) -> Scored:
        """Score whole stories in windows of the context; the tokenizer gives the bits of `<unk>`, case and blanks."""
        import numpy as np

        from ts_models import score_ids

        tokenizer: Any = self.lm.text_tokenizer()
        ids = [np.asarray(self.lm.encode_story(text)) for text in texts]
        different = {story.tobytes(): story for story in ids}  # scored once: equal ids tie, whatever their places in a batch
        scores = dict(zip(different, score_ids(self.lm.model, list(different.values())), strict=True))
        logprobs = [scores[story.tobytes()] for story in ids]
        if hasattr(tokenizer, "extra_bits"):
            return Scored(logprobs, np.asarray(tokenizer.extra_bits(list(texts)), float), ids)
        bits, note = price(texts, [tokenizer.decode(tokenizer.encode(text)) for text in texts])
        return Scored(logprobs, bits, ids, note)

    def neighbours(self, word: str, k: int = 8) -> list[tuple[str, float]] | None:
        """Nearest tokens by cosine of the input embeddings."""
        from ts_models.errors import ConfigError

        try:
            return self.lm.neighbours(word, k=k)
        except ConfigError:
            return None
