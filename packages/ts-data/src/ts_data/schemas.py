"""Schemas of the artefacts and settings of ts_data. Needs the standard library and pydantic only; reads no files."""

import operator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, ValidationInfo, field_validator

FULL_VALIDATION = 73_728
"""Validation stories of the full data (the talk's number); small data give `SMALL_FRACTION` instead."""

SMALL_FRACTION = 0.05
"""Share of the kept stories that validation (and a drawn test) takes, up to `FULL_VALIDATION`."""

CANARY_TIMES = (1, 4, 16, 64)
"""How often `prepare` plants a canary."""

SplitName = Literal["train", "validation", "test"]
Role = Literal["train", "test", "against"]
Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

DEFAULT_STEPS = (
    "invisible",
    "mojibake",
    "quotes",
    "ligatures",
    "backslashes",
    "stars",
    "ellipses",
    "whitespace",
    "dashes",
    "quote_sides",
    "quote_space",
    "truncated",
    "empty",
    "non_ascii",
    "short",
)
"""The order of the cleaning steps. Repairs come before rules that drop, so that nothing repairable is lost."""


def whole_number(value: Any) -> int | None:
    """The value as an int if it is a whole number, of Python or of NumPy; None for anything else, and for True and False."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# --- configuration -----------------------------------------------------------------------------


class NearConfig(_Frozen):
    """Definition of near-duplicates: MinHash finds candidates, the true Jaccard similarity decides."""

    threshold: float = Field(default=0.8, gt=0.0, le=1.0)
    """Jaccard similarity of the two sets of word n-grams from which a story counts as a near-duplicate."""

    ngram: int = Field(default=5, ge=1, le=20)
    """Words per n-gram; five is usual for text de-duplication (Lee et al. 2021, arXiv:2107.06499)."""

    bands: int = Field(default=20, ge=1, le=128)
    """LSH bands. With 5 rows each, a pair at similarity 0.8 is missed with probability (1 - 0.8^5)^20 = 0.04 %."""

    rows: int = Field(default=5, ge=1, le=32)
    """MinHash values per band."""


class PrepareConfig(_Frozen):
    """Settings of `prepare`. The number of workers is not a setting: it does not change the result."""

    format: Literal["ts-data/prepare-config"] = "ts-data/prepare-config"
    schema_version: Literal[1] = 1

    separator: str = Field(default="<|endoftext|>", min_length=1)
    """Text between two stories of a plain text file."""

    text_column: str = "text"
    """Column or key of the story in Parquet, CSV, JSON and Hub data sets ("story" is tried next). Dots address fields of
    structs and objects: "meta.story"."""

    bad_lines: Literal["stop", "skip"] = "stop"
    """What to do with a story that cannot be read (a broken JSON line, a CSV row of another width, text that is not UTF-8).
    stop: raise an error that names its place. skip: leave it out and count it in the manifest."""

    steps: tuple[str, ...] = DEFAULT_STEPS
    """Cleaning steps by name, in the order in which they run; leave one out to switch it off."""

    min_characters: int = Field(default=180, ge=0)
    """Shorter stories are dropped by the step `short` (the talk's constraint)."""

    step_options: dict[str, dict[str, JsonValue]] = Field(default={}, validate_default=True)
    """Parameters of cleaning steps that have some: step → parameter → value. Complete after validation; a parameter that is a field of
    its own, as `min_characters`, is not among them."""

    deduplicate: Literal["exact", "near", "cluster", "none"] = "exact"
    """exact: equal after cleaning, the first stays. near: near-duplicates are removed, too. cluster: near-duplicates stay, but a
    cluster of them, linked also through others, is assigned to one split as a whole. none: keep all."""

    near: NearConfig = NearConfig()
    """What counts as a near-duplicate, if `deduplicate` is "near" or "cluster"."""

    validation: int | float | None = None
    """A whole number: exactly so many validation stories, 0 for none. Between 0 and 1: this share of the kept stories.
    None: 5 % of them, but not more than 73,728."""

    test: int | float | None = None
    """Test stories, drawn like validation; None: as many as validation. Unused when a test file is given."""

    leakage: Literal["keep", "drop"] = "keep"
    """drop: training stories equal to a story of a given test file are removed (near-duplicates of one, too, if
    `deduplicate` is "near" or "cluster")."""

    seed: int = Field(default=1, ge=0, lt=2**63)
    """Seed of the draw of validation and test, and of the canaries."""

    canaries: int = Field(default=0, ge=0, le=1_000)
    """Known stories to plant into train for each of 1, 4, 16 and 64 times, and as many controls that are planted nowhere; 0 for none.
    5 plant 20 stories 425 times in all, beside 20 controls."""

    @field_validator("validation", "test", mode="before")
    @classmethod
    def _number_or_share(cls, value: object) -> object:
        """Raise ValueError unless the value is a whole number of stories or a share."""
        number = whole_number(value)
        if number is not None and number >= 0:
            return number
        if value is None or (isinstance(value, float) and 0 < value < 1):
            return value
        raise ValueError("should be a whole number of stories from 0 on, or a share between 0 and 1 such as 0.05")

    @field_validator("steps")
    @classmethod
    def _known_steps(cls, steps: tuple[str, ...]) -> tuple[str, ...]:
        from .cleaning.rules import check_names

        return check_names(steps)

    @field_validator("step_options")
    @classmethod
    def _known_options(cls, options: dict[str, dict[str, JsonValue]], info: ValidationInfo) -> dict[str, dict[str, JsonValue]]:
        """Check each parameter and fill in the defaults of the steps that run."""
        from .cleaning.rules import parameters_of

        if "steps" not in info.data:  # refused already
            return options
        unused = [name for name in options if name not in info.data["steps"]]
        if unused:
            raise ValueError(f"{unused[0]!r} is not among `steps`")
        filled = {}
        for name in info.data["steps"]:
            own = [field for field in parameters_of(name) if field not in cls.model_fields]
            if unknown := options.get(name, {}).keys() - set(own):
                raise ValueError(f"{name} has no parameter {min(unknown)!r} (it has: {', '.join(own) or 'none'})")
            if own:
                filled[name] = _checked(name, own, options.get(name, {}))
        return filled


def _checked(name: str, fields: list[str], values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The values of a step's parameters, validated by its rule; ValueError names the parameter."""
    from .cleaning.rules import load

    try:
        rule: Any = load(name, values)
    except ValidationError as problem:
        fault = problem.errors(include_url=False)[0]
        raise ValueError(f"{name}.{'.'.join(map(str, fault['loc']))}: {fault['msg'][:1].lower()}{fault['msg'][1:]}") from None
    return rule.model_dump(mode="json", include=set(fields))  # type: ignore[no-any-return]


# --- the manifest of splits/ -------------------------------------------------------------------


class FileInfo(_Frozen):
    """One file of an artefact."""

    name: str
    """File name, relative to the artefact's folder."""
    sha256: Sha256
    bytes: Count
    rows: Count
    """Stories in the file."""


class LengthStats(_Frozen):
    """Words per story over one split. A word is text between blanks."""

    mean: float
    sd: float
    """Standard deviation over the whole split (divided by n)."""
    minimum: Count
    median: float
    maximum: Count
    bin_width: int = Field(ge=1)
    """Words per histogram bin; bin i counts stories of i * bin_width to (i + 1) * bin_width - 1 words, the last all longer."""
    histogram: tuple[Count, ...]


class SplitInfo(_Frozen):
    """Counts of one split."""

    stories: Count
    words: Count
    characters: Count
    utf8_bytes: Count
    lengths: LengthStats
    files: tuple[FileInfo, ...]


class SourceInfo(_Frozen):
    """One raw input, in the order in which it was read."""

    name: str
    role: Role
    """train; test: a given test file; against: stories that are removed from the training sources."""
    kind: str
    bytes: Count
    sha256: Sha256
    stories: Count
    skipped: Count = 0
    """Lines or rows that could not be read and were left out (`bad_lines` is "skip")."""


class StepExample(_Frozen):
    """An excerpt of a story before and after a step changed it."""

    source: str
    story: Count
    before: str
    after: str


class StepReport(_Frozen):
    """What one cleaning step did to the training source."""

    step: str
    changed: Count
    dropped: Count
    examples: tuple[StepExample, ...] = ()


class InstructConfig(_Frozen):
    """Settings of `instruct`."""

    seed: int = Field(default=1, ge=0, lt=2**63)
    """Seed of the parts of each prompt and of the held-out combinations."""

    held_out: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of all pairs of words that no prompt of train asks for together; prompts of validation and test may."""


class PromptFormat(_Frozen):
    """How a prompt spells what it asks for. Whoever trains or asks a model reads it from the artefact."""

    parts: dict[str, str] = {
        "words": "Words: {}.",
        "features": "Features: {}.",
        "first sentence": "First sentence: {}",
        "random sentence": "Random sentence: {}",
        "summary": "Summary: {}",
    }
    """Part → its text; `{}` is the value, with commas between several. A blank stands between parts."""
    features: tuple[str, ...] = ()
    """Features that a prompt can ask for."""
    end: str = "Story:"
    """The end of the prompt; the story follows after a blank."""


class InstructInfo(_Frozen):
    """What `instruct` made of plain stories."""

    config: InstructConfig
    prompts: PromptFormat = PromptFormat()
    source: Sha256
    """`fingerprint` of the splits of plain stories."""
    parts: dict[str, Count]
    """Part of a prompt → prompts that have it."""
    held_out: dict[SplitName, Count]
    """Prompts per split with a held-out pair of words; 0 in train."""


class DatasetManifest(_Frozen):
    """The manifest of a splits/ folder."""

    format: Literal["ts-data/manifest"] = "ts-data/manifest"
    schema_version: Literal[1] = 1
    sources: tuple[SourceInfo, ...]
    config: PrepareConfig
    cleaner_hash: Sha256
    """SHA-256 over the cleaning code's own version, its steps and their settings."""
    stories_in: Count
    """Stories found in the training sources; equal to kept + the sum of `removed`."""
    kept: Count
    """Stories of the training sources that are in a split."""
    removed: dict[str, Count]
    """Stories removed per reason; removed.parquet lists them."""
    steps: tuple[StepReport, ...]
    test_steps: tuple[StepReport, ...] = ()
    """What the steps changed in a given test file (they drop nothing there)."""
    splits: dict[SplitName, SplitInfo]
    ledger: FileInfo
    """removed.parquet."""
    canaries: FileInfo | None = None
    """canaries.json, if canaries are planted. `kept` does not count them, the counts of the split train do."""
    instruct: InstructInfo | None = None
    """If the stories have prompts: how these were made. The counts of `splits` include the prompts."""
    fingerprint: Sha256
    """SHA-256 over the hashes of the split files, in the order train, validation, test."""
    warnings: tuple[str, ...] = ()
    """Warnings about the sources, one sentence each: possible separators inside stories, stories far longer than the
    rest, test stories that are also in train, skipped lines."""


class Canary(_Frozen):
    """A generated story whose number of copies in train is known."""

    text: str
    times: Count
    """Copies in train; 0 for a control."""


class Canaries(_Frozen):
    """The content of canaries.json in a splits/ folder."""

    format: Literal["ts-data/canaries"] = "ts-data/canaries"
    schema_version: Literal[1] = 1
    seed: Count
    canaries: tuple[Canary, ...]
    """Distinct stories, none of which is in the sources."""


# --- reports -----------------------------------------------------------------------------------


class SplitLeakage(_Frozen):
    """Stories of one held-out split that are also in train."""

    stories: Count
    exact: Count
    near: Count
    """Stories with a near-duplicate in train that is not an exact one."""
    examples: tuple[tuple[int, int, float], ...]
    """(row of this split, row of train, Jaccard similarity), the most similar first."""


class LeakageReport(_Frozen):
    """Held-out stories that are also in train."""

    format: Literal["ts-data/leakage"] = "ts-data/leakage"
    schema_version: Literal[1] = 1
    fingerprint: Sha256
    near: NearConfig
    splits: dict[Literal["validation", "test"], SplitLeakage]


SCHEMAS: dict[str, type[BaseModel]] = {
    "ts-data/manifest": DatasetManifest,
    "ts-data/prepare-config": PrepareConfig,
    "ts-data/leakage": LeakageReport,
    "ts-data/canaries": Canaries,
}
