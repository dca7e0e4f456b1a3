"""Schemas of ts_models: model configs, generation settings, training record.

Standard library and pydantic only. It holds no sizes of named models (see `presets`) and builds nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    TypeAdapter,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from .errors import ConfigError
from .registry import ARCHITECTURES, METHODS, POSITIONS, load_entry


def _key_of(table: Mapping[str, object]) -> AfterValidator:
    """The check that a name is in a table."""

    def known(name: str) -> str:
        if name not in table:
            raise ValueError(f"there is no {name!r}; there are {', '.join(table)}")
        return name

    return AfterValidator(known)


Positions = Annotated[str, _key_of(POSITIONS), WithJsonSchema({"enum": list(POSITIONS), "type": "string"})]
DecodingMethod = Annotated[str, _key_of(METHODS), WithJsonSchema({"enum": list(METHODS), "type": "string"})]
FeedForward = Literal["gelu", "gelu-tanh", "relu2", "swiglu"]
Size = Annotated[int, Field(ge=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkConfig(_Frozen):
    """Base of every network's config: vocabulary with special ids, context, dropout rate."""

    format: Literal["ts-models/config"] = "ts-models/config"
    schema_version: Literal[1] = 1
    vocab_size: Size = 2048
    max_seq_len: Size = 256
    """Tokens of context it is trained for (facts: 256)."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    eos_id: int = -2
    """Id that ends a story. Left out, the special ids are the last four of the vocabulary: eos, bos, unk, pad."""
    bos_id: int = -2
    unk_id: int = -2
    """-1 where a foreign vocabulary has no such token."""
    pad_id: int = -2

    @model_validator(mode="before")
    @classmethod
    def _special_ids(cls, values: Any) -> Any:
        """Fill the special ids that were left out: the last four of the vocabulary, as the tokenizer lays them."""
        if not isinstance(values, dict):
            return values
        try:
            size = int(values.get("vocab_size", 2048))  # as the field reads it: a NumPy number or "50", too
        except (TypeError, ValueError, OverflowError):
            return values
        last = {"eos_id": size - 4, "bos_id": size - 3, "unk_id": size - 2, "pad_id": size - 1}
        return {**{name: max(number, -1) for name, number in last.items()}, **values}

    @model_validator(mode="after")
    def _ids_in_vocabulary(self) -> Self:
        for name, number in self._every_id().items():
            if not -1 <= number < self.vocab_size:
                raise ValueError(f"{name}_id is {number}, outside of the vocabulary of {self.vocab_size} (-1 means: none)")
        return self

    def _every_id(self) -> dict[str, int]:
        return {"bos": self.bos_id, "eos": self.eos_id, "unk": self.unk_id, "pad": self.pad_id}

    @property
    def special_ids(self) -> dict[str, int]:
        """The ids of bos, eos, unk and pad, as far as the vocabulary has them."""
        return {name: number for name, number in self._every_id().items() if number >= 0}

    @property
    def context_limit(self) -> int | None:
        """Most tokens of prompt and story together; None where the network has no limit."""
        return self.max_seq_len

    @property
    def banned_ids(self) -> tuple[int, ...]:
        """Ids that generation never writes: bos, unk and pad, where they exist and are not eos."""
        ids = {self.bos_id, self.unk_id, self.pad_id} - {self.eos_id, -1}
        return tuple(sorted(ids))


class TransformerConfig(NetworkConfig):
    """A causal Transformer decoder. Every switch is a field, so an ablation changes one line."""

    kind: Literal["transformer"] = "transformer"
    d_model: Size = 128
    n_heads: Size = 4
    n_kv_heads: Size | None = None
    """Heads of keys and values (grouped-query attention); left out, as many as `n_heads`."""
    head_dim: Size | None = None
    """Size of a head; left out, d_model / n_heads."""
    n_layers: Size = 4
    d_ff: Size = 512
    positions: Positions = "rope"
    """`rope` rotates queries and keys (half-split, as Qwen3); `rope-embedding` rotates the embedding (torchtune's
    interleaved pairs, as the talk did); sinusoidal as in Vaswani et al. 2017."""
    rope_theta: float = Field(default=10_000.0, gt=0)
    norm: Literal["layernorm", "rmsnorm"] = "rmsnorm"
    norm_eps: float = Field(default=1e-5, gt=0)
    norm_first: bool = True
    final_norm: bool = True
    qk_norm: bool = False
    feed_forward: FeedForward = "swiglu"
    bias: bool = False
    """Biases in linear layers and layer norms."""
    qkv_bias: bool | None = None
    """Biases of the query, key and value projections; left out, as `bias`."""
    head_bias: bool | None = None
    """Bias of the output layer; left out, as `bias` (never with tied embeddings)."""
    tie_embeddings: bool = True
    attention_scale: float | None = None
    """Factor on q·k; left out, 1/√head_dim (GPT-Neo uses 1)."""
    local_window: Size | None = None
    """Tokens that the layers named in `local_layers` look back, their own included (GPT-Neo)."""
    local_layers: tuple[int, ...] = ()
    init_std: float | None = Field(default=None, gt=0)
    """Standard deviation of normal initial weights; left out, PyTorch's own initialisation (the talk's)."""
    zero_init: bool = False
    """Start the two output projections of every block at zero, so that each block begins as the identity."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.head_dim is None and self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}; change one, or set head_dim")
        if self.n_heads % self.kv_heads:
            raise ValueError(f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.kv_heads}")
        if self.positions in {"rope", "rope-embedding"} and self.head_size % 2:
            raise ValueError(f"rotary positions need an even head_dim, not {self.head_size}")
        if self.positions == "rope-embedding" and self.head_size * self.n_heads != self.d_model:
            raise ValueError("rope-embedding cuts d_model into heads: head_dim × n_heads must be d_model")
        if self.tie_embeddings and self.head_bias:
            raise ValueError("head_bias needs tie_embeddings = false")
        if self.local_layers and self.local_window is None:
            raise ValueError("local_layers needs local_window")
        if any(not 0 <= layer < self.n_layers for layer in self.local_layers):
            raise ValueError(f"local_layers {self.local_layers} names a layer outside of 0..{self.n_layers - 1}")
        return self

    @property
    def head_size(self) -> int:
        """Size of a head: `head_dim`, or d_model / n_heads."""
        return self.head_dim or self.d_model // self.n_heads

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.n_kv_heads or self.n_heads

    @property
    def has_qkv_bias(self) -> bool:
        """Whether the query, key and value projections have biases."""
        return self.bias if self.qkv_bias is None else self.qkv_bias

    @property
    def has_head_bias(self) -> bool:
        """Whether the output layer has a bias."""
        return not self.tie_embeddings and (self.bias if self.head_bias is None else self.head_bias)


