"""One training run of a study: settings in, a `TrialResult` out. Finished runs are read, interrupted ones resumed."""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ts_models import artefact
from ts_models.console import Progress
from ts_models.errors import TsModelsError

from ..callbacks import BaseCallback, Callback, RunInfo, Warn
from ..data.dataset import TrainingData
from ..errors import ArtefactError, ConfigError, DataError, DivergedError, Interrupted
from ..network import choose_context, model_config
from ..recipes import combine, over_recipe
from ..run_folder import Run
from ..runtime.distributed import launched
from ..schemas import RunManifest, TrainConfig, TrainerState
from ..sinks import make_sink
from .schemas import TrialResult


def settings_for(base: Mapping[str, Any], changes: Mapping[str, Any], *, where: str, **fields: Any) -> TrainConfig:
    """`changes` over `base` over the recipe of their preset, validated with model and sinks, before other runs are trained.

    Raises:
        ConfigError: a field is invalid; the message begins with `where`.
    """
    asked = combine(combine(dict(base), dict(changes)), fields)
    name = asked.get("preset")
    try:
        config = TrainConfig.model_validate(asked if name is None else over_recipe(name, asked))
        if config.init_from is None:  # else a field of the model depends on that folder
            choose_context(config, model_config(config, vocab_size=config.model.get("vocab_size", 2048)))
        for sink in config.sinks:
            make_sink(sink)
    except ValidationError as problem:
        raise ConfigError(f"{where}: {artefact.describe_invalid(problem)}") from None
    except (ConfigError, TsModelsError) as problem:
        raise ConfigError(f"{where}: {problem}") from None
    return config


def run_trial(
    name: str,
    config: TrainConfig,
    data: TrainingData,
    folder: Path,
    *,
    callbacks: Sequence[Callback] = (),
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> TrialResult:
    """Train in `folder`/run, or read the result from `folder`/cell.json. Checkpoints are removed afterwards.

    A diverged run has no loss. An interrupted one raises, and resumes at the next call.

    Raises:
        ArtefactError: the folder holds a run of other settings or data.
    """
    if data.validation is None:
        raise DataError(
            f"{data.path or 'the data'}: hold no validation stories, and a study compares validation losses. "
            "Prepare and encode splits with some: ts-data prepare … --validation 500"
        )
    identity = identify(config, data)
    file = folder / "cell.json"
    if file.exists():
        try:
            cell = artefact.read_model(file, TrialResult, package="tinystories-train", error=ArtefactError)
        except ArtefactError as problem:
            raise ArtefactError(f"{problem} Put it back, or delete {folder} to train that run again.") from None
        if cell.identity != identity:
            raise ArtefactError(f"{folder}: holds a run of other settings or data. Choose another --out, or delete that folder.")
    else:
        cell = _train(name, identity, config, data, folder / "run", callbacks, progress, warn)
        artefact.write_model(file, cell)
    shutil.rmtree(folder / "run" / "checkpoints", ignore_errors=True)
    return cell


def _train(
    name: str, identity: str, config: TrainConfig, data: TrainingData, out: Path, callbacks: Sequence[Callback],
    progress: Progress | None, warn: Warn | None,
) -> TrialResult:  # fmt: skip
    from ..run import train

    run: Run | _Last = (last := _Last())
    loss, bits, reason = None, None, None
    try:
        run = train(config, data.source, out, callbacks=(*callbacks, last), progress=progress, warn=warn)
        loss, bits, reason = run.state.best_loss, run.summary.validation_bits_per_byte, run.state.stopped
    except DivergedError as problem:
        reason = str(problem)
    except Interrupted as stopped:  # `ts-train resume` would end this run alone
        where = str(stopped).partition("; go on with")[0]
        raise Interrupted(f"{name}: {where}; the same command goes on with the study", stopped.signal) from None
    state, manifest = run.state, run.manifest
    return TrialResult(
        name=name, seed=config.seed, identity=identity, parameters=manifest.parameters, steps=state.step, tokens=state.tokens,
        seconds=state.seconds, flops=state.tokens * manifest.flops_per_token, loss=loss, bits_per_byte=bits, stopped=reason,
    )  # fmt: skip


class _Last(BaseCallback):
    """Keeps the plan and the last state of a run, for one that diverges and returns nothing."""

    manifest: RunManifest
    state: TrainerState

    def on_start(self, run: RunInfo) -> None:
        self.manifest = run.manifest

    def on_end(self, state: TrainerState) -> None:
        self.state = state


def identify(config: TrainConfig, data: TrainingData) -> str:
    """SHA-256 of the settings, spelled as in schema version 1 so that finished trials stay valid, and the data's fingerprint."""
    settings = {**config.model_dump(mode="json"), "schema_version": 1}
    settings["batch"]["max_tokens"] = settings["batch"].pop("tokens_per_step")
    content = json.dumps([settings, data.fingerprint], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def folder_name(name: str, seed: int) -> str:
    """Folder name of a run."""
    return f"{plain_name(name)}-seed{seed}"


def plain_name(name: str) -> str:
    """A name for a file: other than plain characters become a dash, and a short hash keeps such names distinct."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def once(warn: Warn | None) -> Warn | None:
    """Pass each warning on once: the runs of a study share most of theirs."""
    said: set[str] = set()
    if warn is None:
        return None

    def first(message: str) -> None:
        if message not in said:
            said.add(message)
            warn(message)

    return first


def begin_study(command: str, out: artefact.StrPath, report: type[BaseModel]) -> Path:
    """The folder of a study. Refuses torchrun, where each rank would start its own study.

    Raises:
        ArtefactError: the folder holds the results of another kind of study.
    """
    if launched()[1] > 1:
        raise ConfigError(f"{command} does not run under torchrun. Start it as one process (search: several, on one storage).")
    folder, kind = artefact.resolve_target(out), str(report.model_fields["format"].default)
    artefact.check_file(
        folder / "results.json", f"the result of `{command}`", lambda start: kind.encode() in start,
        option="--out, or remove that file", error=ArtefactError,
    )  # fmt: skip
    return folder
