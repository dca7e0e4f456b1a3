"""LanguageModel: a network joined to its tokenizer. Text in, text out; ids where there is no tokenizer."""

from __future__ import annotations

import difflib
import html
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np
import torch
from numpy.typing import NDArray

from .architectures import StoryModel
from .checks import check_text, text_list
from .errors import ConfigError, TokenizerError
from .generation import Hypothesis, Step, Stepper, generate_steps, make_config, make_stepper
from .generation.require import generate_required
from .generation.task import CallOptions
from .generation.text import Event, Story, make_story, stop_check, stream_events, vocabulary_of
from .protocols import Tokenizer
from .schemas import GenerationConfig, ModelConfig, TrainingSummary
from .scoring import score_ids


class LanguageModel:
    """A network with its tokenizer, as `ts_models.load` returns it. `tokenizer` and `training` may be None."""

    def __init__(
        self,
        model: StoryModel,
        tokenizer: Tokenizer | None = None,
        *,
        training: TrainingSummary | None = None,
        path: str | os.PathLike[str] | None = None,
        missing_tokenizer: str = "this model has no tokenizer; it takes ids only: lm.model.generate([[1, 2, 3]]).",
    ) -> None:
        self.model, self.tokenizer, self.training = model, tokenizer, training
        self.path = None if path is None else Path(path)
        self._missing_tokenizer = missing_tokenizer
        self._draft: LanguageModel | None = None
        self._precision = "float32"
        if tokenizer is not None:
            _check_fit(tokenizer, model.config, str(self.path or "model"))

    def __repr__(self) -> str:
        tokenizer = "without a tokenizer" if self.tokenizer is None else f"vocabulary {self.config.vocab_size:,}"
        size = sum(parameter.numel() for parameter in self.model.parameters())
        return f"<LanguageModel {self.name}: {self.config.kind}, {size:,} parameters, {tokenizer}, on {self.model.device}>"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        rows = {
            "model": self.name,
            "network": f"{self.config.kind}, {sum(p.numel() for p in self.model.parameters()):,} parameters, {self.model.dtype}",
            "vocabulary": f"{self.config.vocab_size:,}" + ("" if self.tokenizer is not None else " (no tokenizer: ids only)"),
            "context": f"{self.config.max_seq_len} tokens" + ("" if self.config.context_limit else ", goes on beyond"),
        }
        if self.training is not None:
            loss = self.training.best_validation_loss
            rows["trained on"] = f"{self.training.tokens:,} tokens" + ("" if loss is None else f", validation loss {loss:.4f}")
        cells = "".join(f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in rows.items())
        return f"<table>{cells}</table>"

    @property
    def config(self) -> ModelConfig:
        """The network's config."""
        return self.model.config

    @property
    def name(self) -> str:
        """The folder's name, to show beside results."""
        return self.path.resolve().name if self.path is not None else self.config.kind

    def text_tokenizer(self) -> Tokenizer:
        """The tokenizer, or TokenizerError saying what to install."""
        if self.tokenizer is None:
            raise TokenizerError(self._missing_tokenizer)
        return self.tokenizer

    def encode_prompt(self, prompt: str, *, words: Sequence[str] = (), features: Sequence[str] = ()) -> list[int]:
        """Ids of the beginning of a story: `<bos>`, what is asked for (`ask`), and the prompt.

        A tokenizer with `encode_prompt` repairs the prompt as its corpus was repaired (curly quotes, double blanks).
        """
        check_text(prompt, "the prompt")
        tokenizer = self.text_tokenizer()
        encode = getattr(tokenizer, "encode_prompt", tokenizer.encode)
        return [*self._opening(), *encode(self.ask(words, features)), *encode(prompt)]

    def ask(self, words: Sequence[str] = (), features: Sequence[str] = ()) -> str:
        """The text that asks for a story with these words and features, as the training prompts spell it; "" for none.

        Raises ConfigError for a model that was trained without prompts, and for a feature that it does not know.
        """
        words, features = text_list(words, "words"), text_list(features, "features")
        if not words and not features:
            return ""
        prompts = None if self.training is None else self.training.prompts
        if prompts is None:
            raise ConfigError(
                f"{self.name}: was trained on stories without prompts, so it cannot be asked for words or features. Use `require`, "
                "or train on prompts: ts-data instruct splits/ --out instruct/"
            )
        return prompts.prompt(words, features)

    def encode_story(self, text: str) -> list[int]:
        """Ids of a whole story as it is written: `<bos> … <eos>`."""
        check_text(text, "the story")
        ending = [self.config.eos_id] if self.config.eos_id >= 0 else []
        return [*self._opening(), *self.text_tokenizer().encode(text), *ending]

    def _opening(self) -> list[int]:
        return [self.config.bos_id] if self.config.bos_id >= 0 else []

    @overload
    def generate(self, prompts: str = "", *, return_full_text: bool = True, **options: Any) -> str | list[str]: ...
    @overload
    def generate(self, prompts: Sequence[str], *, return_full_text: bool = True, **options: Any) -> list[str]: ...
    def generate(self, prompts: str | Sequence[str] = "", *, return_full_text: bool = True, **options: Any) -> str | list[str]:
        """Write stories that begin with the prompts; `options` are the fields of GenerationConfig, and `words` and `features` to ask for.

        One prompt gives one text, or a list of them where num_return_sequences is above 1; a list gives a list, each
        prompt's stories side by side. The full text begins with the prompt as given, also where the vocabulary lacks
        a word of it (the model reads `<unk>` there). See `write` for where a story ends.
        """
        stories = self.write(prompts, **options)
        texts = [story.full_text if return_full_text else story.text for story in stories]
        return texts[0] if isinstance(prompts, str) and len(texts) == 1 else texts

    def write(
        self,
        prompts: str | Sequence[str] = "",
        *,
        words: Sequence[str] = (),
        features: Sequence[str] = (),
        logprobs: bool = False,
        alternatives: int = 0,
        **options: Any,
    ) -> list[Story]:
        """Like `generate`, with details of each story: ids, finish reason, score, log-probabilities.

        A story ends with `<eos>`; after `max_new_tokens`; where it fills the model's `max_seq_len` together with its
        prompt (`context`, Transformers only); or before the first of the texts in `stop`. With `require`, every story holds
        all these words and ends with `<eos>`; `generation.require` says where they are placed. `words` and `features` are asked
        for in a prompt before each story, which no text shows; the model must be trained on prompts (`ts-data instruct`).
        """
        config, tokenizer = make_config(options), self.text_tokenizer()
        beginnings = [prompts] if isinstance(prompts, str) else text_list(prompts, "prompts")
        ids = [self.encode_prompt(prompt, words=words, features=features) for prompt in beginnings]
        *_, found = self._steps(ids, config, logprobs=logprobs, alternatives=alternatives)
        assert isinstance(found, list)
        return [
            make_story(tokenizer, prompt, beginning, hypothesis, config.stop)
            for prompt, beginning, group in zip(beginnings, ids, found, strict=True)
            for hypothesis in group
        ]

    def _steps(
        self, ids: list[list[int]], config: GenerationConfig, **options: Unpack[CallOptions]
    ) -> Iterator[Step | list[list[Hypothesis]]]:
        """What `generate_steps` yields. A story with required words is one step."""
        tokenizer, stepper = self.text_tokenizer(), self.stepper()
        if config.require:
            found = generate_required(self.model, tokenizer, ids, config, stepper=stepper, **options)
            for number, (story, *_) in enumerate(found):
                yield Step([number] * len(story.ids), story.ids, story.logprobs, story.alternatives)
            yield found
            return
        if config.stop:
            options["stop"] = stop_check(tokenizer, ids, config.stop)
        yield from generate_steps(self.model, ids, config, stepper=stepper, **options)

    def stream(self, prompt: str = "", **options: Any) -> Iterator[str]:
        """Stream one story in pieces. Pieces are final; joined they are the text after the prompt."""
        for event in self.events(prompt, **options):
            if event.text:
                yield event.text

    def events(
        self,
        prompt: str = "",
        *,
        words: Sequence[str] = (),
        features: Sequence[str] = (),
        logprobs: bool = False,
        alternatives: int = 0,
        **options: Any,
    ) -> Iterator[Event]:
        """Like `stream`, with each new token and the text that became final with it; the last event holds the reason of the end.

        A story with required words (`require`) is written whole before its first event.
        """
        config = make_config({**options, "num_return_sequences": 1})
        beginning = self.encode_prompt(prompt, words=words, features=features)
        steps = self._steps([beginning], config, logprobs=logprobs, alternatives=alternatives)
        yield from stream_events(self.text_tokenizer(), prompt, beginning, steps, config.stop)

    def neighbours(self, word: str, *, k: int = 10) -> list[tuple[str, float]]:
        """The k tokens nearest to a word in embedding space, with their cosines, nearest first.

        Raises ConfigError for a word that the vocabulary lacks, naming near spellings.
        """
        check_text(word, "the word")
        if k < 1:
            raise ConfigError(f"k is {k}; at least one neighbour can be asked for.")
        vocabulary = self.vocabulary()
        spelling = word if word in vocabulary else word.lower()
        if spelling not in vocabulary:
            near = difflib.get_close_matches(spelling, vocabulary, n=3)
            hint = f" Did you mean {', '.join(near)}?" if near else ""
            raise ConfigError(f"{word!r} is not one of the {len(vocabulary):,} tokens of this vocabulary.{hint}")
        own = vocabulary.index(spelling)
        with torch.inference_mode():
            embedding: Any = self.model.embedding
            directions = torch.nn.functional.normalize(embedding.weight.float(), dim=1)
            cosines = directions @ directions[own]
            special = [number for number in {*self.config.banned_ids, self.config.eos_id} if number >= 0]
            cosines[[own, *special]] = -2.0
            best = cosines.topk(min(k, len(vocabulary) - 1 - len(special)))
        return [(vocabulary[i], c) for i, c in zip(best.indices.tolist(), best.values.tolist(), strict=True)]

    def unknown_words(self, text: str) -> list[str]:
        """Words of a text that the model reads as `<unk>`, in order, each once; empty where the tokenizer cannot tell."""
        check_text(text, "the text")
        tokenizer = self.text_tokenizer()
        split = getattr(tokenizer, "tokens", None)
        if split is None:
            return []
        text = getattr(tokenizer, "clean_prompt", str)(text)
        numbers = tokenizer.encode(text)
        words = split(text)
        if len(words) != len(numbers):
            return []
        return list(dict.fromkeys(word for word, number in zip(words, numbers, strict=True) if number == self.config.unk_id))

    def vocabulary(self) -> list[str]:
        """All tokens in id order."""
        return vocabulary_of(self.text_tokenizer())

    def speculate(self, draft: LanguageModel | None) -> LanguageModel:
        """Let a smaller model of the same vocabulary guess tokens while this one writes a single story; None ends that. Returns this model.

        Stories stay the same, id by id, for every method and seed. Where guesses do not make writing faster, none are made.
        Guessing needs the compiled kernels for both models, and has no effect on several stories at once.
        """
        if draft is not None:
            known = self.tokenizer is not None and draft.tokenizer is not None
            if self.config.vocab_size != draft.config.vocab_size or (known and self.vocabulary() != draft.vocabulary()):
                raise ConfigError(f"{draft.name} cannot guess for {self.name}: they have other vocabularies.")
        self._draft = draft
        return self

    def quantise(self, precision: str) -> LanguageModel:
        """Write with matrices rounded to `int8` or `int4`, which a large model does faster; `float32` ends it. Gives this model.

        The weights in `model` stay as they are: scores and exports are of them. Raises ConfigError for another precision, and
        where the compiled kernels do not run this network.
        """
        make_stepper(self.model, precision=precision)
        self._precision = precision
        return self

    def stepper(self) -> Stepper:
        """The stepper for this network: the fast one where network and machine allow it."""
        return make_stepper(self.model, precision=self._precision, draft=self._draft and self._draft.model)

    def logprobs(self, texts: Sequence[str], *, context: int | None = None) -> list[NDArray[np.float32]]:
        """Natural log-probabilities of the tokens of each whole story (`<eos>` included, `<bos>` given)."""
        return score_ids(self.model, [self.encode_story(text) for text in text_list(texts, "texts")], context=context)


def _check_fit(tokenizer: Tokenizer, config: ModelConfig, name: str) -> None:
    """Raise TokenizerError where tokenizer and network have other vocabularies or other special ids."""
    if tokenizer.vocab_size != config.vocab_size:
        raise TokenizerError(
            f"{name}: the tokenizer has {tokenizer.vocab_size} tokens, the model {config.vocab_size}. They do not belong together."
        )
    for field in ("eos_id", "bos_id", "unk_id", "pad_id"):
        theirs, ours = getattr(tokenizer, field), getattr(config, field)
        if ours >= 0 and theirs >= 0 and theirs != ours:
            raise TokenizerError(
                f"{name}: {field} is {theirs} in the tokenizer, but {ours} in the model's config. They do not belong together."
            )
