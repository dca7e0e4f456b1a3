"""What a run is configured by and what it writes: TrainConfig, RunManifest and their parts.

Standard library and pydantic only. Every default is explained where it stands; the recipes (TOML) override them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, get_args, get_type_hints

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

__all__ = [
    "MIGRATIONS",
    "SCHEMAS",
    "AdamWConfig",
    "BatchConfig",
    "CheckpointConfig",
    "ConstantConfig",
    "CosineConfig",
    "Environment",
    "LinearConfig",
    "MuonConfig",
    "OptimizerConfig",
    "OptimizerSettings",
    "PaceState",
    "Replan",
    "RunManifest",
    "ScheduleConfig",
    "ScheduleSettings",
    "SpeedProbe",
    "StepLRConfig",
    "TrainConfig",
    "TrainerState",
    "ValidationConfig",
    "ValidationPoint",
    "WSDConfig",
    "rename_batch_tokens",
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(_Frozen):
    """Base of the settings; numbers are finite."""

    model_config = ConfigDict(allow_inf_nan=False)


Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Measured = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    PlainSerializer(lambda value: value if math.isfinite(value) else None, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]}),
]
"""A measured number; NaN and infinity are null in JSON, which has neither."""


def _from(table: dict[str, str], *known: type[BaseModel]) -> WrapValidator:
    """Validate settings by their `name`: those of `known`, else those of a function that was added to `table`."""
    names = {get_args(config.model_fields["name"].annotation)[0] for config in known}

    def validate(value: Any, handler: Callable[[Any], Any]) -> Any:
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
    lr: Positive = 1e-3
    """Peak learning rate."""
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    """0.95 rather than torch's 0.999: runs of small models are short, and the second moment must keep up."""
    eps: Positive = 1e-8
    weight_decay: float = Field(0.1, ge=0)
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
    lr: Positive = 0.02
    """Peak learning rate of the matrices: the length of the orthogonalised update."""
    momentum: float = Field(0.95, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    """Of the matrices. Runs of less than a few epochs gain nothing from it."""
    cautious: bool = False
    """Decay only the weights that the update shrinks anyway (Chen et al. 2025, cautious weight decay)."""
    ns_steps: int = Field(5, ge=1, le=20)
    """Newton–Schulz iterations."""
    adamw_lr: Positive = 3e-3
    """Peak learning rate of everything that is not a hidden matrix."""
    adamw_betas: tuple[Beta, Beta] = (0.9, 0.95)
    adamw_eps: Positive = 1e-8
    adamw_weight_decay: float = Field(0.0, ge=0)
    fused: bool = True

    def idle(self) -> list[str]:
        decays_nothing = self.cautious and self.weight_decay == 0
        return ["optimizer.cautious does nothing: optimizer.weight_decay is 0"] if decays_nothing else []


OptimizerConfig = Annotated[
    SerializeAsAny[AdamWConfig | MuonConfig], Field(discriminator="name"), _from(OPTIMIZERS, AdamWConfig, MuonConfig)
]


# --- schedules ---------------------------------------------------------------------------------


class ScheduleSettings(Settings):
    """Base of every schedule's settings; a subclass adds `name: Literal["…"]`."""

    counts_steps: ClassVar[bool] = False
    """Whether the shape depends on the number of steps itself, and not on the share of the run that is done."""
    warmup_steps: int = Field(0, ge=0)
    """Optimizer steps of linear rise from zero."""

    def idle(self, total_steps: int) -> list[str]:
        """One sentence for each setting that has no effect in a run of `total_steps`."""
        if not self.warmup_steps >= total_steps > 0:
            return []
        line = f"the warm-up of {self.warmup_steps:,} steps is not over within the run of {total_steps:,}"
        return [f"{line}: the learning rate never reaches its peak (--set schedule.warmup_steps=…)"]


class StepLRConfig(ScheduleSettings):
    """Times `gamma` after every `step_size` optimizer steps (the talk's)."""

    counts_steps: ClassVar[bool] = True
    name: Literal["step"] = "step"
    step_size: int = Field(ge=1)
    gamma: float = Field(gt=0, le=1)

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


class WSDConfig(ScheduleSettings):
    """Warm-up, stable, then linear decay over the last `decay_fraction` of the run (Hu et al. 2024)."""

    name: Literal["wsd"] = "wsd"
    decay_fraction: Fraction = 0.4
    min_factor: Fraction = 0.0

    def idle(self, total_steps: int) -> list[str]:
        found = super().idle(total_steps)
        if self.decay_fraction == 0 and self.min_factor:
            found.append("schedule.min_factor does nothing: schedule.decay_fraction is 0, so the rate does not fall")
        return found


class LinearConfig(ScheduleSettings):
    """A straight line from 1 to `min_factor`."""

    name: Literal["linear"] = "linear"
    min_factor: Fraction = 0.0


class ConstantConfig(ScheduleSettings):
    """1 throughout, after the warm-up."""

    name: Literal["constant"] = "constant"


_Schedules = StepLRConfig | CosineConfig | WSDConfig | LinearConfig | ConstantConfig
ScheduleConfig = Annotated[SerializeAsAny[_Schedules], Field(discriminator="name"), _from(SCHEDULES, *get_args(_Schedules))]


# --- the parts of a run ------------------------------------------------------------------------


def rename_batch_tokens(batch: dict[str, Any]) -> dict[str, Any]:
    """The table `batch` with `max_tokens`, its key in schema version 1, as `tokens_per_step`."""
    if "max_tokens" not in batch or "tokens_per_step" in batch:
        return batch
    return {"tokens_per_step" if key == "max_tokens" else key: value for key, value in batch.items()}


class BatchConfig(Settings):
    """What one optimizer step sees, whatever the number of ranks and micro-batches."""

    batch_size: int | None = Field(None, ge=1)
    """Stories (rows, when packed) per optimizer step. Give this or `tokens_per_step`."""
    tokens_per_step: int | None = Field(None, ge=16)
    """Most positions (rows x width) per optimizer step. 1,024 where neither is given: the measured best on CPU."""
    arrangement: Literal["bucketed", "shuffled", "packed"] = "bucketed"
    """Stories of like length together; at random; or several to a row, told apart by segments."""
    bucket: int = Field(8, ge=1)
    """Lengths within this many tokens count as alike: wider mixes better, narrower pads less."""
    pad_to: int = Field(1, ge=1)
    """Widths are rounded up to a multiple of this: fewer shapes for a device that records or compiles each."""
    context: int | None = Field(None, ge=2)
    """Tokens that a row may hold; longer stories are cut there and counted. The model's `max_seq_len` when not given."""
    curriculum: Literal["none", "length", "difficulty"] = "none"
    """Order of the batches in the first `curriculum_epochs`: random, short first, or likely words first (unigram)."""
    curriculum_epochs: int = Field(1, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _old_name(cls, values: Any) -> Any:
        return rename_batch_tokens(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _one_size(self) -> BatchConfig:
        if self.batch_size is not None and self.tokens_per_step is not None:
            raise ValueError("give `batch_size` (stories) or `tokens_per_step`, not both")
        return self


class ValidationConfig(Settings):
    every: int | None = Field(None, ge=1)
    """Optimizer steps between validations; when not given, up to 20 per run and at most a fifth of its computing."""
    max_stories: int | None = Field(None, ge=1)
    """The first stories of the split instead of all of it: quicker, noisier."""
    samples: int = Field(2, ge=0)
    """Stories to sample and show each time."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many validations without a better loss; never when not given."""
    bits_per_byte: bool = True
    """Also score whole stories in windows with half overlap, for honest bits per byte."""


class CheckpointConfig(Settings):
    every: int | None = Field(None, ge=1)
    """Optimizer steps between checkpoints; with every validation when not given."""
    keep: int = Field(2, ge=1)
    """The newest ones that are kept; the best by validation loss is kept besides."""
    background: bool = True
    """Write from a copy in memory while training goes on."""


class TrainConfig(Settings):
    """Everything that decides what a run computes."""

    format: Literal["ts-train/config"] = "ts-train/config"
    schema_version: int = Field(2, ge=2, le=2)
    preset: str | None = None
    """A preset of ts-models; `None` with a whole `model` table, or with a model of your own."""
    model: dict[str, Any] = Field(default_factory=dict)
    """Fields that differ from the preset (`{dropout = 0.0}`), or a whole model config with its `kind`."""
    init_from: str | None = None
    """A model/ folder whose weights are the start (fine-tuning); its tokenizer must be that of the data."""
    seed: int = Field(1, ge=0, lt=2**31)
    """Decides weights, batches and dropout."""

    max_steps: int | None = Field(None, ge=0)
    """Optimizer steps. The smallest of the limits that are given ends the run; `epochs` counts when none is."""
    epochs: float = Field(2.0, gt=0)
    """Passes over the training split, where no other limit is given (the talk's 2)."""
    max_tokens: int | None = Field(None, ge=1)
    """Real training tokens."""
    max_minutes: float | None = Field(None, gt=0)
    """Wall-clock minutes. The number of steps is planned at the start and again while training, from the speed so far."""

    batch: BatchConfig = BatchConfig()
    micro_batch_tokens: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Positions per forward pass. `auto`: what keeps the logits in the cache (CPU) or all that fits (GPU)."""
    optimizer: OptimizerConfig = MuonConfig()
    schedule: ScheduleConfig = LinearConfig()
    grad_clip: float | None = Field(1.0, gt=0)
    """Largest global gradient norm, after unscaling; null for none."""
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """Average the weights with this decay per step, and validate and keep the average."""
    max_nonfinite: int = Field(10, ge=1)
    """Skipped steps in a row after which the run stops."""

    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """Of the forward and backward pass; master weights stay fp32."""
    tf32: bool = True
    """TF32 matrix products on NVIDIA GPUs, where fp32 is used."""
    compile: bool = False
    """torch.compile. Off: on CPU with two threads it does not give the same bits twice."""
    capture: bool = False
    """Record the step of each batch shape and replay it: CUDA graphs on an NVIDIA GPU. Same arithmetic, no launch costs."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 …"""
    threads: int | None = Field(None, ge=1)
    """CPU threads; torch's choice when not given. Recorded, because it changes the last bits."""

    validation: ValidationConfig = ValidationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    sinks: tuple[str, ...] = ("jsonl", "tensorboard")
    """Where metrics go, beside the live line."""

    @model_validator(mode="before")
    @classmethod
    def _from_version_1(cls, values: Any) -> Any:
        return {**values, "schema_version": 2} if isinstance(values, dict) and values.get("schema_version") == 1 else values


# --- what a run writes -------------------------------------------------------------------------


class Environment(_Frozen):
    """What may change the last bits of a result."""

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
    """What attention and dropout of the zoo train with on a CPU: `torch`, or `compiled` (Numba, unless TS_MODELS_KERNELS is `plain`)."""
    rotary: str | None = None
    """Whose module rotates the embedding (`talk-*`): `torchtune` where it is installed, else `ts-models`, equal to 1e-6. Null for other models."""


class ValidationPoint(_Frozen):
    step: int
    tokens: int
    seconds: float
    train_loss: float | None
    """Mean over the tokens since the validation before."""
    validation_loss: Measured
    """NaN in memory and null in JSON where it was not finite."""
    bits_per_byte: float | None


class SpeedProbe(_Frozen):
    """What a run with `max_minutes` measured before its first step."""

    seconds: float = Field(ge=0)
    """Spent on measuring; they count against the minutes."""
    seconds_per_token: float = Field(gt=0)
    """Of training."""
    validation_seconds: float = Field(ge=0)
    """Estimate for one validation."""
    most_steps: int | None = Field(None, ge=0)
    """The limit by `max_steps` and `max_tokens`, where one is given too."""


class RunManifest(_Frozen):
    """run/config.json: the settings, and what was derived from them once."""

    format: Literal["ts-train/run"] = "ts-train/run"
    schema_version: int = Field(2, ge=2, le=2)
    config: TrainConfig
    model: dict[str, Any] | None
    """The whole model config; null for a model of the caller's own."""
    data: str
    data_fingerprint: str
    splits_fingerprint: str | None = None
    """Of the splits that were encoded; null where it is not known, or where `init_from` was trained on others."""
    preset: str | None = None
    """The preset whose network was built (`config.preset` names the recipe); null where no preset has that network."""
    tokenizer_sha256: str
    parameters: int
    total_steps: int
    """As planned at the start; with `max_minutes` a checkpoint may hold later plans (`PaceState`)."""
    steps_per_epoch: int
    cut_stories: int
    """Stories of the training split that are longer than the context."""
    context: int
    micro_batch_tokens: int
    precision: Literal["fp32", "fp16", "bf16"]
    precision_reason: str
    validation_every: int
    validation_stories: int | None = None
    """The first stories of the split that are scored; null for all, 0 where the data hold none. Fewer where `max_minutes`
    has no time for all."""
    checkpoint_every: int
    flops_per_token: float
    peak_flops: float
    """Of the matrix product, the best that was seen on this machine, all ranks together."""
    environment: Environment
    probe: SpeedProbe | None = None
    """With `max_minutes` only."""


class Replan(_Frozen):
    """A decision on the number of steps, taken while training."""

    step: int
    """Optimizer steps done when it was taken."""
    position: Fraction
    """Share of the schedule that was done then; the rest is spread over the remaining steps."""
    total_steps: int
    elapsed: float
    """Seconds of the budget spent."""


class PaceState(_Frozen):
    """Where a run with `max_minutes` stands against its budget."""

    elapsed: float = 0.0
    """Wall-clock seconds spent, validations and measuring included."""
    seconds: float = 0.0
    """Recent training seconds, over `tokens`; older ones count less with every plan."""
    tokens: float = 0.0
    validation_seconds: float = 0.0
    """Of the last validation."""
    next_plan: int = 0
    """The step after which the steps are planned again."""
    plans: tuple[Replan, ...] = ()


class TrainerState(_Frozen):
    """checkpoints/step-N/state.json: where a run stands (the tensors lie beside it)."""

    format: Literal["ts-train/state"] = "ts-train/state"
    schema_version: int = Field(2, ge=2, le=2)
    step: int = 0
    """Optimizer steps done, skipped ones included."""
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
    """Of the content of run/config.json that decides the result: a changed one is noticed on resume."""
    pace: PaceState | None = None
    """With `max_minutes` only."""
    environment: Environment | None = None
    curve: tuple[ValidationPoint, ...] = ()
    finished: bool = False
    stopped: str | None = None
    """Why the run ended before its last step."""
    tensors_sha256: str = ""


def _rename_stale(state: dict[str, Any]) -> dict[str, Any]:
    return {"validations_since_best" if key == "stale" else key: value for key, value in state.items()}


MIGRATIONS: dict[str, dict[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "ts-train/config": {1: dict},  # `BatchConfig` renames its `max_tokens`
    "ts-train/run": {1: dict},  # as its config
    "ts-train/state": {1: _rename_stale},
}
"""Format → version → what lifts it to the next."""

SCHEMAS: dict[str, Any] = {
    "ts-train/config": TrainConfig,
    "ts-train/run": RunManifest,
    "ts-train/state": TrainerState,
}
