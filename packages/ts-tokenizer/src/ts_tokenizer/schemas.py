"""Schemas of the tokenizer file and of the manifest of an encoded folder. Standard library and pydantic only."""

import base64
import re
import struct
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from ts_data.schemas import Count, FileInfo, PromptFormat, Sha256

SPECIALS = ("<eos>", "<bos>", "<unk>", "<pad>")
"""The last four entries of every vocabulary, in the original's order."""

MARKERS = ("<lower>", "<cap>", "<upper>", "<join>", "<space>")
"""`casing="keep"`: entries that precede a token whose case or blank the detokenizer would predict wrongly."""

MAX_VOCAB = 65_536
"""Ids are stored as uint16."""

Casing = Literal["lower", "keep"]


def _packed_bytes(text: str) -> int:
    return len(base64.b64decode(text))


def _is_base64(text: str) -> str:
    base64.b64decode(text, validate=True)
    return text


Packed = Annotated[str, AfterValidator(_is_base64)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RulesSpec(_Frozen):
    """spaCy's English rules as they were on the day of training; any later spaCy rebuilds the same Tokenizer from them."""

    language: Literal["en"] = "en"
    spacy_version: str
    prefix: str
    suffix: str
    infix: str
    token_match: str | None
    url_match: str | None
    exceptions: dict[str, list[str]]
    """Special case -> the tokens it is split into."""

    @field_validator("prefix", "suffix", "infix", "token_match", "url_match")
    @classmethod
    def _is_a_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except (re.error, OverflowError, RecursionError) as problem:
            raise ValueError(f"not a regular expression ({problem})") from None
        return pattern

    @field_validator("exceptions")
    @classmethod
    def _tokens_make_up_the_text(cls, exceptions: dict[str, list[str]]) -> dict[str, list[str]]:
        for text, tokens in exceptions.items():
            if "".join(tokens) != text:
                raise ValueError(f"the tokens of {text!r} do not make it up")
        return exceptions


class DecoderSpec(_Frozen):
    """A log-linear model of blanks and capitals: little-endian arrays in base64. Scores are in units of 1/1024 nat."""

    quotes: Literal["decided", "parity"] = "decided"
    """Which quotation marks stand open: by the blanks that were decided beside each, or every second one closes (version 1)."""
    classes: Packed = ""
    """uint8 [4, vocab]: how often each word is capital inside a sentence, tells who speaks, has no blank before it, none behind
    it; in steps from 1 (never) to 5 (always), 0 where too little was seen."""
    together: int = Field(default=0, ge=0)
    """Occurrences of a word in a story whose capital scores less than this are decided by a mean; 0 in version 2."""
    witness: int = Field(default=0, ge=0)
    """That mean is of the occurrences that score less than this, and a word in all capitals is so at doubtful places too. 0: of
    the unsure ones alone, and all capitals stay where they are."""
    templates: Packed = ""
    """uint32 [templates, 6]: template, number of its features, sizes of their three fields, bytes in `keys`."""
    keys: Packed = ""
    """What each feature holds (ids, classes, scores in steps), ascending, Elias-Fano coded by template: the high bits in unary
    (zeros, then a one), then the low bits of each. Templates from 256 are weights towards all capitals."""
    step: int = Field(default=1, ge=1)
    """A weight of 1, as a score."""
    weight_bytes: Literal[1, 2] = 1
    weights: Packed = ""
    """int8 or int16 [features]: towards a blank or a capital, in steps."""

    @model_validator(mode="after")
    def _arrays_fit(self) -> Self:
        entries, left = divmod(_packed_bytes(self.templates), 24)
        table = struct.unpack(f"<{6 * entries}I", base64.b64decode(self.templates)[: 24 * entries])
        if left or sum(table[5::6]) != _packed_bytes(self.keys):
            raise ValueError("`templates` and `keys` do not belong together")
        if sum(table[1::6]) * self.weight_bytes != _packed_bytes(self.weights):
            raise ValueError("`keys` and `weights` do not belong together")
        return self


class SpellingSpec(_Frozen):
    """A character model of the words that train hides behind `<unk>`: context (at most two characters) -> next -> count."""

    counts: dict[str, dict[str, int]] = {}


class TrainedOn(_Frozen):
    """What the vocabulary was counted on."""

    stories: Count
    tokens: Count
    distinct: Count
    splits_fingerprint: Sha256 | None = None
    """`DatasetManifest.fingerprint` of the splits whose train stories these were; None where that is unknown."""
    cleaning: tuple[str, ...] | None = None
    """The cleaning rules of those splits, by which prompts are repaired; None where they are unknown."""


class TokenizerSpec(_Frozen):
    """word_tokenizer.json."""

    format: Literal["ts-tokenizer/word"] = "ts-tokenizer/word"
    schema_version: Literal[3] = 3
    casing: Casing
    vocab: list[str]
    """In id order; the last four are `SPECIALS`."""
    trained_on: TrainedOn
    rules: RulesSpec
    decoder: DecoderSpec
    spelling: SpellingSpec

    @model_validator(mode="after")
    def _vocabulary_holds(self) -> Self:
        if tuple(self.vocab[-len(SPECIALS) :]) != SPECIALS:
            raise ValueError(f"the last entries of `vocab` must be {', '.join(SPECIALS)}")
        if len(self.vocab) > MAX_VOCAB:
            raise ValueError(f"`vocab` has {len(self.vocab):,} entries; ids are uint16, so {MAX_VOCAB:,} is the most")
        if self.casing == "keep" and tuple(self.vocab[-len(SPECIALS) - len(MARKERS) : -len(SPECIALS)]) != MARKERS:
            raise ValueError(f"with casing keep, {', '.join(MARKERS)} must stand before the specials in `vocab`")
        if len(set(self.vocab)) != len(self.vocab):
            raise ValueError("`vocab` names a token twice")
        if _packed_bytes(self.decoder.classes) not in (0, 4 * len(self.vocab)):
            raise ValueError("`decoder.classes` does not have four entries for each token of `vocab`")
        return self


class EncodedSplitInfo(_Frozen):
    """One split of encoded/: its counts, and what bits per byte needs."""

    stories: Count
    tokens: Count
    """With `<bos>` and `<eos>` of every story."""
    unk_tokens: Count
    utf8_bytes: Count
    unk_spelling_bits: float = Field(ge=0)
    """Bits to spell what stands behind each `<unk>` under the tokenizer's character model."""
    restore_bits: float = Field(ge=0)
    """Bits to put right the case and the blanks that decode would get wrong."""
    priced_stories: Count
    """How many stories, evenly spread, the two were measured on before they were scaled to all; small splits: every one."""
    bin: FileInfo
    idx: FileInfo
    prompts: FileInfo | None = None
    """Tokens of each story before the story itself (`<bos>` and its prompt), int64. None if the stories have no prompts;
    `utf8_bytes` and the bits are those of the stories alone."""


class EncodedManifest(_Frozen):
    """encoded/manifest.json."""

    format: Literal["ts-tokenizer/encoded"] = "ts-tokenizer/encoded"
    schema_version: Literal[1] = 1
    tokenizer_sha256: Sha256
    splits_fingerprint: Sha256
    cleaner_hash: str
    vocab_size: int = Field(ge=len(SPECIALS), le=MAX_VOCAB)
    bos_id: int
    eos_id: int
    unk_id: int
    pad_id: int
    splits: dict[Literal["train", "validation", "test"], EncodedSplitInfo]
    train_stories: FileInfo | None = None
    """train_stories.npy: the sorted, distinct hashes (`ts_data.story_hashes`, uint64) of the train split's stories. None in
    a folder of an earlier version."""
    prompts: PromptFormat | None = None
    """How the prompts of the stories are written (`ts_data.instruct`). None if the stories have no prompts."""

    @model_validator(mode="after")
    def _special_ids_hold(self) -> Self:
        special = {self.bos_id, self.eos_id, self.unk_id, self.pad_id}
        if len(special) < len(SPECIALS) or not special <= set(range(self.vocab_size)):
            raise ValueError("`bos_id`, `eos_id`, `unk_id` and `pad_id` must be four ids below `vocab_size`")
        return self


SCHEMAS: dict[str, type] = {"ts-tokenizer.word": TokenizerSpec, "ts-tokenizer.encoded": EncodedManifest}
