"""Schemas of the judge's prompts, settings and ratings. Standard library and pydantic only."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from .base import Frozen

Category = Literal["grammar", "spelling", "consistency", "story", "creativity", "style"]
CATEGORIES: tuple[Category, ...] = get_args(Category)

RATINGS = (1.0, 10.0)
"""The smallest and the largest rating."""
Score = Annotated[float, Field(ge=1, le=10, allow_inf_nan=False)]
Mode = Literal["sampled", "expected", "estimated"]


class Scores(Frozen):
    """Six ratings from 1 to 10; whole numbers where they were sampled, fractions where expected or estimated."""

    grammar: Score
    spelling: Score
    consistency: Score
    story: Score
    creativity: Score
    style: Score

    def as_list(self) -> list[float]:
        """The six numbers in the order of `CATEGORIES`."""
        return [getattr(self, name) for name in CATEGORIES]


class WholeScores(Frozen):
    """Six ratings as a person or a sampling judge gives them: integers from 1 to 10."""

    grammar: int = Field(ge=1, le=10, strict=True)
    spelling: int = Field(ge=1, le=10, strict=True)
    consistency: int = Field(ge=1, le=10, strict=True)
    story: int = Field(ge=1, le=10, strict=True)
    creativity: int = Field(ge=1, le=10, strict=True)
    style: int = Field(ge=1, le=10, strict=True)


# --- the prompt --------------------------------------------------------------------------------


class PromptCategory(Frozen):
    """One category as the judge reads it."""

    name: Category
    description: str = Field(min_length=1)


class PromptExample(Frozen):
    """A story with the ratings that the judge should have given it."""

    story: str = Field(min_length=1)
    ratings: WholeScores


class PromptTemplate(Frozen):
    """A judge's prompt: one TOML file. Everything but the story is in it."""

    format: Literal["ts-eval/prompt"] = "ts-eval/prompt"
    schema_version: int = 1
    name: str = Field(min_length=1)
    introduction: str = Field(min_length=1)
    categories: tuple[PromptCategory, ...]
    instructions: tuple[str, ...]
    examples: tuple[PromptExample, ...] = ()
    answer_format: str = Field(min_length=1)
    reminder: str

    @model_validator(mode="after")
    def _all_categories_once(self) -> Self:
        if sorted(c.name for c in self.categories) != sorted(CATEGORIES):
            raise ValueError(f"the categories must be {', '.join(CATEGORIES)}, each once, in any order")
        return self


# --- settings ----------------------------------------------------------------------------------


class Endpoint(Frozen):
    """One server, with its own limits. The key is read from the environment variable named, and never kept."""

    base_url: str = Field(min_length=1, pattern=r"^[^@?#\s]+$")
    """Without user, password or query: keys come from the environment only."""
    model: str | None = None
    """The name under which this server serves the judge's model, where it differs."""
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = Field(default=4, ge=1, le=256)
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)


class JudgeConfig(Frozen):
    """Settings of the judge. Everything but limits, budget and prices is part of a reply's key in the store."""

    backend: str = "openai"
    """What rates: a server (`openai`), `features`, `selenium`, `fake`, or one of your own."""
    model: str = "unnamed"
    """The model's name, as the server knows it."""
    endpoints: tuple[Endpoint, ...] = ()
    """Servers; each has an address and limits of its own."""
    prompt: str = "default"
    """The name of a packaged prompt, or the path of a TOML file."""
    mode: Literal["sampled", "expected"] = "sampled"
    """`expected`: mean over the token probabilities of 1–10; fails if the server sends none."""
    structured: Literal["auto", "schema", "text"] = "auto"
    """`auto`: ask for the JSON schema, and for plain text after a server has refused it."""
    temperature: float = Field(default=0.3, ge=0, le=2)
    """Of the judge's replies."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Of the judge's replies."""
    max_tokens: int = Field(default=120, ge=16)
    """Most tokens of a reply."""
    seed: int = Field(default=1, ge=-(2**53), le=2**53)
    """Sent with every call; each repeat and each further attempt adds to it."""
    repeats: int = Field(default=1, ge=1, le=1000)
    """Ratings per story."""
    retries: int = Field(default=2, ge=0, le=20)
    """Further attempts after a reply that does not parse. Then each endpoint that was not asked gets one; then the story is left unrated."""
    max_lost_mass: float = Field(default=0.2, ge=0, lt=1)
    """`expected`: largest probability outside 1–10 that is renormalised away."""
    timeout: float = Field(default=60, gt=0)
    """Seconds that one call may take."""
    dead_after: int = Field(default=8, ge=1)
    """Failures in a row after which an endpoint is given up for this run (a server that fails every fifth call: 1 in 400,000).
    A 429 or 503 does not count, and calls that fail together count once."""
    backoff: float = Field(default=1.0, gt=0)
    """Seconds of the first pause after a failed call; doubled each time, up to 60, with jitter."""
    patience: float = Field(default=120, gt=0)
    """Seconds for which an endpoint may be too busy for every call (429, 503) before it is given up for this run."""
    max_characters: int = Field(default=12_000, ge=100)
    """A longer story is flagged and not sent. The longest of the 2,300 real stories looked at has about 4,000."""
    probe: Literal["suspect", "all", "off"] = "suspect"
    """Stories rated once more without their most anomalous passage, and flagged if it decides the rating: those with a suspect
    passage (a tenth of real stories, so a tenth more calls), all, or none."""
    probe_extreme: float | None = Field(default=8.5, gt=5.5, le=10)
    """A story whose mean over the categories is at least this, or at most 11 minus this, is rated again without each of its parts
    (about six calls more), and flagged if one part decides. GPT-4o gave one of 350 stories by small models such a mean. None (or
    `probe` off): no story."""
    probe_tolerance: float = Field(default=1.5, gt=0)
    """Points by which leaving out a passage may change the mean over the categories; one category may change by twice as much.
    With repeats at least two SD of the judge's noise."""
    guards: tuple[str, ...] | None = None
    """Names of the defences in use (`ts_eval.judge.guards`); None: all."""
    anchors: bool = True
    """Rate the packaged control stories too, once a day and store, to detect drift."""
    budget: int | None = Field(default=None, ge=1)
    """Maximum tokens (prompt and completion), including those of earlier runs with the same store."""
    price_in: float = Field(default=0, ge=0)
    """Money per million prompt tokens."""
    price_out: float = Field(default=0, ge=0)
    """Money per million completion tokens."""
    page: str | None = None
    """selenium: the TOML file with the chat page's address and selectors."""
    reference: str | None = None
    """features: splits/ or a file of stories that the reference model is fitted on."""

    @model_validator(mode="after")
    def _endpoints_differ(self) -> Self:
        addresses = [e.base_url.rstrip("/") for e in self.endpoints]
        if len(set(addresses)) < len(addresses):
            raise ValueError("the same endpoint is named twice; raise its concurrency instead")
        return self


