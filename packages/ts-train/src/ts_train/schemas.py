"""Settings of a run and the JSON that it writes: TrainConfig, RunManifest, TrainerState. Standard library and pydantic only."""

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializeAsAny,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from .registry import OPTIMIZERS, SCHEDULES


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(Frozen):
    """Base of the settings; numbers are finite."""

    model_config = ConfigDict(allow_inf_nan=False)


LARGEST = 2**53
"""The largest count that a float holds exactly; larger limits of a run would overflow its plan."""
Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, le=1e9)]
"""A learning rate, far below what overflows float32."""
Fraction = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Measured = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    PlainSerializer(lambda value: value if math.isfinite(value) else None, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]}),
]
"""A measured number; NaN and infinity are null in JSON, which has neither."""


def _from(table: dict[str, str], *known: type[BaseModel], default: str) -> WrapValidator:
    """Validate settings by their `name`: those of `known`, else those of a function that was added to `table`; `default` without one."""
    names = {get_args(config.model_fields["name"].annotation)[0] for config in known}

    def validate(value: Any, handler: Callable[[Any], Any]) -> Any:
        if isinstance(value, dict) and "name" not in value:
            value = {"name": default, **value}
        name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
        if not isinstance(name, str) or name in names:
            return handler(value)
        if name not in table:
            raise ValueError(f"there is no {name!r}; there are {', '.join(table)}")
        from ts_models.registry import load_entry

        config: type[BaseModel] = get_type_hints(load_entry(table[name]))["config"]
        return value if isinstance(value, config) else config.model_validate(value)

    return WrapValidator(validate)


# --- optimizers --------------------------------------------------------------------------------


class OptimizerSettings(Settings):
    """Base of every optimizer's settings; a subclass adds `name: Literal["…"]`."""

    def idle(self) -> list[str]:
        """One sentence for each setting that differs from its default and has no effect."""
        return []


class AdamWConfig(OptimizerSettings):
    """AdamW, fused, with decay on matrices only (Loshchilov & Hutter 2019)."""

    name: Literal["adamw"] = "adamw"
    lr: Rate = 1e-3
    """Peak learning rate."""
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    """0.95 instead of torch's 0.999, because runs of small models are short."""
    eps: Positive = 1e-8
    """Added to the root of the second moment, against division by zero."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled, on matrices only: never on biases, norms and embeddings unless `decay_all`."""
    decay_all: bool = False
    """Decay every parameter, as `torch.optim.AdamW(model.parameters())` does (the talk's recipe)."""
    fused: bool = True
    """One kernel for all parameters: 18 ms a step instead of 71 at 35M on two cores. Changes the last bits."""

    def idle(self) -> list[str]:
        decays_nothing = self.decay_all and self.weight_decay == 0
        return ["optimizer.decay_all does nothing: optimizer.weight_decay is 0"] if decays_nothing else []


class MuonConfig(OptimizerSettings):
    """Muon for the hidden matrices, AdamW for embeddings, head, norms and biases (Jordan et al. 2024)."""

    name: Literal["muon"] = "muon"
    lr: Rate = 0.02
    """Peak learning rate of the matrices: the length of the orthogonalised update."""
    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Share of the last step's average gradient that is kept."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Of the matrices. No gain in runs of less than a few epochs."""
    cautious: bool = False
    """Decay only weights that the update shrinks (Chen et al. 2025, cautious weight decay)."""
    ns_steps: int = Field(default=5, ge=1, le=20)
    """Newton–Schulz iterations."""
    adamw_lr: Rate = 3e-3
    """Peak learning rate of everything that is not a hidden matrix."""
    adamw_betas: tuple[Beta, Beta] = (0.9, 0.95)
    """AdamW's, for everything that is not a hidden matrix; so the next two."""
    adamw_eps: Positive = 1e-8
    """Added to the root of the second moment."""
    adamw_weight_decay: float = Field(default=0.0, ge=0)
    """Of everything that is not a hidden matrix."""
    fused: bool = True
    """One AdamW kernel for all parameters, as in `adamw`."""

    def idle(self) -> list[str]:
        decays_nothing = self.cautious and self.weight_decay == 0
        return ["optimizer.cautious does nothing: optimizer.weight_decay is 0"] if decays_nothing else []