class RecurrentConfig(NetworkConfig):
    """Embedding, stacked recurrent layers, output layer."""

    kind: Literal["rnn", "lstm", "gru"]
    d_model: Size = 384
    d_hidden: Size = 512
    n_layers: Size = 2

    @property
    def context_limit(self) -> None:
        """None: the state has one size, and `max_seq_len` is only the length that the network is trained with."""
        return

    @property
    def gates(self) -> int:
        """Blocks of rows in each weight matrix."""
        return {"rnn": 1, "gru": 3, "lstm": 4}[self.kind]

    @property
    def has_cell(self) -> bool:
        """Whether the state holds a cell beside the hidden values."""
        return self.kind == "lstm"


CONFIGS: dict[str, type[TransformerConfig | RecurrentConfig]] = {
    kind: config for config in (TransformerConfig, RecurrentConfig) for kind in get_args(config.model_fields["kind"].annotation)
}
"""Kind → the class of its config, for the kinds whose configs need no torch."""


def config_class(kind: Any) -> type[Any]:
    """The config class of a kind; of a kind that only `ARCHITECTURES` knows, the `config_class` of its network. Default: Transformer."""
    if not isinstance(kind, str) or kind in CONFIGS or kind not in ARCHITECTURES:
        return CONFIGS.get(kind if isinstance(kind, str) else "", TransformerConfig)
    return load_entry(ARCHITECTURES[kind]).config_class  # type: ignore[no-any-return]


def _any_kind(value: Any, handler: Any) -> Any:
    """Validate a config of any kind."""
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    config = config_class(kind)
    if config in CONFIGS.values():
        return handler(value)
    return value if isinstance(value, config) else config.model_validate(value)


ModelConfig = Annotated[TransformerConfig | RecurrentConfig, Discriminator("kind"), WrapValidator(_any_kind)]
"""The config of any network. A new kind is added in `registry.ARCHITECTURES`; its config class may be in the network's module."""