class ChatPage(Frozen):
    """Address and CSS selectors of a web chat."""

    url: str = Field(min_length=1)
    input: str = Field(min_length=1)
    """The box that takes the prompt."""
    send: str = Field(min_length=1)
    """The button that sends it."""
    answer: str = Field(min_length=1)
    """Answers; the last one is read."""
    busy: str | None = None
    """Present while an answer is being written."""
    settle: float = Field(default=2.0, ge=0.2)
    """Seconds without change after which an answer is complete."""
    headless: bool = False
    profile: str | None = None
    """A browser profile's folder, already logged in."""
    browser_arguments: tuple[str, ...] = ()


# --- results -----------------------------------------------------------------------------------


class Rating(Frozen):
    """One line of ratings.jsonl: the scores of one story, or why there are none."""

    format: Literal["ts-eval/rating"] = "ts-eval/rating"
    schema_version: int = 1
    story: int = Field(ge=0)
    """Its place in the input, from 0."""
    text: str
    source: str | None = None
    """The model that wrote it, or `real`; taken from the input."""
    repeat: int = Field(default=0, ge=0)
    mode: Mode
    scores: Scores | None
    unscored: str | None = None
    """Why there are no scores."""
    flags: tuple[str, ...] = ()
    """Signs that the story addresses the judge; a flagged rating enters no mean."""
    lost_mass: dict[Category, float] | None = None
    """`expected`: the probability outside 1–10 that was removed before renormalising."""
    judge: str
    endpoint: str | None = None
    prompt: str
    """Name and first hash digits of the prompt."""
    attempts: int = Field(default=1, ge=0)
    prompt_tokens: int = Field(default=0, ge=0)
    completion_tokens: int = Field(default=0, ge=0)
    seed: int | None = None
    system_fingerprint: str | None = None
    key: str
    """SHA-256 over endpoint, model, full prompt, parameters, story and repeat: the reply's place in the store."""

    @model_validator(mode="after")
    def _scored_or_not(self) -> Self:
        if (self.scores is None) == (self.unscored is None):
            raise ValueError("a rating has either `scores` or the reason `unscored`")
        return self


class JudgeSummary(Frozen):
    """Summary of one run of the judge."""

    format: Literal["ts-eval/judge-summary"] = "ts-eval/judge-summary"
    schema_version: int = 1
    judge: str
    mode: Mode
    prompt: str
    stories: int
    repeats: int
    rated: int
    """Ratings with scores and without flags: what the means are over."""
    flagged: int
    unscored: dict[str, int]
    """Reason → how many."""
    coverage: float | None
    """rated / (stories x repeats); None without stories."""
    means: dict[str, dict[Category, float]]
    """Source → category → mean over its rated stories. A source without a rating is absent, not 0."""
    sd_over_repeats: dict[Category, float] | None
    """Root mean square over stories of the SD of repeated ratings; None without repeats."""
    drift: dict[Category, float] | None
    """Mean change of the anchor stories since the first day in the store; None without an earlier day."""
    drift_notes: tuple[str, ...] = ()
    calls: int
    """Replies in the store that these ratings rest on, unusable ones included."""
    prompt_tokens: int
    completion_tokens: int
    cost: float
    fingerprints: tuple[str, ...]
    notes: tuple[str, ...] = ()


class ShareInterval(Frozen):
    """A share with Wilson's 95 % interval."""

    share: float
    low: float
    high: float


class PairSummary(Frozen):
    """Pairwise comparison of two files of stories, each pair judged in both orders."""

    judge: str
    prompt: str
    first: str
    second: str
    """Names of the two sides."""
    pairs: int
    compared: int
    """Pairs with usable answers in both orders; all shares are of these."""
    wins: int
    """Pairs in which the first side is better in both orders."""
    ties: int
    losses: int
    win_rate: ShareInterval | None
    """Of the first side, a tie counts half; None without a compared pair."""
    first_shown: ShareInterval | None
    """Position bias: share of the answers that prefer the story shown first. 0.5 without a bias."""
    agree: float | None
    """Share of the pairs with the same choice in both orders."""
    categories: dict[Category, float]
    """Win rate by category."""
    flagged: int
    unscored: dict[str, int]
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    notes: tuple[str, ...] = ()