OptimizerConfig = Annotated[
    SerializeAsAny[AdamWConfig | MuonConfig],
    Field(discriminator="name"),
    _from(OPTIMIZERS, AdamWConfig, MuonConfig, default="muon"),
]


# --- schedules ---------------------------------------------------------------------------------


class ScheduleSettings(Settings):
    """Base of every schedule's settings; a subclass adds `name: Literal["…"]`."""

    counts_steps: ClassVar[bool] = False
    """Whether the shape depends on the number of steps, not on the completed share of the run."""
    warmup_steps: int = Field(default=0, ge=0)
    """Optimizer steps of linear rise from zero."""

    def idle(self, total_steps: int) -> list[str]:
        """One sentence for each setting that has no effect in a run of `total_steps`."""
        if not self.warmup_steps >= total_steps > 0:
            return []
        line = f"the warm-up of {self.warmup_steps:,} steps is not over within the run of {total_steps:,}"
        return [f"{line}: the learning rate never reaches its peak (--set schedule.warmup_steps=…)"]


class StepLRConfig(ScheduleSettings):
    """Multiplied by `gamma` every `step_size` optimizer steps (the talk's)."""

    counts_steps: ClassVar[bool] = True
    name: Literal["step"] = "step"
    step_size: int = Field(ge=1)
    """Optimizer steps between two reductions."""
    gamma: float = Field(gt=0, le=1)
    """Factor of each reduction."""

    def idle(self, total_steps: int) -> list[str]:
        found = super().idle(total_steps)
        if self.step_size >= total_steps > 0 and self.gamma < 1:
            found.append(
                f"schedule.step_size = {self.step_size:,} is not reached in {total_steps:,} steps: the learning rate stays constant"
            )
        return found


class CosineConfig(ScheduleSettings):
    """Half a cosine from 1 to `min_factor`."""

    name: Literal["cosine"] = "cosine"
    min_factor: Fraction = 0.0
    """Share of the peak rate at the end."""


class WSDConfig(ScheduleSettings):
    """Warm-up, stable, then linear decay over the last `decay_fraction` of the run (Hu et al. 2024)."""

    name: Literal["wsd"] = "wsd"
    decay_fraction: Fraction = 0.4
    """Share of the run in which the rate falls."""
    min_factor: Fraction = 0.0
    """Share of the peak rate at the end."""

    def idle(self, total_steps: int) -> list[str]:
        found = super().idle(total_steps)
        if self.decay_fraction == 0 and self.min_factor:
            found.append("schedule.min_factor does nothing: schedule.decay_fraction is 0, so the rate does not fall")
        return found


class LinearConfig(ScheduleSettings):
    """A straight line from 1 to `min_factor`."""

    name: Literal["linear"] = "linear"
    min_factor: Fraction = 0.0
    """Share of the peak rate at the end."""


class ConstantConfig(ScheduleSettings):
    """1 after the warm-up."""

    name: Literal["constant"] = "constant"


_Schedules = StepLRConfig | CosineConfig | WSDConfig | LinearConfig | ConstantConfig
ScheduleConfig = Annotated[
    SerializeAsAny[_Schedules], Field(discriminator="name"), _from(SCHEDULES, *get_args(_Schedules), default="linear")
]


# --- the parts of a run ------------------------------------------------------------------------


def rename_batch_tokens(batch: dict[str, Any]) -> dict[str, Any]:
    """The table `batch` with `max_tokens`, its key in schema version 1, as `tokens_per_step`."""
    if "max_tokens" not in batch or "tokens_per_step" in batch:
        return batch
    return {"tokens_per_step" if key == "max_tokens" else key: value for key, value in batch.items()}