class GenerationConfig(_Frozen):
    """Generation settings. Option names follow transformers. The default, sampling at temperature 0.7, is also the commands'."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: DecodingMethod = "sample"
    """`greedy` takes the likeliest token, `sample` draws one, `beam` searches the likeliest story, `beam-sample` draws in that search."""
    max_new_tokens: Size = 256
    """Most tokens of a story, without its prompt."""
    min_new_tokens: int = Field(default=0, ge=0)
    """`<eos>` is not written before this many tokens."""
    temperature: float = Field(default=0.7, gt=0)
    """Below 1, likely tokens are drawn more often; above 1, unlikely ones."""
    top_k: int = Field(default=0, ge=0)
    """Only the k likeliest tokens; 0: all."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Only the likeliest tokens that together reach this probability (Holtzman et al. 2020)."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Only tokens at least this many times as likely as the likeliest (Nguyen et al. 2024)."""
    repetition_penalty: float = Field(default=1.0, gt=0)
    """Above 1 makes tokens that are already in the text less likely (Keskar et al. 2019)."""
    no_repeat_ngram_size: int = Field(default=0, ge=0)
    """No n tokens in a row twice; 0: allowed."""
    num_beams: Size = 4
    """Stories that the beam methods keep at each step."""
    length_penalty: float = Field(default=1.0, ge=-30, le=30)
    """Beam scores are divided by length to this power."""
    num_return_sequences: Size = 1
    """Stories of each prompt."""
    seed: int | None = None
    """Same seed, same text, on the same machine; left out, each call differs."""
    stop: tuple[str, ...] = ()
    """Texts that end a story (text in, text out only)."""
    stop_ids: tuple[int, ...] = ()
    """Ids that end a story beside eos."""
    require: tuple[str, ...] = ()
    """Words that each story must hold, in any order and case; `run|ran` takes either form (text in, text out only)."""
    inflections: bool = False
    """Regular inflected forms of required words count as well: `dragons`, `played`, `playing`."""
    truncate_prompt: bool = False
    """Cut the beginning of a prompt (`<bos>` stays) that leaves less than half of the model's context for the story."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, values: Any) -> Any:
        """Make a single stop text or required word a tuple. Refuse true and false for numbers, and temperature 0, which is another method."""
        if not isinstance(values, dict):
            return values
        for name, value in values.items():
            if isinstance(value, bool) and name not in {"truncate_prompt", "inflections"}:
                raise ValueError(f"{name} is {value}; a number or a text is expected")
        if values.get("temperature") == 0:
            raise ValueError("temperature is 0, which is greedy decoding: set method to 'greedy' and leave temperature out")
        return {
            name: (value,) if name in {"stop", "require"} and isinstance(value, str) else value for name, value in values.items()
        }

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens {self.min_new_tokens} exceeds max_new_tokens {self.max_new_tokens}")
        if METHODS[self.method].beams and self.num_return_sequences > self.num_beams:
            raise ValueError(f"num_return_sequences {self.num_return_sequences} exceeds num_beams {self.num_beams}")
        if "" in self.stop:
            raise ValueError("stop holds an empty text, which stands in every story; remove it")
        if not all(form.strip() for word in self.require for form in word.split("|")):
            raise ValueError("require holds an empty word; remove it")
        if self.require and (self.stop or self.stop_ids):
            raise ValueError("a story with required words ends with <eos> only; leave out stop and stop_ids")
        return self


class CurvePoint(_Frozen):
    """One point of a loss curve; losses are nats per token."""

    step: int = Field(ge=0)
    tokens: int = Field(ge=0, lt=1 << 63)
    seconds: float = Field(ge=0)
    train_loss: float | None = None
    validation_loss: float | None = None


class PromptFormat(_Frozen):
    """How the prompts of the training stories were written (`ts-data instruct`), for asking the model in the same way."""

    parts: dict[str, str]
    """Part ("words", "features" …) → its text; `{}` is the value."""
    features: tuple[str, ...]
    """Features that a prompt can ask for."""
    end: str
    """The end of the prompt; the story follows after a blank."""

    def prompt(self, words: Sequence[str] = (), features: Sequence[str] = ()) -> str:
        """The prompt that asks for a story with these words and features.

        Raises ConfigError for what no prompt of the training stories asks for.
        """
        for feature in features:
            if feature not in self.features:
                raise ConfigError(f"there is no feature {feature!r}; there are {', '.join(self.features)}.")
        asked = {part: ", ".join(values) for part, values in (("words", words), ("features", features)) if values}
        for part in asked:
            if part not in self.parts:
                raise ConfigError(f"the prompts of the training stories ask for no {part}, but for {', '.join(self.parts)}.")
        return " ".join([*(self.parts[part].replace("{}", value) for part, value in asked.items()), self.end])


class TrainingSummary(_Frozen):
    """Training record (model/training.json): enough to draw the loss curve without ts_train."""

    format: Literal["ts-models/training"] = "ts-models/training"
    schema_version: Literal[1] = 1
    preset: str | None = None
    parameters: int = Field(ge=0)
    steps: int = Field(ge=0)
    tokens: int = Field(ge=0)
    seconds: float = Field(ge=0)
    best_validation_loss: float | None = None
    """Nats per token."""
    validation_bits_per_byte: float | None = None
    curve: list[CurvePoint] = []
    seed: int | None = None
    precision: str | None = None
    device: str | None = None
    optimizer: str | None = None
    data_fingerprint: str | None = None
    tokenizer_sha256: str | None = None
    """SHA-256 of word_tokenizer.json."""
    splits_fingerprint: str | None = None
    """Fingerprint of the splits that the training data were made from."""
    train_stories: int | None = Field(default=None, ge=0)
    """Hashes in train_stories.npy; None where the model folder has no such file."""
    train_stories_sha256: str | None = None
    """SHA-256 of train_stories.npy."""
    prompts: PromptFormat | None = None
    """None for a model that was trained on stories without prompts."""
    versions: dict[str, str] = {}
    hardware: str | None = None
    """CPU or GPU, processes and threads."""
    samples: list[str] = []
    """Stories that the model wrote when it was saved."""


SCHEMAS: dict[str, Any] = {
    "ts-models/config": TypeAdapter(ModelConfig),
    "ts-models/generation": GenerationConfig,
    "ts-models/training": TrainingSummary,
}
