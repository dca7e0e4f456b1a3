"""WordTokenizer: train, encode, decode, save, load."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import pyarrow as pa

from ts_data.artefact import StrPath, check_file, parse_model, read_json, sha256_bytes, write_text
from ts_data.schemas import DatasetManifest

from .bits import Spelling, fit_spelling
from .checks import check_column, check_ids, check_text, check_texts
from .detokenizer.align import align
from .detokenizer.fit import fit
from .detokenizer.markers import Markers
from .detokenizer.model import OTHER, PAST, WHOLE, Decoder, Stories, Story, Walk, case_of, cased
from .detokenizer.stream import StreamDecoder
from .errors import ArtefactError, ConfigError, VocabularyError
from .fast.table import Bulk, open_bulk
from .migrations import TOKENIZER as MIGRATIONS
from .rules.chunks import ChunkTable
from .rules.pinned import Rules, pin
from .rules.text import normalise, spans
from .schemas import MARKERS, SPECIALS, Casing, DecoderSpec, TokenizerSpec, TrainedOn
from .vocabulary import check_size, choose, count_tokens

if TYPE_CHECKING:
    from ts_data.console import Progress

    from .prompt import PromptCleaner

DECODER_STORIES = 40_000  # limits the time and memory of fitting the detokenizer
ROWS = 4_000  # stories per scan: about 3 MB, which fits the CPU cache


class WordTokenizer:
    """A word-level tokenizer on spaCy's English rules. Create one by `WordTokenizer.train` or `load`.

    Ids are words by falling count, then the markers of `casing="keep"`, then `<eos> <bos> <unk> <pad>`.
    """

    def __init__(self, spec: TokenizerSpec) -> None:
        self.spec = spec
        self.casing: Casing = spec.casing
        self.vocab: tuple[str, ...] = tuple(spec.vocab)
        self.vocab_size = len(self.vocab)
        self.token_to_id = {token: i for i, token in enumerate(self.vocab)}
        self.eos_id, self.bos_id, self.unk_id, self.pad_id = (self.token_to_id[token] for token in SPECIALS)
        self.special_ids = frozenset((self.eos_id, self.bos_id, self.unk_id, self.pad_id))
        self._words = {token: i for token, i in self.token_to_id.items() if token not in SPECIALS}
        self._markers: Markers | None = None
        if spec.casing == "keep":
            self._markers = Markers(self.token_to_id)
            self._words = {token: i for token, i in self._words.items() if token not in MARKERS}
        self._table = ChunkTable(Rules(spec.rules))
        self._decoder = Decoder(spec.decoder, self.vocab)
        self._spelling = Spelling(spec.spelling)

    # --- training and saving -----------------------------------------------------------------

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        vocab_size: int = 2048,
        casing: Casing = "lower",
        manifest: DatasetManifest | None = None,
        progress: Progress | None = None,
    ) -> WordTokenizer:
        """Learn the vocabulary, the detokenizer and the spelling model from training stories.

        Args:
            texts: the stories: any iterable of str, or the result of `ts_data.read`.
            vocab_size: number of entries, including the four special tokens (and the markers of `casing="keep"`).
            casing: "lower" restores capitals by prediction; "keep" adds markers where the prediction is wrong.
            manifest: the manifest of the stories' splits (`ts_data.open_manifest`); the result of `ts_data.read` has its own.
                The tokenizer records its fingerprint and its cleaning rules, by which it cleans prompts.
            progress: called with the number of stories read, then before and after the detokenizer learns from a sample of them.

        Raises:
            ConfigError: `vocab_size` leaves no room for words, or `texts` is empty.
            TypeError: `texts` is a single str, or an entry is not a str.
        """
        check_size(vocab_size, casing)
        if manifest is None and getattr(texts, "name", None) == "train":
            manifest = getattr(texts, "manifest", None)
        table = ChunkTable(Rules(pin()))
        counts, sample, stories = count_tokens(texts, table, DECODER_STORIES, progress)
        if not stories:
            raise ConfigError("texts: contains no story; a vocabulary needs at least one.")
        vocab = choose(counts, vocab_size, casing)
        kept = set(vocab)
        hidden = {word: count for word, count in counts.items() if word not in kept}
        spec = TokenizerSpec(
            casing=casing,
            vocab=vocab,
            trained_on=TrainedOn(
                stories=stories,
                tokens=counts.total(),
                distinct=len(counts),
                splits_fingerprint=None if manifest is None else manifest.fingerprint,
                cleaning=None if manifest is None else manifest.config.steps,
            ),
            rules=table.rules.spec,
            decoder=DecoderSpec(),
            spelling=fit_spelling(hidden or counts),
        )
        bare = cls._on(table, spec)
        learned = progress or (lambda *_: None)
        learned("detokenizer", 0, len(sample))
        decoder = fit(bare.stories(sample), vocab)
        learned("detokenizer", len(sample), len(sample))
        return cls._on(table, spec.model_copy(update={"decoder": decoder}))

    @classmethod
    def _on(cls, table: ChunkTable, spec: TokenizerSpec) -> WordTokenizer:
        """A tokenizer that shares a table of chunks that were split by the same rules."""
        tokenizer = cls(spec)
        tokenizer._table = table
        return tokenizer

    def __getstate__(self) -> dict[str, Any]:
        """The contents only; tables and locks are rebuilt on unpickling."""
        return {"spec": self.spec, "content": self._content}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["spec"])  # type: ignore[misc]
        self._content = state["content"]

    def __repr__(self) -> str:
        return f"<WordTokenizer: {self.vocab_size:,} entries, casing={self.casing}>"

    def save(self, path: StrPath) -> None:
        """Write word_tokenizer.json atomically. Raises ArtefactError if `path` is a folder or device."""
        check_file(path, "a file", lambda _: True, error=ArtefactError)
        write_text(path, self._content)

    @cached_property
    def _content(self) -> str:
        fields = self.spec.model_dump(mode="json").items()  # a line each: half the blanks and line breaks of an indented file
        return (
            "{\n"
            + ",\n".join(f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields)
            + "\n}\n"
        )

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file that `save` writes."""
        return sha256_bytes(self._content.encode("utf-8"))

    def to_huggingface(self) -> Any:
        """A `transformers.PreTrainedTokenizerFast` of this vocabulary; the module `huggingface` lists where ids differ."""
        from .huggingface import to_huggingface

        return to_huggingface(self.token_to_id, self.casing)

    # --- text to ids -------------------------------------------------------------------------

    def tokens(self, text: str) -> list[str]:
        """The tokens of `spacy.blank("en")` for the text in lower case."""
        return self._table.split(normalise(check_text(text)))

    def clean_prompt(self, text: str) -> str:
        """Apply the corpus' cleaning rules to a text: quotes, dashes, blanks, invisible characters."""
        return self._prompt_cleaner(check_text(text))

    def encode_prompt(self, text: str) -> list[int]:
        """Ids of a prompt: `encode(clean_prompt(text))`."""
        return self.encode(self.clean_prompt(text))

    @cached_property
    def _prompt_cleaner(self) -> PromptCleaner:
        from .prompt import PromptCleaner

        return PromptCleaner(self.spec.trained_on.cleaning, self.vocab, lambda text: self.encode(text).count(self.unk_id))

    @overload
    def encode(self, text: str, *, offsets: Literal[False] = False, add_special_tokens: bool = False) -> list[int]: ...
    @overload
    def encode(
        self, text: str, *, offsets: Literal[True], add_special_tokens: bool = False
    ) -> tuple[list[int], list[tuple[int, int]]]: ...
    def encode(
        self, text: str, *, offsets: bool = False, add_special_tokens: bool = False
    ) -> list[int] | tuple[list[int], list[tuple[int, int]]]:
        """Ids of a text; with `offsets` also each token's (start, end) in it, in characters.

        `add_special_tokens` adds `<bos>` and `<eos>`, with empty offsets at the ends of the text.
        """
        if self._markers is not None:
            ids, found = self._encode_keep(text)
        else:
            tokens = self.tokens(text)
            ids = [self._words.get(token, self.unk_id) for token in tokens]
            found = spans(text, tokens) if offsets else []
        if add_special_tokens:
            ids = [self.bos_id, *ids, self.eos_id]
        if not offsets:
            return ids
        if add_special_tokens:
            found = [(0, 0), *found, (len(text), len(text))]
        return ids, found

    def _encode_keep(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids with markers where the detokenizer would be wrong; a marker has an empty span at the start of its token."""
        assert self._markers is not None
        story, found = self.align(text)
        ids: list[int] = []
        where: list[tuple[int, int]] = []
        for i, marks, (start, end) in zip(
            story.ids.tolist(), self._markers.write(story, self._decoder, self.unk_id), found, strict=True
        ):
            ids += [*marks, i]
            where += [*[(start, start)] * len(marks), (start, end)]
        return ids, where

    def encode_batch(self, texts: Iterable[str], *, add_special_tokens: bool = False) -> list[np.ndarray]:
        """Ids of many texts, one uint16 array each. Large batches use one thread per core."""
        texts = check_texts(texts)
        parts = [texts[start : start + ROWS] for start in range(0, len(texts), ROWS)]
        out: list[np.ndarray] = []
        with ThreadPoolExecutor(min(len(parts), os.cpu_count() or 1) or 1) as pool:
            for ids, lengths in pool.map(lambda part: self.encode_flat(part, add_special_tokens=add_special_tokens), parts):
                ends = np.cumsum(lengths).tolist()
                out += [ids[a:b] for a, b in zip([0, *ends], ends, strict=False)]
        return out

    def encode_flat(
        self, texts: Iterable[str] | pa.Array | pa.ChunkedArray, *, add_special_tokens: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids of many texts, concatenated, uint16 [tokens], and each text's length, int64 [texts]: the fastest way to encode.

        An Arrow array of strings is read without conversion.
        """
        array = _column(texts)
        if self._bulk is not None and self._markers is None:
            return self._bulk.encode(array, *((self.bos_id, self.eos_id) if add_special_tokens else (-1, -1)))
        stories = [self.encode(text, add_special_tokens=add_special_tokens) for text in array.to_pylist()]
        flat = np.fromiter((i for story in stories for i in story), dtype=np.uint16)
        return flat, np.array([len(story) for story in stories], dtype=np.int64)

    @cached_property
    def _bulk(self) -> Bulk | None:
        return open_bulk(self._table, self._id)

    # --- ids to text -------------------------------------------------------------------------

    def decode(self, ids: Iterable[int], *, skip_special_tokens: bool = True) -> str:
        """Text for ids, with predicted blanks and capitals. `<unk>` stays in the text.

        Raises VocabularyError for an id outside the vocabulary, TypeError for values that are not integers.
        """
        return "".join(self.pieces(self.checked(ids, skip=skip_special_tokens)))

    def pieces(self, ids: Sequence[int], *, streaming: bool = False) -> list[str]:
        """The text of each token, its leading blank included; markers have none. With `streaming` a decision uses at most the
        next three tokens.
        """
        if self._markers is not None:
            words, fixed = self._markers.read(ids)
            blanks, cases = self._decoder.predict_rest(np.array(words, dtype=np.int64), fixed)
        else:
            words = list(ids)
            blanks, cases = self._decoder.predict(np.array(words, dtype=np.int64), PAST if streaming else WHOLE)
        return list(map(self._piece, words, blanks.tolist(), cases.tolist()))

    def _piece(self, i: int, blank: int, case: int) -> str:
        return " " * blank + (self.vocab[i] if i in self.special_ids else cased(self.vocab[i], case))

    def stream_decoder(self) -> StreamDecoder:
        """A decoder for one text that is being generated: `.push(id)` and `.finish()` return text."""
        return StreamDecoder(self.checked, self._piece, Walk(self._decoder), self._markers)

    def checked(self, ids: Iterable[int], *, skip: bool = True) -> list[int]:
        """The ids as a list, without special tokens other than `<unk>` if `skip`. Raises VocabularyError for an unknown id."""
        hidden = self.special_ids - {self.unk_id} if skip else frozenset()
        kept = []
        for row, i in enumerate(check_ids(ids)):
            if not 0 <= i < self.vocab_size:
                raise VocabularyError(f"ids[{row}]: id {i} is outside this vocabulary of {self.vocab_size:,} entries.")
            if i not in hidden:
                kept.append(i)
        return kept

    def align(self, text: str) -> tuple[Story, list[tuple[int, int]]]:
        """Ids of a text (without markers) with its actual blanks and cases, and each token's span.

        With `casing="keep"` a token whose case no marker can express ("McDonald") is `<unk>`.
        """
        tokens = self.tokens(text)
        found = spans(text, tokens)
        ids = np.array([self._words.get(token, self.unk_id) for token in tokens], dtype=np.int64)
        blanks = np.array([i > 0 and start > found[i - 1][1] for i, (start, _) in enumerate(found)], dtype=np.int64)
        cases = np.array([case_of(text[a:b], token) for token, (a, b) in zip(tokens, found, strict=True)], dtype=np.int64)
        if self.casing == "keep":
            ids[cases == OTHER] = self.unk_id
        return Story(ids, blanks, cases), found

    def stories(self, texts: Iterable[str]) -> Stories:
        """The results of `align` for many texts, concatenated."""
        return align(check_texts(texts), self._table, self._id, self.unk_id, keep=self.casing == "keep")

    def _id(self, token: str) -> int:
        return self._words.get(token, self.unk_id)

    # --- information not in the ids------------------------------------------------------------

    def extra_bits(self, texts: Iterable[str]) -> np.ndarray:
        """Bits that a model's loss over ids does not include, float64 [texts, 2].

        Column 0: to spell the word behind each `<unk>`, case included. Column 1: to correct blanks and case where decode is
        wrong.
        """
        texts = check_texts(texts)
        stories = self.stories(texts)
        priced = stories.ids == self.unk_id
        restore = np.zeros(len(texts))  # with casing="keep" the markers hold this information, and the model's loss includes them
        if self.casing == "lower":
            restore, other = self._decoder.bits(stories)
            restore += stories.sums(self._spelled(stories, other))
        return np.column_stack([stories.sums(self._spelled(stories, priced)), restore])

    def _spelled(self, stories: Stories, chosen: np.ndarray) -> np.ndarray:
        """Bits to spell the chosen tokens, 0 for others, float64 [tokens]."""
        bits = np.zeros(len(stories.surfaces))
        for place in np.unique(stories.where[chosen]).tolist():
            bits[place] = self._spelling.bits(stories.surfaces[place])
        return np.where(chosen, bits[stories.where], 0.0)


def load(path: StrPath) -> WordTokenizer:
    """Read a word_tokenizer.json. Raises `ArtefactError` if it is missing, damaged, of another kind or too new."""
    content = read_json(path, error=ArtefactError)
    spec = parse_model(
        content, TokenizerSpec, source=str(path), package="tinystories-tokenizer", migrations=MIGRATIONS, error=ArtefactError
    )
    try:
        tokenizer = WordTokenizer(spec)
    except ValueError as problem:  # what the schema does not see: the bits of the packed keys
        raise ArtefactError(f"{path}: decoder: {problem}. Train the tokenizer again.") from None
    tokenizer._content = Path(path).read_bytes().decode("utf-8")  # `sha256` is that of the file, which encoded folders record
    return tokenizer


def _column(texts: Iterable[str] | pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(texts, pa.Array | pa.ChunkedArray):
        return check_column(texts)
    return pa.array(check_texts(texts), type=pa.large_string())