class BatchConfig(Settings):
    """The batch of one optimizer step, independent of the number of ranks and micro-batches."""

    batch_size: int | None = Field(default=None, ge=1)
    """Stories (rows, when packed) per optimizer step. Give this or `tokens_per_step`."""
    tokens_per_step: int | None = Field(default=None, ge=16)
    """Maximum positions (rows x width) per optimizer step. Default: by the length of the run, as longer ones gain from larger steps."""
    arrangement: Literal["bucketed", "shuffled", "packed"] = "bucketed"
    """Stories of similar length together, random order, or several stories to a row, separated by segments."""
    bucket: int = Field(default=8, ge=1, le=LARGEST)
    """Lengths within this many tokens count as equal: wider mixes better, narrower pads less."""
    pad_to: int = Field(default=1, ge=1, le=LARGEST)
    """Round widths up to a multiple of this: fewer shapes to record or compile."""
    context: int | None = Field(default=None, ge=2)
    """Maximum tokens of a row; longer stories are cut and counted. Default: the model's `max_seq_len`."""
    curriculum: Literal["none", "length", "difficulty"] = "none"
    """Order of the batches in the first `curriculum_epochs`: random, short stories first, or likely words first (unigram)."""
    curriculum_epochs: int = Field(default=1, ge=1)
    """Epochs in that order; batches are random after them."""

    @model_validator(mode="before")
    @classmethod
    def _old_name(cls, values: Any) -> Any:
        return rename_batch_tokens(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.batch_size is not None and self.tokens_per_step is not None:
            raise ValueError("give `batch_size` (stories) or `tokens_per_step`, not both")
        return self


class ValidationConfig(Settings):
    every: int | None = Field(default=None, ge=1)
    """Optimizer steps between validations. Default: up to 20 per run, and at most a fifth of its computation."""
    max_stories: int | None = Field(default=None, ge=1)
    """Score only the first stories of the split: faster, noisier."""
    samples: int = Field(default=2, ge=0)
    """Stories to sample and show at each validation."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many validations without a better loss. Default: never."""
    bits_per_byte: bool = True
    """Also score whole stories, in windows with half overlap, for bits per byte."""


class CheckpointConfig(Settings):
    every: int | None = Field(default=None, ge=1)
    """Optimizer steps between checkpoints. Default: at every validation."""
    keep: int = Field(default=2, ge=1)
    """Number of newest checkpoints to keep, besides the best by validation loss."""
    background: bool = True
    """Write from a copy in memory while training continues."""


class TrainConfig(Settings):
    """Everything that decides what a run computes."""

    format: Literal["ts-train/config"] = "ts-train/config"
    schema_version: int = Field(default=2, ge=2, le=2)
    preset: str | None = None
    """A preset of ts-models; `None` with a whole `model` table, or with a model of your own."""
    model: dict[str, Any] = Field(default_factory=dict)
    """Fields that differ from the preset (`{dropout = 0.0}`), or a whole model config with its `kind`."""
    init_from: str | None = None
    """A model/ folder whose weights to start from (fine-tuning); its tokenizer must be that of the data."""
    teachers: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """model/ folders to learn from, beside the stories: the mean of their predictions is a part of each target (distillation, Hinton et al.
    2015). Their vocabulary must be that of the data. The step losses shown are of these targets then; validation is not."""
    teacher_weight: float = Field(default=0.9, gt=0, le=1)
    """Share of the teachers' prediction in a target; the rest is the word of the story."""
    seed: int = Field(default=1, ge=0, lt=2**31)
    """Decides weights, batches and dropout."""

    max_steps: int | None = Field(default=None, ge=0, le=LARGEST)
    """Optimizer steps. The smallest given limit ends the run; `epochs` applies if none is given."""
    epochs: float = Field(default=2.0, gt=0, le=1e9)
    """Passes over the training split if no other limit is given (the talk: 2)."""
    max_tokens: int | None = Field(default=None, ge=1, le=LARGEST)
    """Real training tokens."""
    max_minutes: float | None = Field(default=None, gt=0, le=1e9)
    """Wall-clock minutes. The number of steps is planned at the start and during training, from the measured speed."""

    batch: BatchConfig = BatchConfig()
    micro_batch_tokens: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Positions per forward pass. `auto`: as many as keep the logits in the cache (CPU), or all that fit (GPU)."""
    optimizer: OptimizerConfig = MuonConfig()
    schedule: ScheduleConfig = LinearConfig()
    asked_weight: float = Field(default=1.0, gt=0)
    """Weight in the loss of the first use, in a story, of each token of its prompt: above 1, a model follows its prompts more. The step
    losses shown are weighted then; validation is not."""
    grad_clip: float | None = Field(default=1.0, gt=0)
    """Maximum global gradient norm, after unscaling; null: no clipping."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Average the weights with this decay per step; validate and save the average."""
    max_nonfinite: int = Field(default=10, ge=1)
    """Stop after this many consecutive skipped steps."""

    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """Of the forward and backward pass; master weights stay fp32."""
    tf32: bool = True
    """TF32 matrix products on NVIDIA GPUs, where fp32 is used."""
    compile: bool = False
    """torch.compile. Off by default: on a CPU with two threads its results are not reproducible to the bit."""
    capture: bool = False
    """Record and replay the step of each batch shape (CUDA graphs on an NVIDIA GPU): same arithmetic, no launch costs."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 …"""
    threads: int | None = Field(default=None, ge=1, le=1024)
    """CPU threads. Default: torch's. Recorded, because it changes the last bits."""

    validation: ValidationConfig = ValidationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    sinks: tuple[str, ...] = ("jsonl", "tensorboard")
    """Outputs of metrics, besides the live line."""

    @model_validator(mode="after")
    def _one_prompt_a_row(self) -> Self:
        if self.asked_weight != 1 and self.batch.arrangement == "packed":
            raise ValueError("`asked_weight` needs rows of one story each; `batch.arrangement` is packed")
        return self

    @model_validator(mode="before")
    @classmethod
    def _from_version_1(cls, values: Any) -> Any:
        return {**values, "schema_version": 2} if isinstance(values, dict) and values.get("schema_version") == 1 else values


# --- what a run writes -------------------------------------------------------------------------


class Environment(Frozen):
    """Everything that may change the last bits of a result."""

    threads: int
    world_size: int
    device: str
    optimizer: str
    compile: bool
    torch: str
    cpu_capability: str
    ts_train: str
    capture: bool = False
    kernels: str = "torch"
    """Kernels of attention and dropout on a CPU: `torch`, or `compiled` (Numba, unless TS_MODELS_KERNELS is `plain`)."""
    rotary: str | None = None
    """Module that rotates the embedding (`talk-*`): `torchtune` if installed, else `ts-models`, equal to 1e-6. Null for other models."""

    @property
    def workers(self) -> str:
        """`2 threads`, or `4 processes of 2 threads`."""
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return threads if self.world_size == 1 else f"{self.world_size} processes of {threads}"


class ValidationPoint(Frozen):
    step: int
    tokens: int
    seconds: float
    train_loss: float | None
    """Mean over the tokens since the previous validation."""
    validation_loss: Measured
    """NaN in memory and null in JSON if not finite."""
    bits_per_byte: float | None


class SpeedProbe(Frozen):
    """Speed measured by a run with `max_minutes` before its first step."""

    seconds: float = Field(ge=0)
    """Spent on measuring; part of the budget."""
    seconds_per_token: float = Field(gt=0)
    """Of training steps."""
    validation_seconds: float = Field(ge=0)
    """Estimate for one validation."""
    most_steps: int | None = Field(default=None, ge=0)
    """Limit by `max_steps` and `max_tokens`, if given."""


class RunManifest(Frozen):
    """run/config.json: the settings and the plan derived from them."""

    format: Literal["ts-train/run"] = "ts-train/run"
    schema_version: int = Field(default=2, ge=2, le=2)
    config: TrainConfig
    model: dict[str, Any] | None
    """The complete model config; null for the caller's own model."""
    data: str
    data_fingerprint: str
    splits_fingerprint: str | None = None
    """Of the encoded splits; null if unknown, or if `init_from` or a teacher was trained on others."""
    teachers_sha256: tuple[str, ...] = ()
    """Of the weights of each teacher."""
    preset: str | None = None
    """The preset with this network (`config.preset` names the recipe); null if there is none."""
    tokenizer_sha256: str
    parameters: int
    total_steps: int
    """By the first plan; with `max_minutes`, checkpoints may hold later plans (`PaceState`)."""
    steps_per_epoch: int
    cut_stories: int
    """Training stories that are longer than the context."""
    context: int
    tokens_per_step: int | None = None
    """Maximum positions per optimizer step, if the settings leave it open; null: as configured."""
    micro_batch_tokens: int
    precision: Literal["fp32", "fp16", "bf16"]
    precision_reason: str
    validation_every: int
    validation_stories: int | None = None
    """Number of scored stories, from the start of the split; null: all, 0: the data have none. Fewer if `max_minutes` is too short."""
    checkpoint_every: int
    flops_per_token: float
    peak_flops: float
    """FLOP/s of the matrix product, all ranks together: the best measured on this machine."""
    environment: Environment
    probe: SpeedProbe | None = None
    """Only with `max_minutes`."""


class Replan(Frozen):
    """A change of the number of steps during training."""

    step: int
    """Optimizer steps done at that time."""
    position: Fraction
    """Completed share of the schedule; the rest is spread over the remaining steps."""
    total_steps: int
    elapsed: float
    """Seconds of the budget spent."""


class PaceState(Frozen):
    """Time spent and measured by a run with `max_minutes`."""

    elapsed: float = 0.0
    """Wall-clock seconds spent, including validations and measuring."""
    seconds: float = 0.0
    """Training seconds for `tokens`; every plan halves the weight of older ones."""
    tokens: float = 0.0
    validation_seconds: float = 0.0
    """Of the last validation."""
    next_plan: int = 0
    """Step at which to plan again."""
    plans: tuple[Replan, ...] = ()


class TrainerState(Frozen):
    """checkpoints/step-N/state.json: progress of a run; the tensors are in a file beside it."""

    format: Literal["ts-train/state"] = "ts-train/state"
    schema_version: int = Field(default=2, ge=2, le=2)
    step: int = 0
    """Optimizer steps done, including skipped ones."""
    tokens: int = 0
    """Real tokens trained on."""
    seconds: float = 0.0
    best_loss: float | None = None
    best_step: int | None = None
    validations_since_best: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    loss_sum: float = 0.0
    """Nats since the last validation, over `loss_tokens`."""
    loss_tokens: int = 0
    scaler: dict[str, float] = Field(default_factory=dict)
    micro_batch_tokens: int = 0
    data_fingerprint: str = ""
    run_sha256: str = ""
    """Of the content of run/config.json that decides the result, so that a resume detects a changed file."""
    pace: PaceState | None = None
    """Only with `max_minutes`."""
    environment: Environment | None = None
    curve: tuple[ValidationPoint, ...] = ()
    finished: bool = False
    stopped: str | None = None
    """Reason of an early end."""
    tensors_sha256: str = ""


MIGRATIONS: dict[str, dict[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "ts-train/config": {1: dict},  # `BatchConfig` renames its `max_tokens`
    "ts-train/run": {1: dict},  # as its config
    "ts-train/state": {1: lambda state: {"validations_since_best" if k == "stale" else k: value for k, value in state.items()}},
}
"""Format → version → what lifts it to the next."""

# --- preference tuning -------------------------------------------------------------------------


class PreferenceConfig(Settings):
    """Settings of `ts-train prefer`."""

    beta: Positive = 0.1
    """Strength of the pull towards the start: small values move further from it."""
    lr: Rate = 2e-5
    """Peak learning rate of AdamW; it falls linearly to zero."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the pairs."""
    batch_size: int = Field(default=8, ge=1)
    """Pairs of a step."""
    held_out: float = Field(default=0.1, gt=0, lt=1)
    """Share of the pairs that is only judged."""
    seed: int = Field(default=1, ge=0)
    """Decides the order of the pairs and which are held out."""


class PreferenceReport(Frozen):
    """preference.json of a tuned model."""

    format: Literal["ts-train/preference"] = "ts-train/preference"
    schema_version: Literal[1] = 1
    config: PreferenceConfig
    pairs: int
    held_out: int
    pairs_sha256: str
    steps: int
    loss: Measured
    """Of the held-out pairs; ln 2 = 0.693 before."""
    accuracy: float
    """Share of the held-out pairs whose chosen story became likelier against the rejected one."""


SCHEMAS: dict[str, Any] = {
    "ts-train/config": TrainConfig,
    "ts-train/preference": PreferenceReport,
    "ts-train/run": RunManifest,
    "ts-train/state": TrainerState,
}
